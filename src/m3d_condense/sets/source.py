"""The data set that a condensed set is tested on: what it was condensed from, or other data at its size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed

STORED: dict[str, Any] = {
    "data": str | list[str] | None,
    "size": int | None,
    "image_column": str | None,
    "label_column": str | None,
    "layout": str | None,
    "seed": int,
    "classes": str | list[str] | None,
}
"""The arguments of `load` that a set's source holds, and the type of each as JSON has it."""


def source_of(condensed: CondensedSet, data: Any = None) -> ImageDataset:
    """Load the data set a condensed set is tested on: its source, or `data` at the size of the set.

    Raises:
        UserError: where the source is unknown or gone, or classes or image shapes differ.
    """
    dataset = _own_source(condensed) if data is None else fitted(data, side_of(condensed))
    if dataset.class_names != condensed.class_names:
        raise UserError(
            f"{dataset.name}: its classes are not those of the condensed set: "
            f"{difference(dataset.class_names, condensed.class_names, 'the data', 'the set')}; "
            f"{Setting('data')} names other data, {Setting('classes')} picks and orders those of these"
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


def difference(some: Sequence[str], others: Sequence[str], here: str, there: str) -> str:
    """Say in which classes two differ, which are called `here` and `there`, or that they stand in another order."""
    more = [name for name in some if name not in others]
    fewer = [name for name in others if name not in some]
    parts = [f"{listed(names)} only in {where}" for names, where in ((more, here), (fewer, there)) if names]
    if parts:
        return ", ".join(parts)
    if len(some) != len(others):
        return f"{len(some)} of them, and {len(others)} in {there}"
    place = next(number for number, name in enumerate(some) if name != others[number])
    return f"in another order, class {place} is {some[place]} in {here} and {others[place]} in {there}"


def side_of(condensed: CondensedSet) -> int | None:
    """Return the side of a set's images in pixels, None where they are no squares."""
    height, width = condensed.images.shape[2:]
    return height if height == width else None


def _own_source(condensed: CondensedSet) -> ImageDataset:
    """Load what a set was condensed from, as it is now."""
    source = {key: condensed.source[key] for key in STORED if key in condensed.source}
    for key, value in source.items():
        try:
            msgspec.convert(value, STORED[key])
        except msgspec.ValidationError as error:
            advice = f"say with {Setting('data')} what to test on"
            raise UserError(f"this set's source has a wrong {key!r} ({error}); {advice}") from None
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
        notice(f"{data}: has changed since the set was condensed from it; what it holds now is used")
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
