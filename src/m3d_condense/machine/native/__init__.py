"""Blocks of networks on a CPU in our own code: convolution, instance norm, ReLU and pooling, and their derivatives.

A ConvNet is made of such blocks, and a ResNetAP almost. Winograd's convolution takes a quarter of the
multiplications, and nothing of a block leaves the processor's cache before it is pooled; what is computed is the same,
in float32, or with the products of that convolution in bfloat16 where the processor has it. `block.cpp` is compiled on
first use, in seconds, and kept in the user's cache folder; where that fails torch's own operations serve. Measured in
docs/performance.md.

Shapes: N images, C×H×W pixels or maps, O maps after the convolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from m3d_condense.machine.native import building
from m3d_condense.machine.native.building import compiler, has_tiles, multiplies_bfloat16
from m3d_condense.machine.native.calls import Maps, Weights, backward, forward, forward_kept, last

__all__ = ["NativeSequence", "block", "blocks_of", "compiler", "has_tiles", "multiplies_bfloat16", "supports", "swap"]


def supports(layers: nn.Module) -> bool:
    """Whether the code computes all of these layers at once: see `blocks_of`."""
    return isinstance(layers, nn.Sequential) and blocks_of(layers) == [range(len(layers))]


def blocks_of(layers: Iterable[nn.Module]) -> list[range]:
    """Return where, among layers that follow one another, there are blocks that the code computes.

    Each begins with a convolution, of 3×3 or, on images of few channels, up to 7×7, and an instance norm with weights.
    A ReLU may follow, and behind it pooling of 2×2 or 4×4.
    """
    kept, found = list(layers), []
    for first in range(len(kept) - 1):
        if _convolves(kept[first]) and _normalises(kept[first + 1]):
            end = first + 2
            for follows in (_rectifies, _pools):
                if end == len(kept) or not follows(kept[end]):
                    break
                end += 1
            found.append(range(first, end))
    return found


def _convolves(layer: Any) -> bool:
    if not isinstance(layer, nn.Conv2d):
        return False
    kernel, padding = layer.kernel_size[0], cast(int, layer.padding[0])  # a word for padding is none of the usual
    usual = (
        layer.kernel_size == (kernel, kernel)
        and kernel in (3, 5, 7)
        and layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding == (padding, padding)
        and layer.padding_mode == "zeros"
    )
    found = building.library(torch.float32) if usual else None
    if found is None or layer.out_channels % found.panel():
        return False
    few = layer.in_channels < found.panel() // 2
    return padding >= 1 if few else bool(layer.in_channels % found.panel() == 0 and (kernel, padding) == (3, 1))


def _normalises(layer: Any) -> bool:
    return type(layer) is nn.GroupNorm and layer.affine and layer.num_groups == layer.num_channels


def _rectifies(layer: Any) -> bool:
    return type(layer) is nn.ReLU


def _pools(layer: Any) -> bool:
    if type(layer) is not nn.AvgPool2d or layer.kernel_size not in (2, 4) or layer.stride != layer.kernel_size:
        return False
    return (layer.padding, layer.ceil_mode, layer.divisor_override) == (0, False, None)


class NativeSequence(nn.Sequential):
    """Layers one after the other, those of blocks in our own code: it holds the same layers by the same names.

    Images or weights that the code does not take, on another device or in another precision, go through the layers.

    Attributes:
        products: what those of Winograd's convolution are of: float32 or bfloat16.
    """

    def __init__(self, *layers: Any, products: torch.dtype = torch.float32) -> None:
        super().__init__(*layers)
        self.products = products
        self._blocks = blocks_of(self.children())

    def __getitem__(self, index: Any) -> Any:
        """Return a layer, or a part of the sequence that multiplies in the same precision."""
        part = super().__getitem__(index)
        if isinstance(part, NativeSequence):
            part.products = self.products
        return part

    def forward(self, images: Tensor) -> Tensor:
        """Return what the layers make of images N×C×H×W."""
        if images.device.type != "cpu" or any(part.dtype != torch.float32 for part in self.parameters()):
            made: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
            return made
        layers, done = list(self), 0
        for where in self._blocks:
            for layer in layers[done : where.start]:
                images = layer(images)
            images, done = block(images, layers[where.start : where.stop], self.products), where.stop
        for layer in layers[done:]:
            images = layer(images)
        return images


def swap(network: nn.Module, products: torch.dtype | None, *, twice: bool = False) -> torch.dtype | None:
    """Put sequences with native blocks in place of a network's own, or its own back.

    Returns what it multiplies in natively now; None where it runs in torch's operations.

    Args:
        network: one of this package's, changed in place. One with other convolutions than those of blocks, but for
            those of 1×1, or in another precision, is left as it is: what is won must outweigh what a compiler wins.
        products: what native ones multiply in: float32, or bfloat16 where `multiplies_bfloat16`; None takes the
            network's own.
        twice: whether the gradient of the weights will be derived by the images, which our code does where the network
            is nothing but blocks with a ReLU and pooling of 2×2.
    """
    if not isinstance(getattr(network, "blocks", None), nn.ModuleList):
        return None
    held = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if type(child) in (nn.Sequential, NativeSequence)
    ]
    use = products is not None and building.library(products) is not None
    use = use and all(part.dtype == torch.float32 for part in network.parameters())
    use = use and (_derived_twice(network) if twice else _covered(network, [child for *_, child in held]))
    for parent, name, child in held:
        chosen = products if use and blocks_of(child.children()) else None
        if getattr(child, "products", None) != chosen:
            layers = child.children()
            setattr(parent, name, NativeSequence(*layers, products=chosen) if chosen else nn.Sequential(*layers))
    return products if use else None


def _derived_twice(network: Any) -> bool:
    """Whether a network of this package is nothing but blocks with a ReLU and pooling of 2×2: a ConvNet."""
    plain = getattr(network, "stem", None) is None and all(map(supports, network.blocks))
    return plain and all(len(block) == 4 and block[3].kernel_size == 2 for block in network.blocks)


def _covered(network: nn.Module, sequences: Iterable[nn.Module]) -> bool:
    """Whether all convolutions beyond 1×1 of a network begin a block in one of these sequences."""
    begin = set()
    for sequence in sequences:
        layers = list(sequence.children())
        begin |= {layers[where.start] for where in blocks_of(layers)}
    wide = [part for part in network.modules() if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1)]
    return bool(wide) and begin.issuperset(wide)


def block(images: Tensor, layers: Sequence[nn.Module], products: torch.dtype = torch.float32) -> Tensor:
    """Return what the layers of a block make of images N×C×H×W on the CPU: maps N×O×h/p×w/p, channels last.

    Its first derivatives are there, to the images and all weights, but for the convolution's bias: an instance norm
    takes away what that adds. For second derivatives see `WeightGradient`.
    """
    images, weights = last(images), Weights.of(layers, products)
    if torch.is_grad_enabled() and any(part.requires_grad for part in (images, *weights.tensors)):
        result: Tensor = _Block.apply(images, *weights)  # type: ignore[no-untyped-call]
        return result
    return forward(images, weights)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, *others: Any) -> Tensor:
        out, maps = forward_kept(images, Weights(weight, gamma, beta, *others))
        ctx.shape, ctx.others = images.shape, others
        ctx.save_for_backward(images if any(ctx.needs_input_grad[1:4]) else None, weight, gamma, beta, *maps)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, gamma, beta, *maps = ctx.saved_tensors
        weights = Weights(weight, gamma, beta, *ctx.others)
        found = backward(ctx.shape, images, weights, Maps(*maps), gradient, ctx.needs_input_grad[0])
        return *found, *[None] * len(ctx.others)
