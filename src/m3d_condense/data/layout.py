"""The layout of a folder, as a pure function: a listing and the texts of its side files in, splits and classes out.

What of the listing is not used is counted in words; what could be read in two ways raises UserError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from m3d_condense.data.columns import unused_columns
from m3d_condense.data.finding import said_by
from m3d_condense.data.folders import Notes, Part, beginnings, by_folders
from m3d_condense.data.joining import by_lists, joined
from m3d_condense.data.labels import natural_key
from m3d_condense.data.listed import Listed, listed
from m3d_condense.data.side_files import is_unread_list
from m3d_condense.data.splits import some
from m3d_condense.data.tree import Folder, ending
from m3d_condense.data.words import TRAIN
from m3d_condense.tools.errors import Setting, UserError

SHOWN = 3  # lists that cannot be used, of which each is told what is wrong


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
    asked: Sequence[str] | None = None,
) -> Layout:
    """Read pictures by the folders of their classes, or by files that list their labels.

    Args:
        root: pruned.
        texts: of the side files, by their paths from the root.
        shown: how messages call the root.
        file_column: the column of side files that names pictures; by default the one that does.
        label_column: their column of labels; where it is given, the folders' names are not classes.
        asked: the classes that are asked for: what is wrong with folders of others does not matter; None for all.

    Raises:
        UserError: where there are no classes, or where they may be read in two ways.
    """
    lists = listed(root.all_pictures(), texts, shown=shown, file_column=file_column, label_column=label_column)
    notes = Notes(asked=asked)
    if label_column is not None or file_column is not None:
        if not lists.rows:
            names = " and ".join(name for name in (file_column, label_column) if name is not None)
            refusal = UserError(f"no file in {shown} lists the images in a column named {names}")
            raise lists.problem or _with_lists(refusal, lists)
        return _layout(root, by_lists(lists, notes), (), notes, lists, lists.files())
    try:
        parts = by_folders(root, shown, notes)
        _classes(parts[0].labels, shown, parts[0].files)
        if len(parts) == 1 and lists.splits:
            _classes(_left_for_training(parts[0], lists), shown)  # folders that lists take for splits are no classes
    except UserError as refusal:
        if lists.rows:
            notes = Notes()
            if lists.problem is not None:
                notes.lines.append(f"Not used as labels: {lists.problem}")
            return _layout(root, by_lists(lists, notes), (), notes, lists, lists.files())
        raise lists.problem or _with_lists(refusal, lists) from None
    if lists.problem is not None:
        notes.lines.append(f"The classes are the folders, though there is a list of the images: {lists.problem}")
    parts, sources = joined(parts, lists, shown, notes)
    return _layout(root, parts, _classes(parts[0].labels, shown), notes, lists, sources)


def _with_lists(refusal: UserError, lists: Listed) -> UserError:
    """Return what is refused with what is wrong with lists that could not be used."""
    return UserError("; ".join([str(refusal), *_unlabelled(lists), *_unread(lists, "{}: {}")]))


def _unlabelled(lists: Listed) -> list[str]:
    """Say of the first lists that name pictures, but tell no labels, which columns these may stand in."""
    return [
        f"{path} names images, but it is not clear which column holds their labels: "
        f"give {Setting('label_column')} one of: {', '.join(columns)}"
        for path, columns in list(lists.unlabelled.items())[:SHOWN]
    ]


def _unread(lists: Listed, form: str) -> list[str]:
    """Say of the first lists that name no picture what is wrong with each, and how many more there are."""
    said = [form.format(path, wrong) for path, wrong in lists.unread.items()]
    more = len(said) - SHOWN
    return said if more < 1 else [*said[:SHOWN], f"{more} more such files name no image here"]


def _left_for_training(train: Part, lists: Listed) -> set[str]:
    """Return the classes of training images that no list names for another split."""
    pairs = zip(train.files, train.labels, strict=True)
    return {label for path, label in pairs if lists.splits.get(path) in (None, TRAIN)}


def _classes(labels: Iterable[str], shown: str, files: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the classes of training in natural order. Raises UserError for one alone, with what its files hint at."""
    classes = tuple(sorted(set(labels), key=natural_key))
    if len(classes) == 1:
        raise UserError(f"only one class ({classes[0]}) in {shown}{beginnings(files)}: at least two are needed")
    return classes


def _layout(
    root: Folder, parts: list[Part], classes: tuple[str, ...], notes: Notes, lists: Listed, sources: Sequence[str]
) -> Layout:
    notes.lines += _unread(lists, "{} is not used: {}") + _split_names(parts) + _of_other_forms(root)
    missing = {path: count for path in sources if (count := lists.missing[path]) > 0}
    notes.lines += [f"{path}: {count} rows without a picture left out" for path, count in missing.items()]
    notes.lines += [f"{path}: {said}" for path, said in lists.ambiguous.items() if path in missing]
    notes.lines += [f"{unused_columns(lists.unused[path])} ({path})" for path in sources if lists.unused[path]]
    used = {path for part in parts for path in part.files} | set(sources) | set(lists.unread)
    unused: Counter[str] = Counter()
    _count(root, used, notes, notes.outside, unused)
    return Layout(parts=tuple(parts), classes=classes, notices=tuple(notes.lines), unused=+unused)


def _of_other_forms(root: Folder) -> list[str]:
    """Name the files that may list labels by their names, but are of forms that are not read."""
    others = [path for folder in root.walk() for path in folder.paths(folder.others)]
    found = [path for path in others if is_unread_list(path)]
    if not found:
        return []
    return [f"{some(found, SHOWN)}: may list labels, but this form is not read; a .csv of files and labels is"]


def _split_names(parts: Sequence[Part]) -> list[str]:
    """Say so where the names of all images are those of several splits, of which nothing else tells."""
    names = sorted({said_by(path) or "" for path in parts[0].files})
    if len(parts) > 1 or len(names) < 2 or "" in names:
        return []
    return [
        f"The names of the images say {' and '.join(names)}, which divides nothing: if these are splits, put each into "
        "a folder called so, or list them in a train.txt and a test.txt"
    ]


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
