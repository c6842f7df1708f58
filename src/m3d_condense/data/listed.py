"""Labels that a file lists for pictures: which column names the pictures, which the labels, and of which split."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from m3d_condense.data.columns import LABELS, choose_labels, one_hot, plain
from m3d_condense.data.finding import Index, about, lies_in, naming_column, said_by
from m3d_condense.data.side_files import Table, is_number, parse
from m3d_condense.data.split_columns import splits_of
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID
from m3d_condense.tools.errors import Setting, UserError

CELEBA = "list_eval_partition"  # the file in which CelebA numbers its splits
PARTITION = {"0": TRAIN, "1": VALID, "2": TEST}
FLAGS = {"-1", "0", "1"}  # values of columns that each tell of one class or attribute


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a file says of one picture: its label as text, the split it belongs to, and which file says so."""

    label: str
    role: str
    source: str


@dataclass(kw_only=True)
class Listed:
    """What the label files of a folder say.

    Attributes:
        rows: by the path of a picture.
        sources: the files that list labels.
        sure: those of them whose column of labels is called so.
        missing: rows for which there is no picture, by file.
        splits: the split that a file names for a picture, with labels or without; None where files contradict.
        dividing: the files that name splits.
        undivided: pictures of which a file lists the labels, but that files which name training pictures leave out.
        unused: the columns of a file that say nothing that is used.
        problem: why a file that lists pictures could not be used, where there is one.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    sure: set[str] = field(default_factory=set)
    missing: Counter[str] = field(default_factory=Counter)
    splits: dict[str, str | None] = field(default_factory=dict)
    dividing: list[str] = field(default_factory=list)
    undivided: list[str] = field(default_factory=list)
    unused: dict[str, list[str]] = field(default_factory=dict)
    problem: UserError | None = None

    def forget(self, source: str) -> None:
        """Leave out what a file lists."""
        self.sources.remove(source)
        self.rows = {path: row for path, row in self.rows.items() if row.source != source}
        del self.missing[source]

    def files(self) -> list[str]:
        """The files that list labels, and those that name splits."""
        return list(dict.fromkeys([*self.sources, *self.dividing]))

    def roles(self) -> list[str]:
        """The splits that have rows, training first."""
        return [role for role in (TRAIN, TEST, VALID) if any(row.role == role for row in self.rows.values())]


def listed(
    pictures: Sequence[str],
    texts: Mapping[str, str],
    *,
    shown: str,
    file_column: str | None = None,
    label_column: str | None = None,
) -> Listed:
    """Find the labels of pictures in the texts of side files, both by their paths from the root.

    A row takes the split that its file, or any other, names for the picture. Raises UserError for two labels of one
    picture, a training row of a picture that lies in a test folder, a row of another length, and columns of one name.
    """
    found = Listed()
    index = Index(pictures if texts else ())
    for path, text in texts.items():
        table = parse(path, text)
        if any("." in name and index.find(posixpath.dirname(path), name, about(path)) for name in table.names):
            table = table.without_names()
        files = naming_column(path, table, index, file_column)
        if files is not None:
            if table.twice is not None:
                called = f"called {table.twice}" if table.twice else "without a name"
                raise UserError(f"{shown}/{path} has two columns {called}: give one of them another name")
            column, matched = files
            _take(path, table, column, matched, found, f"{shown}/{path}", label_column)
    _divide(found, shown)
    return found


def _divide(found: Listed, shown: str) -> None:
    """Give each row the split that any file names for its picture, and leave out those that are in none of them."""
    for path, row in found.rows.items():
        role = found.splits.get(path)
        if role is not None:
            found.rows[path] = replace(row, role=_role(path, role, f"{shown}: {some(found.dividing)}"))
    divided = {row.source for path, row in found.rows.items() if found.splits.get(path) == TRAIN}
    found.undivided = [
        path
        for path, row in found.rows.items()
        if path not in found.splits and row.source in divided and lies_in(path) is None
    ]
    for path in found.undivided:
        del found.rows[path]


def _take(
    path: str,
    table: Table,
    column: str,
    matched: list[str | None],
    found: Listed,
    where: str,
    label_column: str | None,
) -> None:
    """Add what one file says of its pictures."""
    others = {name: values for name, values in table.columns.items() if name != column}
    if posixpath.splitext(posixpath.basename(path))[0] == CELEBA:
        others = {name: [PARTITION.get(value.strip(), value) for value in values] for name, values in others.items()}
    said: Sequence[str | None] = [said_by(path)] * len(matched)
    splits = splits_of({name: values for name, values in others.items() if name != label_column}, where)
    if splits is not None:
        dividing, said = splits
        others = {name: values for name, values in others.items() if name not in dividing}
    if _note_splits(found, path, matched, said):
        _check_even(table, where)
    found.unused[path] = [*others, *table.further]
    try:
        labelled = _labels(_possible(table, column, others, label_column, where), label_column, where)
    except UserError as error:
        found.problem = found.problem or error
        return
    if labelled is None:
        return
    _check_even(table, where)
    columns, labels = labelled
    found.unused[path] = [name for name in found.unused[path] if name not in columns]
    found.sources.append(path)
    if label_column is not None or any(plain(name) in LABELS for name in others):
        found.sure.add(path)
    try:
        for file, label, role in zip(matched, labels, said, strict=True):
            if file is None:
                found.missing[path] += 1
            else:
                _add(found, file, Row(label=label.strip(), role=_role(file, role, where), source=path), where)
    except UserError as error:
        if path in found.sure:
            raise
        found.forget(path)
        found.problem = found.problem or error


def _note_splits(found: Listed, path: str, matched: Sequence[str | None], said: Sequence[str | None]) -> bool:
    """Keep the splits that a file names for pictures, and return whether there are any."""
    named = {file: role for file, role in zip(matched, said, strict=True) if file is not None and role is not None}
    for file, role in named.items():
        found.splits[file] = role if found.splits.get(file, role) == role else None
    if named:
        found.dividing.append(path)
    return bool(named)


def _check_even(table: Table, where: str) -> None:
    """Raise UserError where rows of another length would be left out."""
    if table.ragged is not None:
        raise UserError(f"{where}: row {table.ragged} has more or fewer cells than the first; correct it")


def _possible(
    table: Table, column: str, others: dict[str, list[str]], given: str | None, where: str
) -> dict[str, list[str]]:
    """Return the columns that may be labels: in a plain list, numbers after the class, as of a box, are none.

    Raises UserError where it is not clear how much of a line is the class.
    """
    if not table.plain or column != table.names[0]:
        return others
    if table.unclear is not None:
        raise UserError(
            f"{where}: row {table.unclear} has several words after the name of its image: a class of several words, or "
            "more columns? Put a tab between name and class, or quotation marks around the class"
        )
    if given is not None or all(value.strip() in FLAGS for values in others.values() for value in values):
        return others
    numbers = {name for name in list(others)[1:] if all(map(is_number, others[name]))}
    return {name: values for name, values in others.items() if name not in numbers}


def _labels(columns: Mapping[str, list[str]], given: str | None, where: str) -> tuple[Sequence[str], list[str]] | None:
    """Return which columns tell the labels, and the label of each row; None where there are none."""
    if given is not None:
        return ([given], _attribute(columns, given)) if given in columns else None
    hot = one_hot(columns)
    if hot is not None and not any(plain(name) in LABELS for name in columns):
        return list(columns), hot
    name = choose_labels(columns, where)
    return None if name is None else ([name], columns[name])


def _attribute(columns: Mapping[str, list[str]], given: str) -> list[str]:
    """Return a column of labels: 0 in place of -1, where that is the other side of 1 in this and all other columns."""
    values = columns[given]
    if len(columns) > 1 and all({value.strip() for value in column} <= {"-1", "1"} for column in columns.values()):
        return ["0" if value.strip() == "-1" else value for value in values]
    return values


def _role(file: str, said: str | None, where: str) -> str:
    """The split of a picture: what its row or its file's name says, else its folder, else training."""
    if said == TRAIN and lies_in(file) == TEST:
        raise UserError(
            f"{where} lists {file} for training, but its folder is one for testing: which is right? "
            "Give the folder another name, or correct the list"
        )
    return said or lies_in(file) or TRAIN


def _add(found: Listed, file: str, row: Row, where: str) -> None:
    before = found.rows.setdefault(file, row)
    if before.label != row.label:
        raise UserError(
            f"{where}: {file} has two labels, {before.label} and {row.label}; give each image one label, "
            f"or name the column of labels with {Setting('label_column')}"
        )
