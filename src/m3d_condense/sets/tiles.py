"""How stored images encode several each: tiles of l×l small images in one (M3D, Eq. 10).

Shapes: N images of C×H×W pixels in [0, 1], factor l.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

PADDING = 0.5  # where l does not divide the side


def tile_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the height and width of a tile: the side over the factor, rounded up."""
    return math.ceil(size[0] / factor), math.ceil(size[1] / factor)


def has_room(size: tuple[int, int], factor: int) -> bool:
    """Whether each of l×l tiles holds a pixel of images of this height and width; as it is rounded up, it may not."""
    if factor < 1:
        return False
    return all((factor - 1) * tile < side for tile, side in zip(tile_size(size, factor), size, strict=True))


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


def mosaic(images: Tensor, factor: int, scaling: str = "antialiased") -> Tensor:
    """Encode images (N·l²)×C×H×W as N×C×H×W mosaics of down-scaled images.

    Where l does not divide the side, the far edge of the last tiles is lost.

    Args:
        images: in [0, 1].
        factor: l.
        scaling: "antialiased", bilinear over all pixels that a smaller one covers; "bilinear" over its four nearest;
            or "nearest", that one alone, which leaves the contrast of the finest structure as it is.
    """
    count, channels, height, width = images.shape
    h, w = tile_size((height, width), factor)
    if factor == 1:
        return images
    if scaling == "nearest":
        small = F.interpolate(images, size=(h, w), mode="nearest")
    else:
        antialias = scaling == "antialiased"
        small = F.interpolate(images, size=(h, w), mode="bilinear", align_corners=False, antialias=antialias)
    grid = small.reshape(count // factor**2, factor, factor, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, channels, h * factor, w * factor)[..., :height, :width].contiguous()
