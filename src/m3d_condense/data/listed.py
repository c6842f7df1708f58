"""Labels and splits that files list for pictures."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from m3d_condense.data.finding import Index, about, lies_in, said_by
from m3d_condense.data.label_columns import Labels, ListFile, as_labels, labels_like, labels_of
from m3d_condense.data.naming import are_first_row, naming_column, namings, of_several, unnamed
from m3d_condense.data.side_files import parse
from m3d_condense.data.split_columns import splits_of
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID
from m3d_condense.tools.errors import Setting, UserError

CELEBA = "list_eval_partition"  # the file in which CelebA numbers its splits
PARTITION = {"0": TRAIN, "1": VALID, "2": TEST}


@dataclass(frozen=True, kw_only=True)
class ListedRow:
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
        settled: those, and lists without names of columns, in which the class stands after the picture.
        renamed: files whose labels are known, under other names.
        pairs: the labels that are known, each with its other name.
        missing: rows for which there is no picture, by file.
        ambiguous: the files with rows that name several pictures, and so none, and the first of these rows.
        splits: the split that a file names for a picture, with labels or without; None where files contradict.
        dividing: the files that name splits.
        by_columns: those that do so in columns, and these.
        undivided: pictures of which a file lists the labels, but that files which name training pictures leave out.
        unlabelled: files that list pictures, but no labels that are known, and the columns that may hold these.
        unread: files that cannot be read, or are called as lists but name no pictures, and what is wrong with each.
        unused: the columns of a file that say nothing that is used.
        problem: why a file that lists pictures could not be used, where there is one.
    """

    rows: dict[str, ListedRow] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    sure: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    renamed: list[str] = field(default_factory=list)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    missing: Counter[str] = field(default_factory=Counter)
    ambiguous: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)
    dividing: list[str] = field(default_factory=list)
    by_columns: dict[str, Sequence[str]] = field(default_factory=dict)
    undivided: list[str] = field(default_factory=list)
    unlabelled: dict[str, list[str]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    problem: UserError | None = None

    def forget(self, source: str) -> None:
        """Leave out what a file lists."""
        self.sources.remove(source)
        self.rows = {path: row for path, row in self.rows.items() if row.source != source}
        if source not in self.dividing:
            del self.missing[source]

    def dividers(self, files: Iterable[str]) -> str:
        """Name some of the files that name splits, with the columns that do so."""
        columns = {file: f"{file} (column {some(names)})" for file, names in self.by_columns.items()}
        return some([columns.get(file, file) for file in files])

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
    read = [
        _read(path, text, index, f"{shown}/{path}", file_column, label_column, found) for path, text in texts.items()
    ]
    files = [file for file in read if file is not None]
    for file in files:
        if _note_splits(found, file):
            _check_even(file)
        found.unused[file.path] = [*file.others, *file.table.further]
    labelled = _labelled(files, found, label_column)
    for file, labels in sorted(labelled, key=lambda pair: (not pair[0].sure, not pair[0].nameless)):
        _take(file, labels, found, sure=label_column is not None or file.sure)
    found.sources.sort(key=list(texts).index)
    _divide(found, shown)
    return found


def _read(
    path: str,
    text: str,
    index: Index,
    where: str,
    file_column: str | None,
    label_column: str | None,
    found: Listed,
) -> ListFile | None:
    """Read a file, and find the columns that name pictures and splits; None where none names pictures.

    What is wrong with such a file goes into `found`, if it is called as a list or cannot be read. Raises UserError
    where it surely should name pictures.
    """
    table = parse(path, text, lambda name: index.is_name(posixpath.dirname(path), name, about(path)))
    if are_first_row(path, table, index):
        table = table.without_names()
    columns = namings(path, table, index)
    naming = naming_column(columns, path, table, index, file_column, where)
    if naming is None:
        told = (table.broken, False) if table.broken else unnamed(columns, path, table, index)
        if told is not None:
            found.unread[path], sure = told
            if sure and file_column in (None, *table.names):
                raise UserError(f"{where}: {found.unread[path]}; correct it, or move the file away")
        return None
    if several := of_several(naming, path, index):
        found.ambiguous[path] = several
    if table.twice is not None:
        called = f"called {table.twice}" if table.twice else "without a name"
        raise UserError(f"{where} has two columns {called}: give one of them another name")
    others = {name: as_labels(values) for name, values in table.columns.items() if name != naming.column}
    if posixpath.splitext(posixpath.basename(path))[0] == CELEBA:
        others = {name: [PARTITION.get(value.strip(), value) for value in values] for name, values in others.items()}
    dividing: Sequence[str] = ()
    said: Sequence[str | None] = [said_by(path)] * len(naming.pictures)
    splits = splits_of({name: values for name, values in others.items() if name != label_column}, where)
    if splits is not None:
        dividing, said = splits
    others = {name: values for name, values in others.items() if name not in dividing}
    return ListFile(path=path, where=where, table=table, naming=naming, others=others, dividing=dividing, said=said)


def _labelled(files: Sequence[ListFile], found: Listed, label_column: str | None) -> list[tuple[ListFile, Labels]]:
    """Return the files that tell labels, by themselves or as another of them does, with these."""
    known: dict[str, Labels | None] = {}
    problems: dict[str, UserError] = {}
    for file in files:
        try:
            known[file.path] = labels_of(file, label_column)
        except UserError as error:
            problems[file.path] = error
    sure = [(file, labels) for file in files if (labels := known.get(file.path)) is not None]
    for file in files:
        if label_column is None and (known.get(file.path) is None or file.table.rest):
            known[file.path] = labels_like(file, sure) or known.get(file.path)
    found.problem = next((problems[path] for path in problems if known.get(path) is None), None)
    for file in files:
        columns = [name for name in file.others if name and name not in file.table.several]
        if columns and known.get(file.path) is None:
            found.unlabelled[file.path] = columns
    return [(file, labels) for file in files if (labels := known.get(file.path)) is not None]


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


def _take(file: ListFile, labels: Labels, found: Listed, *, sure: bool) -> None:
    """Add the labels that one file lists.

    Where they differ from labels that are known, these stay if the classes have other names only, or if the column is
    not called labels. Raises UserError for other differences.
    """
    _check_even(file)
    differing = ""
    try:
        rows = _rows(file, labels)
        differing = next((path for path in rows if rows[path].label != found.rows.get(path, rows[path]).label), "")
        if differing and not sure:
            if _are_renamed(rows, found):
                found.renamed.append(file.path)
                return
            if not file.nameless and found.rows[differing].source in found.settled:
                return
        for path, row in rows.items():
            _add(found.rows, path, row, file.where)
    except UserError as error:
        if sure or (file.nameless and found.sure):
            raise
        if differing:  # neither is called labels
            found.forget(found.rows[differing].source)
        found.rows = {path: row for path, row in found.rows.items() if row.source != file.path}
        found.problem = found.problem or error
        return
    found.sources.append(file.path)
    found.sure |= {file.path} if sure else set()
    found.settled |= {file.path} if sure or file.nameless else set()
    found.missing[file.path] = file.naming.pictures.count(None)
    found.unused[file.path] = [name for name in found.unused[file.path] if name not in labels.columns]


def _rows(file: ListFile, labels: Labels) -> dict[str, ListedRow]:
    """Return what a file says of its pictures. Raises UserError where it gives one two labels."""
    rows: dict[str, ListedRow] = {}
    for picture, label, said in zip(file.naming.pictures, labels.values, file.said, strict=True):
        if picture is not None:
            row = ListedRow(label=label.strip(), role=_role(picture, said, file.where), source=file.path)
            _add(rows, picture, row, file.where)
    return rows


def _are_renamed(rows: Mapping[str, ListedRow], found: Listed) -> bool:
    """Whether labels are those that are known under other names, of which each stands for one, in all such files."""
    pairs = {(found.rows[path].label, row.label) for path, row in rows.items() if path in found.rows} | found.pairs
    known, others = ({pair[side] for pair in pairs} for side in (0, 1))
    renamed = len(known) == len(others) == len(pairs) > 1 and known.isdisjoint(others)
    found.pairs |= pairs if renamed else set()
    return renamed


def _note_splits(found: Listed, file: ListFile) -> bool:
    """Keep the splits that a file names for pictures, and return whether there are any."""
    pairs = zip(file.naming.pictures, file.said, strict=True)
    named = {picture: role for picture, role in pairs if picture is not None and role is not None}
    for picture, role in named.items():
        found.splits[picture] = role if found.splits.get(picture, role) == role else None
    if named:
        found.dividing.append(file.path)
        found.by_columns |= {file.path: file.dividing} if file.dividing else {}
        found.missing[file.path] = file.naming.pictures.count(None)
    return bool(named)


def _check_even(file: ListFile) -> None:
    """Raise UserError where rows of another length would be left out."""
    if file.table.ragged is not None:
        raise UserError(f"{file.where}: row {file.table.ragged} has more or fewer cells than the first; correct it")


def _role(file: str, said: str | None, where: str) -> str:
    """The split of a picture: what its row or its file's name says, else its folder, else training."""
    if said == TRAIN and lies_in(file) == TEST:
        raise UserError(
            f"{where} lists {file} for training, but its folder is one for testing: which is right? "
            "Give the folder another name, or correct the list"
        )
    return said or lies_in(file) or TRAIN


def _add(rows: dict[str, ListedRow], file: str, row: ListedRow, where: str) -> None:
    before = rows.setdefault(file, row)
    if before.label != row.label:
        raise UserError(
            f"{where}: {file} has two labels, {before.label} and {row.label}; give each image one label, "
            f"or name the column of labels with {Setting('label_column')}"
        )
