"""Which column of a table holds the labels: by its name, its type and how few values it has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from m3d_condense.data.words import plain
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.text import listed

LABELS = ("label", "labels", "class", "classname", "classlabel", "classid", "target", "category", "y")
"""Names of columns of labels, the first first, without signs and in small letters."""
INDEX = ("", "index", "indexlevel0", "unnamed0", "id", "bbox", "width", "height")
FLAT = "holds numbers in one row, whose height and width are not told: make them arrays H×W, H×W×C or C×H×W"


def name_twice(names: Sequence[str]) -> str | None:
    """Return the first name that stands there twice; None where there is none."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def unused_columns(names: Sequence[str]) -> str:
    """Say which columns are not used."""
    return f"Columns not used: {listed([name or 'one without a name' for name in names], 8)}"


def choose_labels(columns: Mapping[str, Sequence[Any]], where: str) -> str | None:
    """Return the column of labels among those that may be: None where there is none at all.

    A column called `label` comes first, then the other names of `LABELS`, then the only one whose values repeat. But
    `y` beside `x` is a place in the image. Raises UserError where several may be meant.
    """
    called = [plain(name) for name in columns]
    for wanted in LABELS:
        if called.count(wanted) == 1 and (wanted != "y" or "x" not in called):
            return list(columns)[called.index(wanted)]
    others = {name: values for name, values in columns.items() if plain(name) not in INDEX}
    few = [name for name, values in others.items() if 2 * len({v for v in values if v == v}) <= max(len(values), 4)]
    if len(few) == 1 or len(others) < 2:
        return few[0] if few else None
    raise UserError(f"{where}: cannot tell the labels; give {Setting('label_column')} one of: {', '.join(others)}")


def one_hot(columns: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the class of each row where every column is 1 for the rows of one class and 0 elsewhere, else None."""
    if len(columns) < 2:
        return None
    labels: list[str] = []
    names = list(columns)
    for row in zip(*columns.values(), strict=True):
        numbers = [value.strip() for value in row]
        if any(re.fullmatch(r"[01](\.0*)?", number) is None for number in numbers):
            return None
        ones = [name for name, number in zip(names, numbers, strict=True) if number[0] == "1"]
        if len(ones) != 1:
            return None
        labels.append(ones[0])
    return labels
