"""A ConvNet's block on a CPU in our own code: convolution, instance norm, ReLU and pooling, and their derivatives.

Winograd's convolution takes a quarter of the multiplications, and nothing of a block leaves the processor's cache
before it is pooled; what is computed is the same, in float32. `block.cpp` is compiled on first use, in seconds, and
kept in the user's cache folder; where that fails torch's own operations serve. Measured in docs/performance.md.

Shapes: N images, C×H×W pixels or maps, O maps after the convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense.machine.native import building
from m3d_condense.machine.native.building import compiler
from m3d_condense.machine.native.calls import Maps, Weights, backward, forward, forward_kept, last

__all__ = ["NativeBlock", "block", "compiler", "supports", "swap"]


def supports(block: nn.Module) -> bool:
    """Whether the code computes this block: convolution 3×3, instance norm with weights, ReLU, pooling 2×2."""
    if not (isinstance(block, nn.Sequential) and len(block) == 4):
        return False
    layers: tuple[Any, ...] = tuple(block)
    convolution, norm, _, pool = layers
    if tuple(map(type, layers)) != (nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.AvgPool2d) or not norm.affine:
        return False
    before, after, padding = convolution.in_channels, convolution.out_channels, convolution.padding[0]
    usual = (
        convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding == (padding, padding)
        and convolution.padding_mode == "zeros"
        and padding >= 1
        and norm.num_groups == after
        and pool.kernel_size == pool.stride == 2
        and (pool.padding, pool.ceil_mode, pool.divisor_override) == (0, False, None)
    )
    found = building.library() if usual else None
    if found is None:
        return False
    panel = found.panel()
    few = before < panel // 2
    return bool(after % panel == 0 and (few or (before % panel == 0 and padding == 1)))


class NativeBlock(nn.Sequential):
    """Such a block in our own code: it holds the same layers by the same names.

    Images or weights that the code does not take, on another device or in another precision, go through the layers.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled maps N×O×H/2×W/2 of images N×C×H×W."""
        if images.device.type == "cpu" and all(part.dtype == torch.float32 for part in self.parameters()):
            native: Tensor = block(images, self)
            return native
        made: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return made


def swap(network: Any, wanted: bool) -> bool:
    """Put native blocks in place of a ConvNet's own, or its own back; return whether they are native now.

    A network of other layers, or in another precision, is left as it is.
    """
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or getattr(network, "stem", None) is not None:
        return False
    float32 = all(part.dtype == torch.float32 for part in network.parameters())
    use = wanted and float32 and all(map(supports, blocks))
    for number, layers in enumerate(blocks):
        if isinstance(layers, NativeBlock) != use and isinstance(layers, NativeBlock | nn.Sequential):
            blocks[number] = (NativeBlock if use else nn.Sequential)(*layers)
    return use


def block(images: Tensor, layers: Any) -> Tensor:
    """Return what the four layers of such a block make of images N×C×H×W on the CPU: maps N×O×H/2×W/2, channels last.

    Its first derivatives are there, to the images and all weights, but for the convolution's bias: an instance norm
    takes away what that adds. For second derivatives see `WeightGradient`.
    """
    images, weights = last(images), Weights.of(layers)
    if torch.is_grad_enabled() and any(part.requires_grad for part in (images, *weights.tensors)):
        result: Tensor = _Block.apply(images, *weights)  # type: ignore[no-untyped-call]
        return result
    return forward(images, weights)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, padding: int, eps: float
    ) -> Tensor:
        out, maps = forward_kept(images, Weights(weight, gamma, beta, padding, eps))
        ctx.shape, ctx.others = images.shape, (padding, eps)
        ctx.save_for_backward(images if any(ctx.needs_input_grad[1:4]) else None, weight, gamma, beta, *maps)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, gamma, beta, *maps = ctx.saved_tensors
        weights = Weights(weight, gamma, beta, *ctx.others)
        return *backward(ctx.shape, images, weights, Maps(*maps), gradient, ctx.needs_input_grad[0]), None, None
