"""From tables of splits to labelled rows: which columns, which split is for testing, which rows have a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.columns import LABELS, choose_labels, plain
from m3d_condense.data.labels import any_label, encode, labelled_rows
from m3d_condense.data.pictures import Rows
from m3d_condense.data.tables import by_name
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice


class AnyTable(Protocol):
    """A table of one split, wherever it lies; see `tables.Table`."""

    @property
    def name(self) -> str:
        """Of the split."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    def image_columns(self) -> list[str]:
        """Return the columns that may hold images."""

    def label_columns(self) -> list[str]:
        """Return the columns whose values may be labels: numbers or text."""

    def class_columns(self) -> list[str]:
        """Return the columns that are known to hold classes."""

    def count(self) -> int:
        """Return how many rows there are."""

    def values(self, column: str) -> list[Any]:
        """Return all values of a column."""

    def labels(self, column: str) -> tuple[list[Any], tuple[str, ...]]:
        """Return all values of a column, and the names that ids among them stand for."""

    def images(self, column: str, rows: NDArray[np.int64]) -> Any:
        """Return the images of some rows, as `Rows` takes them."""


def labelled(
    train: AnyTable,
    tests: Sequence[AnyTable] = (),
    *,
    image_column: str | None = None,
    label_column: str | None = None,
) -> tuple[list[Rows], tuple[str, ...]]:
    """Choose the columns, the rows that have a label, and the first of the other splits that has any as test split.

    Returns the training split, the test split where there is one, and the K class names. Raises UserError where a
    column cannot be told.
    """
    image = _image_column(train, image_column)
    label = _label_column(train, image, label_column)
    _notice_unused([name for name in train.columns if name not in (image, label)])
    values, names = train.labels(label)
    if not values:
        raise UserError(f"the {train.name} split has no rows; give data that are not empty")
    tables, labels = [train], [values]
    for test in tests:
        found = _test_labels(test, label, names)
        if len(tables) > 1:
            notice(f"The {test.name} split is not used ({len(found)} rows)")
        elif not any_label(found):
            notice(f"The {test.name} split has no labels, and is not used ({len(found)} rows)")
        else:
            tables.append(test)
            labels.append(found)
            if not test.name.lower().startswith("test"):
                notice(f"There is no labelled test split: the {test.name} split is the test split")
    encoded, class_names = encode(labels, names)
    rows = []
    for table, number_of, chosen in zip(tables, encoded, labelled_rows(encoded), strict=False):
        rows.append(Rows(name=table.name, labels=number_of[chosen], images=table.images(image, chosen), rows=chosen))
    return rows, class_names


def _test_labels(test: AnyTable, label: str, names: Sequence[str]) -> list[Any]:
    """Return the labels of another split, as ids if it has the names of training, else as names."""
    if label not in test.columns:
        return [None] * test.count()
    values, own = test.labels(label)
    return values if own == tuple(names) else by_name(values, own)


def _image_column(table: AnyTable, given: str | None) -> str:
    if given is not None and given not in table.columns:
        raise UserError(f"no column {given}; give {Setting('image_column')} one of: {', '.join(table.columns)}")
    if given is not None:
        return given
    found = table.image_columns()
    if not found:
        raise UserError(f"no column of images or of encoded bytes, only: {', '.join(table.columns)}")
    named = [name for name in found if plain(name) in ("image", "img")]
    found = named if len(named) == 1 else found
    if len(found) > 1:
        raise UserError(f"cannot tell the images; give {Setting('image_column')} one of: {', '.join(found)}")
    return found[0]


def _label_column(table: AnyTable, image: str, given: str | None) -> str:
    """Return the column given, or the one that is called `label` or the like, else the only one that may be."""
    columns = [name for name in table.columns if name != image]
    if given is not None and given not in columns:
        raise UserError(
            f"no column of labels named {given}; give {Setting('label_column')} one of: {', '.join(columns)}"
        )
    if given is not None:
        return given
    possible = [name for name in table.label_columns() if name != image]
    called = [name for name in columns if plain(name) in LABELS]
    known = [name for name in table.class_columns() if name != image]
    if called and not known and not set(called) & set(possible):
        raise UserError(
            f"the column {called[0]} holds neither numbers nor text, but one label an image is needed; "
            f"give {Setting('label_column')} one of: {', '.join(possible) or 'no other column may be'}"
        )
    candidates = [name for name in possible if name in known or name in called] if known else possible
    values = {name: table.values(name) for name in candidates}
    values = {name: column for name, column in values.items() if name in called or not _is_measured(column)}
    chosen = choose_labels(values, f"the {table.name} split")
    if chosen is None:
        raise UserError(f"no column of labels, only: {', '.join(table.columns)}; add one label an image")
    return chosen


def _is_measured(values: Sequence[Any]) -> bool:
    """Whether there are numbers between the whole ones."""
    return any(isinstance(value, float) and value == value and not value.is_integer() for value in values)


def _notice_unused(columns: Sequence[str]) -> None:
    if columns:
        shown = ", ".join(columns[:8]) + (f" and {len(columns) - 8} more" if len(columns) > 8 else "")
        notice(f"Columns not used: {shown}")
