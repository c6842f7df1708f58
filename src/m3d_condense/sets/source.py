"""The data set that a condensed set is tested on: what it was condensed from, or other data at its size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice


def source_of(condensed: CondensedSet, data: Any = None) -> ImageDataset:
    """Load the data set a condensed set is tested on: its source, or `data` at the size of the set.

    Raises:
        UserError: where the source is unknown or gone, or classes or image shapes differ.
    """
    dataset = _own_source(condensed) if data is None else fitted(data, side_of(condensed))
    if dataset.class_names != condensed.class_names:
        raise UserError(
            f"{dataset.name}: its classes are not those of the condensed set: "
            f"{_difference(dataset.class_names, condensed.class_names)}; {Setting('data')} names other data, "
            f"{Setting('classes')} picks and orders those of these"
        )
    shape, expected = tuple(dataset.train.images.shape[1:]), tuple(condensed.images.shape[1:])
    if shape != expected:
        advice = f"{Setting('size')} makes them fit" if shape[0] == expected[0] else "one is grey, the other in colour"
        raise UserError(f"{dataset.name}: images of {shape} do not fit a condensed set of {expected}; {advice}")
    if data is not None:
        _tell_other_split(condensed, dataset)
    return dataset


def _tell_other_split(condensed: CondensedSet, dataset: ImageDataset) -> None:
    """Say so where the data were divided by another seed than those that the set was made of."""
    own, other = condensed.source, dataset.source
    same = all(own.get(key) == other.get(key) for key in ("data", "classes"))
    if same and own.get("seed") != other.get("seed") and own.get("fingerprint") not in (None, dataset.fingerprint):
        notice(
            f"{dataset.name}: its test split was held out with seed {other.get('seed')}, and the set was made of data "
            f"with seed {own.get('seed')}: images that it was made of may be among those that it is tested on"
        )


def _difference(real: Sequence[str], condensed: Sequence[str]) -> str:
    """Say in which classes the data and the set differ, or that they stand in another order."""
    more = [name for name in real if name not in condensed]
    fewer = [name for name in condensed if name not in real]
    parts = [
        f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''} only in {where}"
        for names, where in ((more, "the data"), (fewer, "the set"))
        if names
    ]
    if parts:
        return ", ".join(parts)
    if len(real) != len(condensed):
        return f"{len(real)} of them, and {len(condensed)} in the set"
    place = next(number for number, name in enumerate(real) if name != condensed[number])
    return f"in another order, class {place} is {real[place]} in the data and {condensed[place]} in the set"


def side_of(condensed: CondensedSet) -> int | None:
    """Return the side of a set's images in pixels, None where they are no squares."""
    height, width = condensed.images.shape[2:]
    return height if height == width else None


def _own_source(condensed: CondensedSet) -> ImageDataset:
    """Load what a set was condensed from, as it is now."""
    keys = ("data", "size", "image_column", "label_column", "layout", "seed", "classes")
    source = {key: condensed.source[key] for key in keys if key in condensed.source}
    data = source.get("data")
    if data is None:
        origin = "was imported without its data set" if condensed.imported else "was condensed from arrays"
        raise UserError(f"this set {origin}; say with {Setting('data')} what to test on")
    for path in [data] if isinstance(data, str) else data:
        if Path(path).is_absolute() and not Path(path).exists():
            raise UserError(
                f"{path}, which this set was condensed from, is gone; say with {Setting('data')} where it is"
            )
    dataset = load(**source)
    if dataset.fingerprint != condensed.source.get("fingerprint"):
        notice(f"{data}: has changed since the set was condensed from it; the score is of what it holds now")
    return dataset


def fitted(data: Any, side: int | None) -> ImageDataset:
    """Load data at the side of a set's images, again where they were loaded as they are; None leaves them so."""
    if not isinstance(data, ImageDataset):
        return load(data, size=side)
    again = data.source.get("data") is not None and data.source.get("size") is None
    if side is None or data.size == (side, side) or not again:
        return data
    notice(f"{data.name}: its images are resized to the {side}×{side} pixels of the set")
    return load(**data.source | {"size": side})
