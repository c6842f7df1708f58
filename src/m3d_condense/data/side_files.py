"""Files beside pictures that may list their labels: CSV, TSV, JSON lines, metadata.parquet, and plain lines."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from m3d_condense.data.tree import Folder, ending
from m3d_condense.data.words import ROLES, tokens

TABLES = {".csv", ".tsv", ".jsonl"}
LISTS = {"annotations", "annotation", "labels", "label", *ROLES}  # words in the names of plain lists
DEEPEST, MOST = 3, 200  # folders below the root that are looked at; files


def side_files(root: Folder) -> list[str]:
    """Name the files that may list labels, as paths from the root; none of what is to be submitted somewhere."""
    found: list[str] = []
    for folder in root.walk():
        if folder.path.count("/") < DEEPEST:
            found += folder.paths(name for name in folder.others if _may_list(name))
    return found[:MOST]


def lists_labels(path: str) -> bool:
    """Whether a parquet file beside pictures lists their labels, by the name that `datasets` has for such a file."""
    return posixpath.basename(path).lower() == "metadata.parquet"


def _may_list(name: str) -> bool:
    words = tokens(name)
    if "submission" in words:
        return False
    return lists_labels(name) or ending(name) in TABLES or (ending(name) == ".txt" and not LISTS.isdisjoint(words))


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as columns of text.

    Attributes:
        names: of the columns; those of a plain list are called 1, 2, …
        values: of each column.
        ragged: the number of the first row, from 1, that has more or fewer cells than the names; such rows are not
            among the columns.
        twice: a name that two columns have.
    """

    names: Sequence[str] = ()
    values: Sequence[list[str]] = ()
    ragged: int | None = None
    twice: str | None = None

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns by name."""
        return dict(zip(self.names, self.values, strict=True))

    def without_names(self) -> Table:
        """Take the names of the columns for a first row: for tables that have no row of names."""
        names = [str(number) for number in range(1, len(self.names) + 1)]
        values = [[name, *values] for name, values in zip(self.names, self.values, strict=True)]
        return Table(names=names, values=values, ragged=self.ragged)


def parse(path: str, text: str) -> Table:
    """Read a table; one that cannot be read has no columns. Of a plain list, the first two columns are taken."""
    text = text.removeprefix("\ufeff")
    try:
        if ending(path) in (".jsonl", ".parquet"):  # the latter are given as such lines
            return _of_records([line for line in text.splitlines() if line.strip()])
        if ending(path) == ".txt":
            lines = [line.split("\t") if "\t" in line else line.split(maxsplit=1) for line in text.splitlines()]
            return _of_rows([], [line[:2] for line in lines])
        first = text.partition("\n")[0]
        delimiter = max(",;\t|", key=first.count)
        names, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return _of_rows(names, rows)
    except (ValueError, RecursionError, csv.Error):
        return Table()


def _of_rows(names: list[str], lines: list[list[str]]) -> Table:
    rows = [row for row in lines if any(cell.strip() for cell in row)]
    names = names or [str(number + 1) for number in range(len(rows[0]) if rows else 0)]
    ragged = next((number for number, row in enumerate(rows, 1) if len(row) != len(names)), None)
    even = [row for row in rows if len(row) == len(names)]
    columns = [(name.strip(), [row[i] for row in even]) for i, name in enumerate(names)]
    columns = [(name, values) for name, values in columns if name or any(value.strip() for value in values)]
    named = [name for name, _ in columns]
    return Table(names=named, values=[values for _, values in columns], ragged=ragged, twice=_twice(named))


def _of_records(lines: list[str]) -> Table:
    """Make columns of JSON objects, one a line; what is neither text nor a number is left empty."""
    twice: list[str | None] = []

    def record(pairs: list[tuple[str, object]]) -> dict[str, object]:
        twice.append(_twice([name for name, _ in pairs]))
        return dict(pairs)

    records = [json.loads(line, object_pairs_hook=record) for line in lines]
    rows = [record for record in records if isinstance(record, dict)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = [[_as_text(row.get(name)) for row in rows] for name in names]
    return Table(names=names, values=values, twice=next((name for name in twice if name is not None), None))


def _twice(names: Sequence[str]) -> str | None:
    """Return the first name that stands there twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _as_text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
