"""The learnable pixels and their encoding: tiles of l×l small images in each stored one (M3D, Eq. 10).

Shapes: K classes, M stored images per class, C×H×W pixels in [0, 1], factor l.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 0.5  # where l does not divide the side


def tile_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the height and width of a tile: the side over the factor, rounded up."""
    return -(-size[0] // factor), -(-size[1] // factor)


def cut(images: Tensor, factor: int) -> Tensor:
    """Cut images …×C×H×W into tiles …×l²×C×h×w, row by row, padding the far sides with 0.5 where needed."""
    *lead, channels, height, width = images.shape
    h, w = tile_size((height, width), factor)
    pad = (0, w * factor - width, 0, h * factor - height)
    if any(pad):
        images = F.pad(images, pad, value=PADDING)
    tiles = images.reshape(*lead, channels, factor, h, factor, w)
    return tiles.movedim((-4, -2), (-5, -4)).reshape(*lead, factor * factor, channels, h, w)


def enlarge(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """Up-sample tiles N×C×h×w to N×C×H×W, bilinear."""
    if tuple(tiles.shape[-2:]) == tuple(size):
        return tiles
    return F.interpolate(tiles, size=size, mode="bilinear", align_corners=False)


def decode(images: Tensor, factor: int) -> Tensor:
    """Decode stored images N×C×H×W into the (N·l²)×C×H×W that a network trains on (M3D, Eq. 10).

    Row n·l²+t comes from tile t of image n.
    """
    return enlarge(cut(images, factor).flatten(0, 1), (images.shape[-2], images.shape[-1]))


def mosaic(images: Tensor, factor: int) -> Tensor:
    """Encode images (N·l²)×C×H×W as N×C×H×W mosaics, each small image down-scaled without aliasing.

    Where l does not divide the side, the far edge of the last tiles is lost.
    """
    count, channels, height, width = images.shape
    h, w = tile_size((height, width), factor)
    if factor == 1:
        return images
    small = F.interpolate(images, size=(h, w), mode="bilinear", align_corners=False, antialias=True)
    grid = small.reshape(count // factor**2, factor, factor, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, channels, h * factor, w * factor)[..., :height, :width].contiguous()


class Pixels:
    """The synthetic images under optimisation: a leaf tensor K×M×C×H×W in [0, 1], and how they decode.

    Args:
        values: the initial images K×M×C×H×W in [0, 1].
        factor: l, at least 1.
    """

    def __init__(self, values: Tensor, factor: int) -> None:
        self.values = values.clone().requires_grad_()
        self.factor = factor

    @property
    def decoded_per_class(self) -> int:
        """How many images a class decodes to: M·l²."""
        return self.values.shape[1] * self.factor**2

    def draw(self, classes: range, limit: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Return decoded images of these classes, len(classes)×min(M·l², limit)×C×H×W.

        Past the limit, each class draws its tiles from its own generator.
        """
        size = (self.values.shape[-2], self.values.shape[-1])
        tiles = cut(self.values[classes.start : classes.stop], self.factor).flatten(1, 2)
        if self.decoded_per_class > limit:
            order = [torch.randperm(self.decoded_per_class, generator=g)[:limit] for g in generators]
            index = torch.stack(order).to(tiles.device)
            tiles = tiles[torch.arange(len(index), device=tiles.device).unsqueeze(1), index]
        return enlarge(tiles.flatten(0, 1), size).view(*tiles.shape[:3], *size)

    @torch.no_grad()
    def training_set(self) -> tuple[Tensor, Tensor]:
        """Return the decoded images (K·M·l²)×C×H×W in [0, 1], without a graph, and their labels (K·M·l²)."""
        labels = torch.arange(len(self.values), device=self.values.device).repeat_interleave(self.decoded_per_class)
        return decode(self.values.flatten(0, 1), self.factor), labels

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring every pixel back into [0, 1]."""
        self.values.clamp_(0.0, 1.0)

    @torch.no_grad()
    def to_uint8(self) -> tuple[Tensor, Tensor]:
        """Return the images (K·M)×C×H×W as uint8 on the CPU, and their labels (K·M), class by class."""
        images = (self.values * 255).round().to(torch.uint8).flatten(0, 1).cpu()
        labels = torch.arange(self.values.shape[0]).repeat_interleave(self.values.shape[1])
        return images, labels
