"""The rows of a table that are of one split: their labels, in one column or one-hot in several, and their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.columns import LABELS, one_hot
from m3d_condense.data.labels import any_label
from m3d_condense.data.pictures import Rows
from m3d_condense.data.words import plain
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.text import listed

MODES = {None: None, "L": "L", "RGB": "RGB", "RGBA": "RGB"}
"""What images are made that a table says to be of a mode of PIL's; those with transparency are laid on white."""


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

    def array_columns(self) -> list[str]:
        """Return the columns of arrays of numbers."""

    def flat_columns(self) -> list[str]:
        """Return the columns of numbers in one row, as images that have lost their height and width."""

    def label_columns(self) -> list[str]:
        """Return the columns whose values may be labels: numbers or text."""

    def text_columns(self) -> list[str]:
        """Return the columns of text."""

    def class_columns(self) -> list[str]:
        """Return the columns that are known to hold classes."""

    def count(self) -> int:
        """Return how many rows there are."""

    def values(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield columns and all their values; the table is read once."""

    def labels(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any], tuple[str, ...]]]:
        """Yield columns, all their values, and the names that ids among these stand for; the table is read once."""

    def mode(self, column: str) -> str | None:
        """Return the mode of PIL's that images of a column are to have; None where none is said."""

    def images(self, column: str, rows: NDArray[np.int64]) -> Any:
        """Return the images of some rows, as `Rows` takes them."""


@dataclass(frozen=True, kw_only=True)
class TableSplit:
    """The rows of a table that are of one split: some of them, ascending, or all."""

    name: str
    table: AnyTable
    rows: NDArray[np.int64] | None = None

    def labels(self, columns: Sequence[str]) -> tuple[list[Any], tuple[str, ...]]:
        """Return the labels of these rows in a column, or in one-hot columns, and the names that ids stand for."""
        missing = [name for name in columns if name not in self.table.columns]
        if missing:
            self._check_without_labels(columns, missing)
            return self._without_labels(), ()
        if len(columns) > 1:
            return self._one_hot(columns), ()
        ((_, values, names),) = self.table.labels(columns)
        return self._chosen(values), names

    def _one_hot(self, columns: Sequence[str]) -> list[Any]:
        """Return the class of each row, none where no cell names one; raises UserError for rows of none or several."""
        flags = {name: as_flags(self._chosen(values)) for name, values in self.table.values(columns)}
        hot = one_hot(flags)
        if hot is not None:
            return list(hot)
        rows = list(zip(*flags.values(), strict=True))
        if not any(any_label(row) and not set(row) <= {"0", "0.0"} for row in rows):
            return self._without_labels()
        one = [one_hot({name: [flag] for name, flag in zip(columns, row, strict=True)}) for row in rows]
        raise UserError(
            f"row {one.index(None)} of the {self.name} split is not 1 in one of the columns {listed(columns)} and 0 in "
            "the others, as those of training are: give one label an image"
        )

    def _check_without_labels(self, columns: Sequence[str], missing: Sequence[str]) -> None:
        """Raise UserError where the columns of labels are missing, but others look like them."""
        if len(missing) < len(columns):
            raise UserError(
                f"the {self.name} split lacks {listed(missing)} of the columns of labels that training has, "
                f"{listed(columns)}: give it all of them"
            )
        known = {*LABELS, plain(columns[0])}
        alike = [name for name in self.table.label_columns() if plain(name) in known]
        if any(any_label(values) for _, values in self.table.values(alike)):
            raise UserError(
                f"the {self.name} split has no column {listed(columns)} of labels, which training has, but "
                f"{listed(alike)}: give the columns of both one name"
            )

    def _chosen(self, values: list[Any]) -> list[Any]:
        return values if self.rows is None else [values[row] for row in self.rows]

    def _without_labels(self) -> list[None]:
        return [None] * (self.table.count() if self.rows is None else len(self.rows))

    def images(self, column: str, chosen: NDArray[np.int64], labels: NDArray[np.int64]) -> Rows:
        """Return the images of some of these rows with the labels of all, numbered as the table numbers them."""
        if column not in self.table.columns:
            raise UserError(
                f"the {self.name} split has no column {column} of images, which training has, but "
                f"{listed(self.table.columns, 8)}: give the columns of both one name"
            )
        rows = chosen if self.rows is None else self.rows[chosen]
        mode = self.table.mode(column)
        if mode not in MODES:
            raise UserError(f"holds images of mode {mode}; cast them to L or RGB", setting="image_column", value=column)
        images = self.table.images(column, rows)
        return Rows(name=self.name, labels=labels[chosen], images=images, rows=rows, mode=MODES[mode])


def as_flags(values: Sequence[Any]) -> list[str]:
    """Return the cells of a one-hot column as text, of booleans as 0 and 1."""
    return [str(int(value)) if isinstance(value, bool) else str(value) for value in values]
