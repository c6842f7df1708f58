"""Networks by name, their random initialisation, and what one must offer to be used as an encoder."""

from __future__ import annotations

import re
from typing import Protocol

import torch
from torch import Tensor, nn

from m3d_condense.errors import UserError
from m3d_condense.networks.convnet import ConvNet


class Network(Protocol):
    """What the rest asks of a network: features N×D and, by calling it, logits N×K of normalised images."""

    def features(self, images: Tensor) -> Tensor: ...  # noqa: D102
    def __call__(self, images: Tensor) -> Tensor: ...  # noqa: D102


def build(name: str, *, channels: int, num_classes: int, size: tuple[int, int]) -> nn.Module:
    """Build a network by name: ``convnet`` (its depth follows the side) or ``convnetD`` with the depth D.

    Raises:
        UserError: for an unknown name, or images too small for the depth.
    """
    match = re.fullmatch(r"convnet(\d*)", name.lower())
    if match is None:
        raise UserError(f"unknown network {name!r}: convnet, or convnet with its depth, such as convnet3")
    depth = int(match[1]) if match[1] else natural_depth(size)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights are drawn by `initialise`
            return ConvNet(channels, num_classes, size, depth=depth)
    except ValueError as error:
        raise UserError(f"--network {name}: {error}") from None


def natural_depth(size: tuple[int, int]) -> int:
    """Return the depth that ends in maps of about 4×4: 3 at 28 and 32, 4 at 64, 5 at 128, at least 1."""
    return max((min(size) + 4).bit_length() - 3, 1)


def initialise(network: nn.Module, seed: int) -> None:
    """Refill every parameter in place from PyTorch's default initialisation, a function of the seed alone.

    Modules draw from torch's global generator, whose state is put back afterwards.
    """
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d.index for d in devices)):
        torch.manual_seed(seed)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
