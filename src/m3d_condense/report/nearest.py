"""An audit for copies: the real image that each synthetic one is nearest to.

Shapes: N real and M synthetic images of C×H×W pixels in [0, 1]; T tiles, of h×w pixels.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # real images compared at a time
SAMPLE = 256  # real images of a class whose distances to each other say what is near


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """For each synthetic image, the nearest real one of its class.

    Distances are root mean squares of the differences of pixels, in levels from 0 to 255.

    Attributes:
        index: T int64, into the real images.
        distance: T.
        usual: the median distance of a real image to the nearest other one of its class; None where no class has two.
    """

    index: Tensor
    distance: Tensor
    usual: float | None


def nearest(tiles: Tensor, tile_labels: Tensor, real: Tensor, real_labels: Tensor) -> Nearest:
    """Find the nearest real image of its class for each tile.

    Tiles are compared as they are stored; real images are brought to their size, so that a smaller copy is found too.

    Args:
        tiles: T×C×h×w in [0, 1].
        tile_labels: T.
        real: N×C×H×W, uint8.
        real_labels: N; every class of a tile is among them.
    """
    index = torch.empty(len(tiles), dtype=torch.int64)
    distance = torch.empty(len(tiles))
    usual = []
    for number in sorted(set(tile_labels.tolist())):
        ours = torch.nonzero(tile_labels == number).flatten()
        members = torch.nonzero(real_labels == number).flatten()
        flat = tiles[ours].flatten(1)
        parts = [_distances(flat, _sized(real[part], tiles)) for part in torch.split(members, CHUNK)]
        distance[ours], best = torch.cat(parts, dim=1).min(1)
        index[ours] = members[best]
        usual.append(_between(_sized(real[members[:SAMPLE]], tiles)))
    between = torch.cat(usual)
    return Nearest(index=index, distance=distance, usual=statistics.median(between.tolist()) if len(between) else None)


def _sized(images: Tensor, tiles: Tensor) -> Tensor:
    """Return uint8 images as rows of values in [0, 1], at the size of the tiles."""
    values = images.float() / 255
    if values.shape[-2:] != tiles.shape[-2:]:
        size = (tiles.shape[-2], tiles.shape[-1])
        values = F.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    return values.flatten(1)


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the distances between rows, in levels."""
    found: Tensor = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    levels: float = 255 / math.sqrt(one.shape[1])
    return found * levels


def _between(rows: Tensor) -> Tensor:
    """Return the distance of each row to the nearest other one; none where there is one row."""
    if len(rows) < 2:
        return rows.new_zeros(0)
    return _distances(rows, rows).fill_diagonal_(torch.inf).amin(dim=1)
