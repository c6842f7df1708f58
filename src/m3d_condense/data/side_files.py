"""Files beside pictures that may list their labels: CSV, TSV, JSON lines, metadata.parquet, and plain lines."""

from __future__ import annotations

import csv
import io
import json
import posixpath
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
        columns: by name; those of a plain list are called 1, 2, …
        ragged: the number of the first row, from 1, that has more or fewer cells than the names; such rows are not
            among the columns.
    """

    columns: dict[str, list[str]]
    ragged: int | None = None

    def without_names(self) -> Table:
        """Take the names of the columns for a first row: for tables that have no row of names."""
        columns = {str(number): [name, *values] for number, (name, values) in enumerate(self.columns.items(), 1)}
        return Table(columns=columns, ragged=self.ragged)


def parse(path: str, text: str) -> Table:
    """Read a table; one that cannot be read has no columns. Of a plain list, the first two columns are taken."""
    text = text.removeprefix("\ufeff")
    try:
        if ending(path) in (".jsonl", ".parquet"):  # the latter are given as such lines
            return _of_records([json.loads(line) for line in text.splitlines() if line.strip()])
        if ending(path) == ".txt":
            lines = [line.split("\t") if "\t" in line else line.split(maxsplit=1) for line in text.splitlines()]
            return _of_rows([], [line[:2] for line in lines])
        first = text.partition("\n")[0]
        delimiter = max(",;\t|", key=first.count)
        names, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return _of_rows(names, rows)
    except (ValueError, RecursionError, csv.Error):
        return Table(columns={})


def _of_rows(names: list[str], lines: list[list[str]]) -> Table:
    rows = [row for row in lines if any(cell.strip() for cell in row)]
    names = names or [str(number + 1) for number in range(len(rows[0]) if rows else 0)]
    ragged = next((number for number, row in enumerate(rows, 1) if len(row) != len(names)), None)
    even = [row for row in rows if len(row) == len(names)]
    return Table(columns={name.strip(): [row[i] for row in even] for i, name in enumerate(names)}, ragged=ragged)


def _of_records(records: list[object]) -> Table:
    """Make columns of JSON objects; what is neither text nor a number is left empty."""
    rows = [record for record in records if isinstance(record, dict)]
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(columns={str(name): [_as_text(row.get(name)) for row in rows] for name in names})


def _as_text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
