"""Which columns of one list beside pictures tell their labels, by itself or by another list of the same data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m3d_condense.data.columns import LABELS, choose_labels, one_hot
from m3d_condense.data.finding import said_by
from m3d_condense.data.labels import NO_LABEL
from m3d_condense.data.naming import Naming
from m3d_condense.data.side_files import ListTable, is_number
from m3d_condense.data.words import plain
from m3d_condense.tools.errors import UserError

FLAGS = {"-1", "0", "1"}  # values of columns that each tell of one class or attribute


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """A file that lists pictures.

    Attributes:
        path: from the root.
        where: how messages call it.
        table: what it holds.
        naming: the column that names the pictures.
        others: the other columns, but for those that tell the splits.
        dividing: those.
        said: the split that the file names for each row; None where it names none.
    """

    path: str
    where: str
    table: ListTable
    naming: Naming
    others: Mapping[str, list[str]]
    dividing: Sequence[str]
    said: Sequence[str | None]

    @property
    def sure(self) -> bool:
        """Whether a column is called labels."""
        return any(plain(name) in LABELS for name in self.others)

    @property
    def nameless(self) -> bool:
        """Whether the columns have no names: what stands after a picture is then its class."""
        return all(name.isdecimal() for name in self.table.names)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels in a file: the columns that tell them, and the label of each row."""

    columns: Sequence[str]
    values: Sequence[str]


def labels_of(file: ListFile, given: str | None) -> Labels | None:
    """Return the labels in a file, in the column `given` if it is not None; None where there are none.

    Raises UserError where several columns may be meant, for several labels in a row and for numbers between whole ones.
    """
    columns = _possible(file, given)
    if given is not None:
        return _checked(file, given, _attribute(columns, given)) if given in columns else None
    hot = one_hot(columns)
    if hot is not None and not any(plain(name) in LABELS for name in columns):
        return Labels(columns=list(columns), values=hot)
    columns = {name: values for name, values in columns.items() if plain(name) in LABELS or _may_be(file, name)}
    name = choose_labels(columns, file.where)
    return None if name is None else _checked(file, name, columns[name])


def labels_like(file: ListFile, labelled: Sequence[tuple[ListFile, Labels]]) -> Labels | None:
    """Return the labels in a file that does not tell them by itself, as where no class stands there twice.

    They are in the column that holds the labels of a list of the same form for another split, or whose words are all
    classes of another list, as all that stands after the names may be.
    """
    if any(_are_among(file.table.rest, {value.strip() for value in labels.values}) for _, labels in labelled):
        return Labels(columns=[*file.others, *file.table.further], values=file.table.rest)
    for other, labels in labelled:
        (name, *more), classes = labels.columns, {value.strip() for value in labels.values}
        alike = other.naming.column == file.naming.column and list(other.table.names) == list(file.table.names)
        if alike and not more and _of_another_split(file, other) and file.table.unclear is None:
            return Labels(columns=[name], values=file.others[name]) if name in file.others else None
        words = [name for name, values in file.others.items() if _are_among(values, classes)]
        if len(words) == 1:
            return Labels(columns=words, values=file.others[words[0]])
    return None


def as_labels(values: list[str]) -> list[str]:
    """Return the cells of a column as labels: without boxes, and whole numbers as integers."""
    return _as_integers(_without_boxes(values))


def _without_boxes(values: list[str]) -> list[str]:
    """Return the class of each cell where all hold one and its boxes, as ``n01440764 1 2 3 4 n01440764 5 6 7 8``."""
    classes = []
    for value in values:
        name = _boxed(value.split())
        if name is None:
            return values
        classes.append(name)
    return classes


def _boxed(words: Sequence[str]) -> str | None:
    """Return the one class before every four numbers; None where words are anything else."""
    classes = set(words[::5])
    numbers = [word for place, word in enumerate(words) if place % 5]
    one = len(classes) == 1 and len(words) % 5 == 0 and all(map(is_number, numbers))
    return words[0] if one and not is_number(words[0]) else None


def _as_integers(values: list[str]) -> list[str]:
    """Write 1 for 1.0 in a column that holds nothing but numbers."""
    if not _are_numbers(values):
        return values
    written = {value: re.sub(r"^([+-]?[0-9]+)\.0*$", r"\1", value.strip()) for value in set(values)}
    return [written[value] for value in values]


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether values are numbers, but for those that are missing."""
    return all(is_number(value) or value.strip().lower() in NO_LABEL for value in set(values))


def _fraction(values: Sequence[str]) -> str | None:
    """Return the first number between whole ones in a column of numbers; None where there is none."""
    if not _are_numbers(values):
        return None
    return next((v for v in dict.fromkeys(values) if is_number(v) and not float(v).is_integer()), None)


def _may_be(file: ListFile, name: str) -> bool:
    """Whether a column that is not called labels may hold some: no numbers between whole ones, one value a row."""
    return name not in file.table.several and _fraction(file.others[name]) is None


def _checked(file: ListFile, name: str, values: Sequence[str]) -> Labels:
    """Return the labels in a column; raises UserError for several in a row and for numbers between whole ones."""
    if name in file.table.several:
        raise UserError(f"{file.where}: row {file.table.several[name]} holds no single {name}: give one label an image")
    wrong = _fraction(values)
    if wrong is not None:
        raise UserError(
            f"{file.where}: the label {wrong} in row {values.index(wrong) + 1} is no class: labels that are numbers "
            "must be whole; give integers or names"
        )
    return Labels(columns=[name], values=values)


def _of_another_split(file: ListFile, other: ListFile) -> bool:
    roles = {said_by(file.path), said_by(other.path)}
    return len(roles) == 2 and None not in roles


def _are_among(values: Sequence[str], classes: set[str]) -> bool:
    """Whether values are classes; numbers may be anything."""
    found = {value.strip() for value in values}
    return len(found) > 0 and found <= classes and not all(map(is_number, found))


def _possible(file: ListFile, given: str | None) -> Mapping[str, list[str]]:
    """Return the columns that may be labels: in a plain list, numbers after the class, as of a box, are none.

    Raises UserError where it is not clear how much of a line is the class.
    """
    table, others = file.table, file.others
    if not table.plain or file.naming.column != table.names[0]:
        return others
    if table.unclear is not None:
        raise UserError(
            f"{file.where}: row {table.unclear} has several words after the name of its image: a class of several "
            "words, or more columns? Put a tab between name and class, or quotation marks around the class"
        )
    if given is not None or all(value.strip() in FLAGS for values in others.values() for value in values):
        return others
    numbers = {name for name in list(others)[1:] if all(map(is_number, others[name]))}
    return {name: values for name, values in others.items() if name not in numbers}


def _attribute(columns: Mapping[str, list[str]], given: str) -> list[str]:
    """Return a column of labels: 0 in place of -1, where that is the other side of 1 in this and all other columns."""
    values = columns[given]
    if len(columns) > 1 and all({value.strip() for value in column} <= {"-1", "1"} for column in columns.values()):
        return ["0" if value.strip() == "-1" else value for value in values]
    return values
