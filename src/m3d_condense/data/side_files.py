"""Files beside pictures that may list their labels: CSV, TSV, JSON lines, metadata.parquet, and plain lines."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from m3d_condense.data.columns import name_twice
from m3d_condense.data.numbered import IMAGES, SPLIT
from m3d_condense.data.tree import Folder, ending, stem_of
from m3d_condense.data.words import ROLES, tokens

SIGNS = ",;\t|"  # between the cells of a row
TABLES = {".csv", ".tsv", ".jsonl"}
LISTS = {"annotations", "annotation", "labels", "label", *ROLES}  # words in the names of plain lists
LISTING = LISTS | {"metadata"}  # words in the names of lists and tables that should name pictures
UNREAD = {".json", ".xlsx", ".xls", ".ods"}  # tables that are not read
STYLEGAN = "dataset.json"  # labels by StyleGAN's tools, of pictures in numbered folders
SUBMITTED = {"sub", "pred", "preds", "prediction", "predictions"}  # names of files of answers to be judged
DEEPEST = 3  # folders that are looked at below the one that is entered


def side_files(root: Folder) -> list[str]:
    """Name the files that may list labels, as paths from the root; none of what is to be submitted somewhere.

    Several files of one ending that are called as pictures are, say the caption of each: they list nothing.
    """
    found: list[str] = []
    deepest = _depth(_entered(root)) + DEEPEST
    for folder in root.walk():
        if _depth(folder) <= deepest:
            numbers = SPLIT in folder.others
            found += folder.paths(name for name in folder.others if _may_list(name) or (numbers and name == IMAGES))
    called = {_stem(path) for path in root.all_pictures()}
    own = {path for path in found if _stem(path) in called and not LISTS.issuperset(tokens(_stem(path)))}
    alike = Counter(map(ending, own))
    return [path for path in found if path not in own or alike[ending(path)] == 1]


def _entered(folder: Folder) -> Folder:
    """Return the folder of the data within single folders around it."""
    while len(folder.filled) == 1:
        folder = folder.filled[0]
    return folder


def _depth(folder: Folder) -> int:
    """How many folders below the root it lies."""
    return len(folder.path.split("/")) if folder.path else 0


def _stem(path: str) -> str:
    return stem_of(posixpath.basename(path))


def lists_labels(path: str) -> bool:
    """Whether a parquet file beside pictures lists their labels, by the name that `datasets` has for such a file."""
    return posixpath.basename(path).lower() == "metadata.parquet"


def _may_list(name: str) -> bool:
    words = tokens(name)
    if any("submission" in word or "submit" in word for word in words) or _stem(name).casefold() in SUBMITTED:
        return False
    return lists_labels(name) or ending(name) in TABLES or (ending(name) == ".txt" and not LISTS.isdisjoint(words))


def is_unread_list(path: str) -> bool:
    """Whether a file may list labels by its name, in a form that is not read."""
    name = posixpath.basename(path)
    return name == STYLEGAN or (ending(name) in UNREAD and not LISTS.isdisjoint(tokens(_stem(name))))


@dataclass(frozen=True, kw_only=True)
class ListTable:
    """A table as columns of text.

    Attributes:
        names: of the columns; those of a plain list are called 1, 2, …
        values: of each column.
        ragged: the number of the first row, from 1, that has more or fewer cells than the names; such rows are not
            among the columns.
        surplus: whether each row has a cell more than there are names, and the first column is without one.
        twice: a name that two columns have.
        plain: whether it is a list without names, such as `labels.txt`.
        unclear: the number of the first row of a plain list, from 1, with words parted by spaces after its second
            cell: these are one column with that cell, for it may be a class of several words.
        several: of columns of JSON lines, the number of the first row, from 1, that holds no single value.
        rest: what stands after the names of a plain list, where classes may end with a number.
        further: the names of columns of numbers that not all rows of a plain list have; they are not among the columns.
        broken: why it cannot be read, where it cannot; it has no columns then.
    """

    names: Sequence[str] = ()
    values: Sequence[list[str]] = ()
    ragged: int | None = None
    surplus: bool = False
    twice: str | None = None
    plain: bool = False
    unclear: int | None = None
    several: Mapping[str, int] = field(default_factory=dict)
    rest: Sequence[str] = ()
    further: Sequence[str] = ()
    broken: str = ""

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns by name."""
        return dict(zip(self.names, self.values, strict=True))

    def without_names(self) -> ListTable:
        """Take the names of the columns for a first row: for tables that have no row of names."""
        names = [str(number) for number in range(1, len(self.names) + 1)]
        values = [[name, *values] for name, values in zip(self.names, self.values, strict=True)]
        return ListTable(names=names, values=values, ragged=self.ragged)


def parse(path: str, text: str, named: Callable[[str], bool] = lambda _: False) -> ListTable:
    """Read a table; one that cannot be read, or is empty, has no columns.

    In a plain list, `named` tells whether text with blanks, or after a sign for comments, is the name of a picture.
    """
    text = text.removeprefix("\ufeff")
    if ending(path) in (".jsonl", ".parquet"):  # the latter are given as such lines
        return _of_records(io.StringIO(text, newline=None))  # not parted at the line separators that texts may hold
    if ending(path) == ".txt":
        lines = [line for line in text.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("#") or named(line.split()[0])]
        if not _parts_with_signs(lines, named):
            return _of_list(lines, named) if lines else ListTable()
        text = "\n".join(lines)
    return _of_cells(text)


def _of_cells(text: str) -> ListTable:
    """Make columns of rows whose cells a sign parts; the first row names them."""
    delimiter, text = _delimiter(text)
    cells = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [row for row in cells if any(cell.strip() for cell in row)]
    except csv.Error as error:
        return ListTable(broken=f"its row {cells.line_num} cannot be read as cells ({error})")
    return _of_rows(rows[0], rows[1:]) if rows else ListTable()


def _delimiter(text: str) -> tuple[str, str]:
    """Return the sign that parts the cells, and the text without lines above the names of columns.

    Such are the sign itself, as spreadsheets write it (``sep=;``), comments, and empty lines.
    """
    told, _, rest = (text := _from_first_line(text)).partition("\n")
    if (match := re.fullmatch(r'"?sep=(.)"?\s*', told, re.IGNORECASE)) is not None:
        return match[1], rest
    while told.startswith("#") and not any(sign in told for sign in SIGNS):
        told, _, rest = (text := _from_first_line(rest)).partition("\n")
    return max(SIGNS, key=told.count), text


def _from_first_line(text: str) -> str:
    """Return text without the empty lines at its begin; the blanks in its first line may part cells."""
    return re.sub(r"\A\s*[\r\n]", "", text)


def _parts_with_signs(lines: Sequence[str], named: Callable[[str], bool]) -> bool:
    """Whether signs part the cells of a plain list, not spaces: the first cells are then names of pictures."""
    for sign in SIGNS.replace("\t", ""):
        first = [line.partition(sign)[0].strip().strip('"') for line in lines]
        if 2 * sum(sign in line for line in lines) > len(lines) and any(map(named, first)):
            return not any(named(line.split()[0]) for line in lines)
    return False


def _of_rows(names: list[str], rows: list[list[str]]) -> ListTable:
    names = names or [str(number + 1) for number in range(len(rows[0]) if rows else 0)]
    longer = bool(rows) and all(len(row) == len(names) + 1 for row in rows)
    surplus = longer and any(row[-1].strip() for row in rows)  # rows with names, or signs within cells
    names = ["", *names] if surplus else [*names, ""] if longer else names
    ragged = next((number for number, row in enumerate(rows, 1) if len(row) != len(names)), None)
    even = [row for row in rows if len(row) == len(names)]
    columns = [(name.strip(), [row[i] for row in even]) for i, name in enumerate(names)]
    columns = [(name, values) for name, values in columns if name or any(value.strip() for value in values)]
    named, values = [name for name, _ in columns], [values for _, values in columns]
    return ListTable(names=named, values=values, ragged=ragged, surplus=surplus, twice=name_twice(named))


def _of_list(lines: list[str], named: Callable[[str], bool]) -> ListTable:
    """Make columns of a plain list: cells are parted by tabs, else by spaces that are not within quotation marks.

    Spaces within the names of pictures do not part cells.
    """
    rows = _with_names([_cells(line) for line in lines], lines, named)
    wordy = ["\t" not in line and not all(map(_stands_alone, row[2:])) for line, row in zip(lines, rows, strict=True)]
    unclear = wordy.index(True) + 1 if any(wordy) else None
    rest = [" ".join(row[1:]) for row in rows]
    numbered = not any(sign in line for line in lines for sign in '\t"') and _end_with_numbers(rows)
    if (unclear is not None or numbered) and _are_classes(rows):
        return replace(_of_rows([], [[row[0], words] for row, words in zip(rows, rest, strict=True)]), plain=True)
    if unclear is not None:
        rows = [[row[0], " ".join(row[1:])] if words else row for row, words in zip(rows, wordy, strict=True)]
    widths = {len(row) for row in rows}
    uneven = len(widths) > 1 and min(widths) > 1 and all(is_number(cell) for row in rows for cell in row[2:])
    further = [str(number) for number in range(3, max(widths) + 1)] if uneven else []
    table = _of_rows([], [row[:2] for row in rows] if uneven else rows)
    return replace(table, plain=True, unclear=unclear, rest=rest if numbered else (), further=further)


def _with_names(rows: list[list[str]], lines: Sequence[str], named: Callable[[str], bool]) -> list[list[str]]:
    """Join the first cells of rows where they are the name of a picture, and as many in rows without a picture."""
    apart = [i for i, line in enumerate(lines) if "\t" not in line and '"' not in line]
    depths = {i: depth for i in apart if (depth := _named_cells(rows[i], named)) > 1}
    if not depths:
        return rows
    first, depth = next(iter(depths.items()))
    behind = len(rows[first]) - depth  # cells after the name
    joined = list(rows)
    for i in apart:
        cut = depths.get(i) or (1 if named(rows[i][0]) else max(len(rows[i]) - behind, 1))
        joined[i] = [" ".join(rows[i][:cut]), *rows[i][cut:]]
    return joined


def _named_cells(cells: Sequence[str], named: Callable[[str], bool]) -> int:
    """Return how many of the first cells are the name of a picture, the most that may be; 0 where none are."""
    return next((depth for depth in range(len(cells), 1, -1) if named(" ".join(cells[:depth]))), 0)


def _are_classes(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all that follows the name is the class: as many words as it has, no split, and most classes twice."""
    classes = {tuple(row[1:]) for row in rows}
    splits = any(len(row) > 2 and row[-1].casefold() in ROLES for row in rows)
    return len({len(row) for row in rows}) > 1 and 2 * len(classes) <= len(rows) and not splits


def _end_with_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether classes may end with a number, as ``type 1``: one after some words, in all rows in which these stand."""
    words = {row[1] for row in rows if len(row) > 1}
    numbered = {row[1] for row in rows if len(row) == 3 and row[2].isdecimal()}
    plain = {row[1] for row in rows if len(row) == 2}
    return numbered.isdisjoint(plain) and numbered | plain == words and bool(words) and not any(map(is_number, words))


def _cells(line: str) -> list[str]:
    if "\t" in line:
        cells = next(csv.reader([line], delimiter="\t"))
        while len(cells) > 2 and not cells[-1].strip():
            cells.pop()
        return cells
    return next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True)) if '"' in line else line.split()


def _stands_alone(cell: str) -> bool:
    """Whether a cell is no part of the name of a class, but a number or a split."""
    return is_number(cell) or cell.casefold() in ROLES


def is_number(cell: str) -> bool:
    """Whether a cell holds a number in decimals."""
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", cell.strip().casefold()) is not None


def _of_records(lines: Iterable[str]) -> ListTable:
    """Make columns of JSON objects, one a line; what is neither text nor a number is left empty."""
    twice: list[str | None] = []

    def record(pairs: list[tuple[str, object]]) -> dict[str, object]:
        twice.append(name_twice([name for name, _ in pairs]))
        return dict(pairs)

    records = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                records.append(json.loads(line, object_pairs_hook=record))
        except (ValueError, RecursionError):
            return ListTable(broken=f"its line {number} is no JSON")
    rows = [record for record in records if isinstance(record, dict)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = [[_as_text(row.get(name)) for row in rows] for name in names]
    several: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        for name, value in row.items():
            if isinstance(value, list | dict):
                several.setdefault(name, number)
    told = next((name for name in twice if name is not None), None)
    return ListTable(names=names, values=values, twice=told, several=several)


def _as_text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
