"""The layout of a folder, as a pure function: a listing and the texts of its side files in, splits and classes out.

What of the listing is not used is counted in words; what could be read in two ways raises UserError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from m3d_condense.data.folders import Notes, Part, by_folders
from m3d_condense.data.labels import as_name, natural_key
from m3d_condense.data.listed import Listed, listed
from m3d_condense.data.splits import some
from m3d_condense.data.tree import Folder, ending
from m3d_condense.data.words import TEST, TRAIN, VALID
from m3d_condense.tools.errors import Setting, UserError


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is read of a folder.

    Attributes:
        parts: the training split, and the test split where there is one.
        classes: their names in order where folders name them; empty where the labels are values of a table.
        notices: what the user should know, one line each.
        unused: how many files are not used, by what they are.
    """

    parts: tuple[Part, ...]
    classes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    unused: Counter[str]


def pictures_layout(
    root: Folder,
    texts: Mapping[str, str],
    *,
    shown: str,
    file_column: str | None = None,
    label_column: str | None = None,
) -> Layout:
    """Read pictures by the folders of their classes, or by files that list their labels.

    Args:
        root: pruned.
        texts: of the side files, by their paths from the root.
        shown: how messages call the root.
        file_column: the column of side files that names pictures; by default the one that does.
        label_column: their column of labels; where it is given, the folders' names are not classes.

    Raises:
        UserError: where there are no classes, or where they may be read in two ways.
    """
    lists = listed(root.all_pictures(), texts, shown=shown, file_column=file_column, label_column=label_column)
    notes = Notes()
    if label_column is not None or file_column is not None:
        if not lists.rows:
            names = " and ".join(name for name in (file_column, label_column) if name is not None)
            raise lists.problem or UserError(f"no file in {shown} lists the images in a column named {names}")
        return _by_lists(root, lists, notes)
    try:
        parts = by_folders(root, shown, notes)
        classes = tuple(sorted(set(parts[0].labels), key=natural_key))
        if len(classes) == 1:
            raise UserError(f"only one class ({classes[0]}) in {shown}: at least two are needed")
    except UserError as refusal:
        if lists.rows:
            return _by_lists(root, lists, Notes())
        raise lists.problem or refusal from None
    if lists.problem is not None:
        notes.lines.append(f"The classes are the folders, though there is a list of the images: {lists.problem}")
    parts, sources = _joined(parts, lists, shown, notes)
    return _layout(root, parts, classes, notes, sources)


def _by_lists(root: Folder, lists: Listed, notes: Notes) -> Layout:
    """Read pictures with the labels that side files list."""
    roles = lists.roles()
    if TRAIN not in roles:
        raise UserError(f"{some(lists.sources)}: no training rows, only of the {' and '.join(roles)} split")
    tests = [role for role in (TEST, VALID) if role in roles]
    if tests[:1] == [VALID]:
        notes.lines.append("There is no labelled test split: the validation split is the test split")
    parts = [_listed_part(lists, role) for role in (TRAIN, *tests[:1])]
    notes.dropped |= {path: f"in the {row.role} split" for path, row in lists.rows.items() if row.role in tests[1:]}
    notes.lines.append(f"Labels are read from {some(lists.sources)}")
    return _layout(root, parts, (), _with_missing(lists, notes), lists.sources)


def _listed_part(lists: Listed, role: str) -> Part:
    rows = {path: row.label for path, row in lists.rows.items() if row.role == role}
    return Part(name=role, files=tuple(rows), labels=tuple(rows.values()))


def _with_missing(lists: Listed, notes: Notes) -> Notes:
    notes.outside = f"not listed in {some(lists.sources)}"
    for source, count in lists.missing.items():
        notes.lines.append(f"{source}: {count} rows without a picture left out")
    return notes


def _joined(parts: list[Part], lists: Listed, shown: str, notes: Notes) -> tuple[list[Part], list[str]]:
    """Add the test split that a side file lists, and check that side files agree with the folders.

    Returns the splits, and the side files that are used.
    """
    by_folder = {path: label for part in parts for path, label in zip(part.files, part.labels, strict=True)}
    pairs = {(label, as_name(lists.rows[path].label)) for path, label in by_folder.items() if path in lists.rows}
    sources = some(lists.sources)
    if len({folder for folder, _ in pairs}) < len(pairs) or len({value for _, value in pairs}) < len(pairs):
        raise UserError(
            f"the labels in {sources} are not those of the folders in {shown}: which are meant? For those of the "
            f"file give {Setting('label_column')}, for the folders move the file away"
        )
    if pairs:
        notes.lines.append(f"{sources}: lists the same classes as the folders, and is not used")
    outside = [path for path, row in lists.rows.items() if path not in by_folder and row.role == TRAIN]
    if outside:
        raise UserError(
            f"{sources} lists {len(outside)} images outside of the class folders in {shown}, {outside[0]} the first: "
            f"which are meant? For those of the file give {Setting('label_column')}, for the folders move the file away"
        )
    rest = {path: row for path, row in lists.rows.items() if path not in by_folder and row.role != TRAIN}
    if len(parts) > 1 or not rest:
        return parts, []
    role = TEST if any(row.role == TEST for row in rest.values()) else VALID
    rows = {path: as_name(row.label) for path, row in rest.items() if row.role == role}
    unknown = sorted(set(rows.values()) - set(parts[0].labels))
    if unknown:
        raise UserError(f"{sources} lists classes that are not in the training split: {some(unknown)}; correct it")
    notes.lines.append(f"The labels of the {role} split, which is the test split, are read from {sources}")
    used = sorted({row.source for row in rest.values()})
    return [*parts, Part(name=role, files=tuple(rows), labels=tuple(rows.values()))], used


def _layout(root: Folder, parts: list[Part], classes: tuple[str, ...], notes: Notes, sources: list[str]) -> Layout:
    used = {path for part in parts for path in part.files} | set(sources)
    unused: Counter[str] = Counter()
    _count(root, used, notes, notes.outside, unused)
    return Layout(parts=tuple(parts), classes=classes, notices=tuple(notes.lines), unused=+unused)


def _count(folder: Folder, used: set[str], notes: Notes, words: str, unused: Counter[str]) -> None:
    """Count the files that are not used: pictures by where they lie, others by their endings."""
    words = notes.dropped.get(folder.path, words)
    for path in folder.paths(folder.pictures):
        if path not in used:
            unused[notes.dropped.get(path, words)] += 1
    for path, name in zip(folder.paths(folder.others), folder.others, strict=True):
        if path not in used:
            unused[ending(name)] += 1
    for below in folder.folders:
        _count(below, used, notes, words, unused)
