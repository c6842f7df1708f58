"""The mathematics once more, written from RECIPE.md and the paper as plain loops, to compare the package with."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) ** 2).sum()


def bandwidth(real: Tensor, synthetic: Tensor) -> Tensor:
    """The mean of the squared distances over the union N×D and M×D, off the diagonal."""
    union = [*real, *synthetic]
    total, pairs = torch.zeros((), dtype=real.dtype), 0
    for i, u in enumerate(union):
        for j, v in enumerate(union):
            if i != j:
                total, pairs = total + squared_distance(u, v), pairs + 1
    return total / pairs


def kernel(name: str, b: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def gaussian(x: Tensor, y: Tensor) -> Tensor:
        terms = [torch.exp(-squared_distance(x, y) / (b * 2.0**power)) for power in (-2, -1, 0, 1, 2)]
        return torch.stack(terms).sum()

    functions = {
        "gaussian": gaussian,
        "polynomial": lambda x, y: ((x * y).sum() + 1) ** 2,
        "linear": lambda x, y: (x * y).sum(),
    }
    return functions[name]


def mmd(real: Tensor, synthetic: Tensor, name: str, b: Tensor | None = None) -> Tensor:
    """Eq. (9) for one class, real N×D and synthetic M×D; `b` in place of the detached bandwidth."""
    k = kernel(name, bandwidth(real, synthetic).detach() if b is None else b)

    def mean(xs: Tensor, ys: Tensor) -> Tensor:
        return torch.stack([k(x, y) for x in xs for y in ys]).sum() / (len(xs) * len(ys))

    return mean(real, real) + mean(synthetic, synthetic) - 2 * mean(real, synthetic)


def sample(image: Tensor, source: Callable[[float, float], tuple[float, float]]) -> Tensor:
    """Resample C×H×W bilinearly; `source` takes an output (x, y) to an input (x, y), in pixels from the centre."""
    channels, height, width = image.shape
    result = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            x, y = source(j - (width - 1) / 2, i - (height - 1) / 2)
            x, y = x + (width - 1) / 2, y + (height - 1) / 2
            left, top = math.floor(x), math.floor(y)
            for row, in_rows in ((top, top + 1 - y), (top + 1, y - top)):
                for column, in_columns in ((left, left + 1 - x), (left + 1, x - left)):
                    if 0 <= row < height and 0 <= column < width:  # zeros outside
                        for c in range(channels):
                            result[c, i, j] += in_rows * in_columns * image[c, row, column]
    return result


def tiles(image: Tensor, factor: int) -> list[Tensor]:
    """Cut C×H×W into factor² tiles, row by row; where a side is not divided, 0.5 stands beyond it."""
    channels, height, width = image.shape
    h, w = math.ceil(height / factor), math.ceil(width / factor)
    padded = torch.full((channels, h * factor, w * factor), 0.5, dtype=image.dtype)
    padded[:, :height, :width] = image
    return [padded[:, r * h : (r + 1) * h, c * w : (c + 1) * w] for r in range(factor) for c in range(factor)]
