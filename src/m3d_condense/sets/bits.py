"""Pixels of fewer bits: the levels that they are rounded to, and how they are packed.

Shapes: N images of C×H×W values. With b bits a channel there are 2^b levels, at even steps from 0 to 1, or to 255.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from m3d_condense.recipes.recipe import FULL, check_bits


def bits_of(settings: Mapping[str, Any]) -> int:
    """Return the bits that the settings of a set say, 8 where they say nothing; raises `UserError` as `check_bits`."""
    bits: int = settings.get("bits", FULL)
    check_bits(bits)
    return bits


def in_bits(bits: int) -> str:
    """Say in how many bits pixels are, behind what they are said to be; nothing of 8, which are the usual."""
    return "" if bits == FULL else f" in {bits} bit{'' if bits == 1 else 's'} a channel"


def step_of(bits: int) -> int:
    """Return the distance of two levels, of 255: 1, 17, 85 or 255."""
    return 255 // _highest(bits)


def bytes_of(shape: tuple[int, ...], bits: int) -> int:
    """Return the bytes of packed images N×C×H×W; each begins a byte of its own."""
    count, *rest = shape
    return count * math.ceil(torch.Size(rest).numel() * bits / 8)


def rounded(values: Tensor, bits: int) -> Tensor:
    """Return values in [0, 1] as they are stored in fewer than 8 bits; the gradient is that of the values themselves.

    (The straight-through estimator, Bengio et al., 2013.) In 8 bits they stay as they are: that rounding is too fine to
    learn from.
    """
    if bits == FULL:
        return values
    highest = _highest(bits)
    return values + ((values * highest).round() / highest - values).detach()


def quantised(values: Tensor, bits: int) -> Tensor:
    """Return values in [0, 1] at the nearest levels, as uint8 from 0 to 255."""
    return ((values * _highest(bits)).round() * step_of(bits)).to(torch.uint8)


def on_levels(images: Tensor, bits: int) -> bool:
    """Tell whether uint8 images hold nothing but the levels of so many bits."""
    return bits == FULL or not bool((images % step_of(bits)).any())


def packed(images: Tensor, bits: int) -> Tensor:
    """Pack uint8 images N×C×H×W on their levels as N×⌈C·H·W·b/8⌉, uint8, the first value in the highest bits."""
    values = (images // step_of(bits)).flatten(1)
    missing = -values.shape[1] % (8 // bits)
    values = torch.nn.functional.pad(values, (0, missing)).view(len(values), -1, 8 // bits)
    return (values << _shifts(bits)).sum(-1).to(torch.uint8)


def unpacked(stored: Tensor, shape: tuple[int, ...], bits: int) -> Tensor:
    """Return the uint8 images N×C×H×W of this shape that `packed` has packed."""
    values = (stored.unsqueeze(-1) >> _shifts(bits)) & _highest(bits)
    count = torch.Size(shape[1:]).numel()
    return (values.flatten(1)[:, :count] * step_of(bits)).to(torch.uint8).reshape(shape)


def _highest(bits: int) -> int:
    """Return the number of the highest level, counted from 0."""
    return (1 << bits) - 1


def _shifts(bits: int) -> Tensor:
    return torch.arange(8 - bits, -1, -bits)
