"""Labels that a file lists for pictures: which column names the pictures, which the labels, and of which split."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from m3d_condense.data.columns import LABELS, choose_labels, one_hot, plain
from m3d_condense.data.side_files import Table, parse
from m3d_condense.data.split_columns import splits_of
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID, split_name
from m3d_condense.tools.errors import Setting, UserError

_Key = tuple[str | None, str]


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
    index = _Index(pictures if texts else ())
    for path, text in texts.items():
        table = parse(path, text)
        if any("." in name and index.find(posixpath.dirname(path), name, _about(path)) for name in table.names):
            table = table.without_names()
        files = _files(path, table, index, file_column)
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


class _Index:
    """Finds pictures by a path, else by a file's name, else by its name without the ending, where these are unique.

    A name need be unique only among the pictures that lie in folders of one split.
    """

    def __init__(self, pictures: Sequence[str]) -> None:
        self.paths = set(pictures)
        names = [(posixpath.basename(path), path) for path in pictures]
        stems = [(posixpath.splitext(name)[0], path) for name, path in names]
        self.names = [
            _unique([((role, key), path) for key, path in keys for role in {None, lies_in(path)}])
            for keys in (names, stems)
        ]

    def find(self, folder: str, value: str, role: str | None) -> str | None:
        """Find the picture that a file in `folder`, which lists the split `role`, calls `value`."""
        value = value.strip().replace("\\", "/")
        if not value:
            return None
        for path in (posixpath.join(folder, value), value):
            if path in self.paths or (path := posixpath.normpath(path)) in self.paths:
                return path
        name = posixpath.basename(value)
        found = (known.get((of, name)) for of in (role, None) for known in self.names)
        return next((path for path in found if path is not None), None)


def lies_in(path: str) -> str | None:
    """Return the split in whose folder a file lies, by the names of the folders."""
    return _of_folder(posixpath.dirname(path))


@lru_cache(maxsize=2**14)
def _of_folder(folder: str) -> str | None:
    folders = [split_name(part) for part in folder.split("/")]
    return next((name.role for name in folders if name is not None and not name.rest), None)


def _said_by(path: str) -> str | None:
    """Return the split that a file lists, by its name."""
    return _role_of(posixpath.splitext(posixpath.basename(path))[0])


def _about(path: str) -> str | None:
    """Return the split among whose images a file's names are looked up first."""
    return _said_by(path) or lies_in(path)


def _unique(pairs: Sequence[tuple[_Key, str]]) -> dict[_Key, str]:
    counts = Counter(key for key, _ in pairs)
    return {key: path for key, path in pairs if counts[key] == 1}


def _files(path: str, table: Table, index: _Index, file_column: str | None) -> tuple[str, list[str | None]] | None:
    """Find the column that names pictures: the one with the most of them, at least half of its rows or of all.

    Of two such columns, the one with the endings of files is taken: numbers of classes may be names of pictures.
    """
    folder, about = posixpath.dirname(path), _about(path)
    best: tuple[str, list[str | None]] | None = None
    most = (0, 0)
    for name, values in zip(table.names, table.values, strict=True):
        if file_column not in (None, name):
            continue
        known = {value: index.find(folder, value, about) for value in set(values)}
        matched = [known[value] for value in values]
        count = len(set(matched) - {None})
        endings = sum("." in value for value in values)
        if count > 0 and (count, endings) > most and 2 * count >= min(len(values), len(index.paths)):
            best, most = (name, matched), (count, endings)
    return best


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
    said: Sequence[str | None] = [_said_by(path)] * len(matched)
    splits = splits_of({name: values for name, values in others.items() if name != label_column}, where)
    if splits is not None:
        dividing, said = splits
        others = {name: values for name, values in others.items() if name not in dividing}
    _note_splits(found, path, matched, said)
    found.unused[path] = list(others)
    try:
        labelled = _labels(others, label_column, where)
    except UserError as error:
        found.problem = found.problem or error
        return
    if labelled is None:
        return
    columns, labels = labelled
    found.unused[path] = [name for name in others if name not in columns]
    if table.ragged is not None:
        raise UserError(f"{where}: row {table.ragged} has more or fewer cells than the first; correct it")
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


def _note_splits(found: Listed, path: str, matched: Sequence[str | None], said: Sequence[str | None]) -> None:
    """Keep the splits that a file names for pictures."""
    named = {file: role for file, role in zip(matched, said, strict=True) if file is not None and role is not None}
    for file, role in named.items():
        found.splits[file] = role if found.splits.get(file, role) == role else None
    if named:
        found.dividing.append(path)


def _role_of(name: str) -> str | None:
    named = split_name(name)
    return named.role if named is not None else None


def _labels(columns: Mapping[str, list[str]], given: str | None, where: str) -> tuple[Sequence[str], list[str]] | None:
    """Return which columns tell the labels, and the label of each row; None where there are none."""
    if given is not None:
        return ([given], columns[given]) if given in columns else None
    hot = one_hot(columns)
    if hot is not None and not any(plain(name) in LABELS for name in columns):
        return list(columns), hot
    name = choose_labels(columns, where)
    return None if name is None else ([name], columns[name])


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
