"""A network in training mode, in which it may draw at random, and give or need other things than at rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from m3d_condense.machine.costs import modes_restored

_TURN = threading.RLock()


@contextmanager
def state_kept(devices: Sequence[int] = ()) -> Iterator[None]:
    """Leave torch's random state as it was, here and on these GPUs; it is one for all threads, which take turns."""
    with _TURN, torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def drawing(network: nn.Module, seed: int) -> Iterator[None]:
    """Have a network draw what it draws from this seed; torch's random state is as before afterwards."""
    devices = {p.device.index for p in network.parameters() if p.device.type == "cuda"}
    with state_kept(sorted(devices)):
        torch.manual_seed(seed)
        yield


@contextmanager
def in_training(network: nn.Module) -> Iterator[None]:
    """Let a network be trained with; its modes, its buffers and torch's random state are as before afterwards."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    with modes_restored(network), drawing(network, 0):
        try:
            yield
        finally:
            with torch.no_grad():
                for module, name, buffer, before in buffers:
                    module._buffers[name] = buffer.copy_(before)


@torch.no_grad()
def fewest_images(network: nn.Module, image: Tensor) -> int:
    """Return how many images a batch must have in training: 1, or 2 for a network that fails on an image alone.

    So does batch norm where it is left with one value of each channel.

    Args:
        network: as it is; nothing of it changes.
        image: 1×C×H×W, normalised, on the network's device.
    """
    with in_training(network):
        network.train()
        try:
            network(image)
        except Exception:  # a user's network may raise anything
            return 2
    return 1
