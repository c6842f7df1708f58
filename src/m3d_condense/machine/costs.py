"""What a network costs an image: operations and memory, counted on one example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

FORWARD = 1 / 3  # of a step forward and backward: a pass forward alone


@contextmanager
def modes_restored(network: nn.Module) -> Iterator[None]:
    """Put every module of a network back into its mode, of training or not, behind the block."""
    before = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Run a network on one image without a graph, batch statistics or a trace of it."""
    with modes_restored(network), torch.no_grad():
        network.eval()
        yield


def forward_flops(network: nn.Module, image: Tensor) -> float:
    """Count the floating-point operations of one image 1×C×H×W forward."""
    from torch.utils.flop_counter import FlopCounterMode

    with at_rest(network), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops())


def activations(network: nn.Module, image: Tensor) -> int:
    """Estimate how many numbers one image 1×C×H×W keeps for its backward pass."""
    return sum(_outputs(network, image))


def widest_activation(network: nn.Module, image: Tensor) -> int:
    """Return how many numbers the largest activation of one image 1×C×H×W has, which a forward pass alone needs."""
    return max(_outputs(network, image), default=0)


def _outputs(network: nn.Module, image: Tensor) -> list[int]:
    """Count the numbers that each layer of a network makes of an image."""
    found = []

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found.append(output.numel())

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    try:
        with at_rest(network):
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found
