"""Which images a page shows, and where they lie in its sheet.

Shapes: K classes, N stored images of C×H×W pixels, l factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m3d_condense.report.facts import Facts
from m3d_condense.report.sheet import Box, Sheet
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.text import one_line
from m3d_condense.sets.tiles import tile_size

SHOWN_HEIGHT = 48  # pixels of a screen that a small image comes near, by whole factors
BESIDE = 10  # images in a row, where there is room
PAIRS = 12  # of a synthetic image and its nearest real one


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """A stored image in the sheet, and its tiles there: one, the whole of it, where it is no mosaic."""

    place: Box
    tiles: Sequence[Box]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of a class that are shown: at the end, and those they started from, if they are known."""

    name: str
    final: Sequence[Mosaic]
    initial: Sequence[Box]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The images of a set, class by class.

    Attributes:
        rows: of the classes that are shown.
        width, height: of a stored image, in pixels.
        tile_width, tile_height: of a tile.
        zoom: pixels of a screen for a pixel of an image, at first.
        beside: images that stand beside one another in a row, where there is room.
        left_out: what is not shown, in words; empty where all is.
    """

    rows: Sequence[Row]
    width: int
    height: int
    tile_width: int
    tile_height: int
    zoom: int
    beside: int
    left_out: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A synthetic image and the real one that it is nearest to.

    Attributes:
        tile, real: in the sheet.
        class_name: of both.
        distance: between them, in levels.
    """

    tile: Box
    real: Box
    class_name: str
    distance: float


def gallery(facts: Facts, sheet: Sheet, most_bytes: int) -> Gallery:
    """Put the images of a set into the sheet: of every class the same number, as many as are within the bytes."""
    condensed = facts.condensed
    channels, height, width = condensed.images.shape[1:]
    each = channels * height * width * (1 if facts.initial is None else 2)
    affordable = max(1, most_bytes // each)
    classes = min(condensed.num_classes, affordable)
    count = max(1, affordable // classes)
    rows = [_row(facts, sheet, number, count) for number in range(classes)]
    h, w = tile_size((height, width), condensed.factor)
    return Gallery(
        rows=rows,
        width=width,
        height=height,
        tile_width=w,
        tile_height=h,
        zoom=max(1, round(SHOWN_HEIGHT / height)),
        beside=min(max(len(row.final) for row in rows), BESIDE),
        left_out=_left_out(condensed, classes, count),
    )


def _row(facts: Facts, sheet: Sheet, number: int, count: int) -> Row:
    condensed = facts.condensed
    index = torch.nonzero(condensed.labels == number).flatten()[:count]
    final = [_mosaic(sheet.add(condensed.images[i]), condensed.factor) for i in index]
    initial = [] if facts.initial is None else [sheet.add(facts.initial[i]) for i in index]
    return Row(name=one_line(condensed.class_names[number]), final=final, initial=initial)


def _mosaic(place: Box, factor: int) -> Mosaic:
    return Mosaic(place=place, tiles=[tile_of(place, factor, number) for number in range(factor**2)])


def tile_of(place: Box, factor: int, number: int) -> Box:
    """Return where a tile of a stored image lies in the sheet; the last ones are smaller where l does not divide."""
    height, width = tile_size((place.height, place.width), factor)
    row, column = divmod(number, factor)
    right, bottom = min((column + 1) * width, place.width), min((row + 1) * height, place.height)
    left, top = min(column * width, right), min(row * height, bottom)
    return Box(place.x + left, place.y + top, right - left, bottom - top)


def _left_out(condensed: CondensedSet, classes: int, count: int) -> str:
    parts = []
    most = int(condensed.labels.bincount().max())
    if count < most:
        parts.append(f"{count} of {most} images of each class")
    if classes < condensed.num_classes:
        parts.append(f"{classes} of {condensed.num_classes} classes")
    return f"Shown are the first {' and '.join(parts)}." if parts else ""


def pairs(facts: Facts, sheet: Sheet) -> list[Pair]:
    """Put the synthetic images that are nearest to a real one into the sheet, with that one, the nearest first."""
    condensed, dataset, found = facts.condensed, facts.dataset, facts.nearest
    if dataset is None or found is None:
        return []
    shown = []
    for tile in found.distance.argsort(stable=True)[:PAIRS].tolist():
        stored, number = divmod(tile, condensed.factor**2)
        place = tile_of(sheet.add(condensed.images[stored]), condensed.factor, number)
        real = sheet.add(dataset.train.images[int(found.index[tile])])
        name = one_line(condensed.class_names[int(condensed.labels[stored])])
        shown.append(Pair(tile=place, real=real, class_name=name, distance=float(found.distance[tile])))
    return shown


def closer_than_usual(distance: Tensor, usual: float | None) -> int:
    """Count the synthetic images that are nearer to a real one than real ones of a class are to each other, usually."""
    return 0 if usual is None else int((distance < usual).sum())
