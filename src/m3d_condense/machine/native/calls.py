"""The functions of `block.cpp`, on tensors in float32 on the CPU, images and what a block returns channels last.

Products of 3×3 convolutions beyond a few input channels may be of numbers in bfloat16; all else is in float32.

Shapes: N images, C×H×W pixels or maps, O maps of h×w after a convolution of k×k, h/p×w/p after pooling, p = 1 for none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m3d_condense.machine.native import building


class Weights(NamedTuple):
    """What a block computes with: weights O×C×k×k of its convolution, γ and β (O) of its norm; and what it does.

    Attributes:
        padding: pixels about the images.
        eps: the norm's ε.
        pool: the side p of what is averaged after the ReLU; 1 for none.
        relu: whether there is one.
        products: what those of Winograd's convolution are of: float32 or bfloat16.
    """

    convolution: Tensor
    gamma: Tensor
    beta: Tensor
    padding: int
    eps: float
    pool: int
    relu: bool
    products: torch.dtype

    @classmethod
    def of(cls, layers: Sequence[Any], products: torch.dtype) -> Weights:
        """Return those of a block's modules: convolution, norm, perhaps a ReLU, perhaps pooling."""
        convolution, norm, *ending = layers
        weight, gamma, beta = (part.contiguous() for part in (convolution.weight, norm.weight, norm.bias))
        pool = ending[1].kernel_size if len(ending) > 1 else 1
        return cls(weight, gamma, beta, convolution.padding[0], norm.eps, pool, bool(ending), products)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those that are learnt."""
        return self.convolution, self.gamma, self.beta


class Maps(NamedTuple):
    """Maps before the norm, N×(O·h·w) in panels of channels, and two numbers of each, N×2×O, for a pass backward."""

    values: Tensor
    statistics: Tensor


def forward(images: Tensor, weights: Weights) -> Tensor:
    """Return the maps N×O×h/p×w/p of images N×C×H×W."""
    out = _output(images.shape, weights)
    _call("block_forward", images.shape, weights, images, *weights.tensors, weights.eps, None, None, out)
    return out


def forward_kept(images: Tensor, weights: Weights) -> tuple[Tensor, Maps]:
    """Return the maps N×O×h/p×w/p of images N×C×H×W, and what is kept of those before the norm."""
    out, maps = _output(images.shape, weights), _maps(images.shape, weights)
    _call("block_forward", images.shape, weights, images, *weights.tensors, weights.eps, *maps, out)
    return out, maps


def backward(
    shape: Sequence[int], images: Tensor | None, weights: Weights, maps: Maps, gradient: Tensor, of_images: bool
) -> tuple[Tensor | None, ...]:
    """Return four gradients: to the images, of this shape, and to the three tensors of `weights`.

    The first is None unless `of_images`; the others are None unless the images are given.
    """
    found = [
        _channels_last(shape) if of_images else None,
        *(torch.empty_like(part) if images is not None else None for part in weights.tensors),
    ]
    _call("block_backward", shape, weights, images, *weights.tensors, *maps, last(gradient), *found)
    return tuple(found)


def forward_dot(
    images: Tensor, images_dot: Tensor | None, weights: Weights, weights_dot: Tensor, maps: Maps
) -> tuple[Tensor, Maps]:
    """Return how the pooled maps, and those before the norm, change along `weights_dot` O×C×k×k and `images_dot`.

    Images that do not change have none. `maps` are what `forward_kept` returned.
    """
    out_dot, maps_dot = _output(images.shape, weights), _maps(images.shape, weights)
    changing = (weights.convolution, weights_dot.contiguous(), weights.gamma, weights.beta)
    _call("block_dot", images.shape, weights, images, images_dot, *changing, *maps, *maps_dot, out_dot)
    return out_dot, maps_dot


def backward_dot(
    shape: Sequence[int],
    weights: Weights,
    weights_dot: Tensor,
    maps: Maps,
    maps_dot: Maps,
    gradient: Tensor,
    gradient_dot: Tensor,
) -> Tensor:
    """Return how the gradient to images of this shape changes where that of the output does by `gradient_dot`."""
    images_dot = _channels_last(shape)
    changing = (weights.convolution, weights_dot.contiguous(), weights.gamma, weights.beta)
    of_output = last(gradient), last(gradient_dot)
    _call("block_dot_backward", shape, weights, *changing, *maps, *maps_dot, *of_output, images_dot)
    return images_dot


def last(tensor: Tensor) -> Tensor:
    """Return a tensor N×C×H×W as the code reads it: float32, channels last."""
    return tensor.float().contiguous(memory_format=torch.channels_last)


def _output(shape: Sequence[int], weights: Weights) -> Tensor:
    """Return memory for what a block makes of images of this shape."""
    height, width = _sides(shape, weights)
    return _channels_last((shape[0], len(weights.gamma), height // weights.pool, width // weights.pool))


def _maps(shape: Sequence[int], weights: Weights) -> Maps:
    """Return memory for what a block keeps of images of this shape."""
    height, width = _sides(shape, weights)
    count, after, empty = shape[0], len(weights.gamma), weights.gamma.new_empty
    return Maps(empty(count, after * height * width), empty(count, 2, after))


def _sides(shape: Sequence[int], weights: Weights) -> list[int]:
    return [side + 2 * weights.padding - weights.convolution.shape[-1] + 1 for side in shape[2:]]


def _channels_last(shape: Sequence[int]) -> Tensor:
    memory = {"dtype": torch.float32, "device": "cpu", "memory_format": torch.channels_last}
    return torch.empty(tuple(shape), **memory)  # type: ignore[call-overload, no-any-return]


def _call(name: str, shape: Sequence[int], weights: Weights, *arguments: Tensor | float | None) -> None:
    """Call a function for images of this shape, with tensors by their addresses.

    Raises:
        MemoryError: where there is too little for what the function works in.
        ValueError: for images that these weights cannot take: the code would read past the end of either.
    """
    library = building.library(weights.products)
    assert library is not None, "supports() comes first"
    count, channels, height, width = shape
    if channels != weights.convolution.shape[1]:
        raise ValueError(f"images have {channels} channels, the weights {weights.convolution.shape[1]}")
    if min(_sides(shape, weights)) < weights.pool:
        raise ValueError(f"images of {height}×{width} are too small to be pooled")
    after, _, kernel, _ = weights.convolution.shape
    of_block = after, weights.padding, kernel, weights.pool, weights.relu
    sizes = (ctypes.c_int64 * 9)(count, height, width, channels, *of_block)
    given = (part.data_ptr() if isinstance(part, Tensor) else part for part in arguments)
    if getattr(library, name)(sizes, *given, torch.get_num_threads()) != 0:
        raise MemoryError("native blocks ran out of memory")
