"""Images in memory whose splits are told beside them, as by `is_test`: divided as the rows of a table are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from m3d_condense.data.arrays import Images, Told, as_numpy
from m3d_condense.data.labels import any_label
from m3d_condense.data.split_columns import splits_of
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID, split_name
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

NUMBERS = re.compile(r"[\W_]*(idx|idxs|index|indexes|indices|ids?|rows)$", re.I)
"""What stands behind the name of a split in that of an array of the numbers of its images."""

Part = tuple[Images, list[Any]]  # the images of a split, and their labels


def told_by(columns: Mapping[str, Sequence[str | None]], where: str) -> Told | None:
    """Return which columns tell the splits, and the split of each image; None where none does.

    Their values are as `text_of` gives them. Raises UserError as `splits_of` does.
    """
    texts = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return splits_of({name: own for name, own in texts.items() if len(own) == len(columns[name])}, where)


def by_numbers(arrays: Mapping[str, Any], count: int, where: str) -> Told | None:
    """Return which arrays number the images of a split, as `train_idx`, and the split of each image; None if none does.

    The numbers count from 0, or from 1 where one of them is `count`; images in none of the splits are of "". Raises
    UserError for numbers of no image, and for an image in two splits.
    """
    splits = {name: split for name in arrays if (split := split_name(NUMBERS.sub("", name))) is not None}
    read = {name: as_numpy(arrays[name]).reshape(-1) for name in splits}
    rows = {name: numbers for name, numbers in read.items() if numbers.dtype.kind in "iu" and len(numbers) > 1}
    if not rows:
        return None
    least, most = min(int(one.min()) for one in rows.values()), max(int(one.max()) for one in rows.values())
    first = 1 if most == count and least > 0 else 0
    if least < first or most >= first + count:
        raise UserError(f"{where}: {some(list(rows))} number the images from {least} to {most}, and there are {count}")
    said: dict[int, str] = {}
    for name, numbers in rows.items():
        for row in (numbers - first).tolist():
            if said.setdefault(row, splits[name].role) != splits[name].role:
                raise UserError(f"{where}: {some(list(rows))} name the image {row + first} for two splits")
    rest = "" if TRAIN in said.values() else TRAIN
    left = 0 if rest else count - len(said)
    if left:
        notice(f"{where}: {left} of {count} images are in none of {some(list(rows))}, and are not used")
    return list(rows), [said.get(row, rest) for row in range(count)]


def text_of(value: Any) -> str | None:
    """Return a single value as text, empty where it is missing; None for arrays, lists and other things."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and (array := as_numpy(value)).size == 1:
        value = array.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, str | int | float) else None


def divided(parts: Sequence[Part], told: Sequence[Told | None]) -> list[Part]:
    """Return the training images and the test images, where there are some, as what was told of each part says.

    Raises UserError where it contradicts the parts, and where it says that no image is for training.
    """
    first, *others = parts
    for known in told[1:]:
        _check_apart(known, TRAIN)
    if told[0] is None:
        return [first, *others]
    columns, roles = told[0]
    if others:
        _check_apart(told[0], TEST)
    rows = {role: np.flatnonzero([one == role for one in roles]) for role in (TRAIN, TEST, VALID)}
    if len(rows[TRAIN]) == 0:
        raise UserError(
            f"no image is for training: {some(columns)} says {some(sorted(set(roles)))} of all of them; give the "
            "training images too, or leave it out"
        )
    if len(rows[TRAIN]) == len(roles):
        return [first, *others]
    notice(f"The splits are read from {some(columns)}")
    images, labels = first
    found = {role: (images.select(own), [labels[row] for row in own]) for role, own in rows.items() if len(own) > 0}
    for role in (TEST, VALID):
        if role not in found:
            continue
        if others or not any_label(found[role][1]):
            reason = "is not used" if others else "has no labels, and is not used"
            notice(f"The {role} split {reason} ({len(rows[role])} images)")
            continue
        others.append(found[role])
        if role != TEST:
            notice(f"There is no labelled test split: the {role} split is the test split")
    return [found[TRAIN], *others]


def _check_apart(told: Told | None, role: str) -> None:
    """Raise UserError where images of one part are of the split that is another part."""
    count = 0 if told is None else list(told[1]).count(role)
    if told is not None and count > 0:
        one = TEST if role == TRAIN else TRAIN
        raise UserError(
            f"{some(told[0])} says {role} of {count} images of the {one} split, but the {role} split is given by "
            "itself: which is right? Correct it, or leave it out"
        )
