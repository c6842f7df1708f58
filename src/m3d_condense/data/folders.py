"""Images in folders: the images of a class lie in the folder of its name, at any depth, with or without splits."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from m3d_condense.data.classes import is_asked
from m3d_condense.data.foreign import content
from m3d_condense.data.labels import as_name
from m3d_condense.data.splits import (
    SplitFolder,
    refuse_look_alikes,
    shown_path,
    some,
    split_folders,
    splits_in_classes,
    training,
    unpacked,
)
from m3d_condense.data.tree import Folder, ending, stem_of
from m3d_condense.data.words import (
    ORDER,
    TEST,
    WORDS,
    derived_from,
    is_aside,
    is_drawn,
    is_pictures,
    may_have_drawn,
    split_name,
)
from m3d_condense.tools.errors import UserError

BEGINNING = re.compile(r"([^\W\d_]+(?=[\d._ -])|\d+(?=[._ -]))")
SORT = "put the images of each class into one sub-folder that bears its name, or list their labels in a labels.csv"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A split: what it is called, the paths of its files from the root, and the class of each."""

    name: str
    files: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(kw_only=True)
class Notes:
    """What is said of a reading.

    Attributes:
        asked: the classes that are asked for, each by a name or a WordNet id; None for all.
        lines: one notice each.
        dropped: by the path of a folder or picture that is not used, in which words its pictures are counted.
        outside: in which words all other pictures that are not used are counted.
    """

    asked: Sequence[str] | None = None
    lines: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    outside: str = "outside the class folders"

    def wants(self, name: str) -> bool:
        """Whether the class of a folder is, or may be, to be read."""
        return self.asked is None or is_asked(as_name(name), self.asked)


def by_folders(root: Folder, shown: str, notes: Notes) -> list[Part]:
    """Read the training split, and the test split where there is one, of a pruned folder.

    Single folders around the data are entered. Raises UserError where there are no folders of classes, where these
    may be something else, and where the test split has classes that training lacks.
    """
    node = root
    while True:
        if splits := split_folders(node, shown):
            return _of_splits(node, splits, shown, notes)
        if inside := splits_in_classes(node, shown):
            return _of_classes_with_splits(inside, shown, notes)
        refuse_look_alikes(node, shown, notes.wants)
        inner = _wrapped(node)
        if inner is None:
            return [_training_part(node, shown, notes)]
        node = inner
        notes.lines.append(f"The folders in {shown_path(shown, node)} are read")


def _wrapped(node: Folder) -> Folder | None:
    """Return the single folder with pictures that itself holds folders of them, as an archive unpacks; else None."""
    if len(node.filled) != 1:
        return None
    inner = node.filled[0]
    return inner if len(inner.filled) > 1 or (inner.filled and not inner.pictures) else None


def _of_splits(node: Folder, splits: list[SplitFolder], shown: str, notes: Notes) -> list[Part]:
    where = shown_path(shown, node)
    first = training(splits, where)
    if not first.folder.filled:
        raise UserError(
            f"{some([split.folder for split in splits])} in {where} look like splits, but {first.folder.name} holds "
            f"no class folders ({_content(first.folder)}{beginnings(first.folder.all_pictures())}): {SORT}"
        )
    later = [split for split in splits if split is not first]
    tested = {as_name(folder.name) for split in later for folder in split.folder.filled}  # surely classes
    entered = _entered(first.folder, shown, lambda name: notes.wants(name) and as_name(name) not in tested)
    train = _training_part(entered, shown, notes)
    _check_beside(node, splits, train, where, notes)
    labelled = {split.folder.path: _classes(_unwrapped(split.folder, set(train.labels))) for split in later}
    for split in later:
        classes = labelled[split.folder.path]
        if not set(classes) & set(train.labels) and len(classes) < 2:
            labelled[split.folder.path] = {}
            notes.dropped[split.folder.path] = f"in {split.folder.path}, which holds no class folders"
    usable = [split for split in later if labelled[split.folder.path]]
    for split in usable[1:]:
        notes.dropped[split.folder.path] = f"in the split {split.folder.path}"
    if not usable:
        return [train]
    test = usable[0]
    classes = _known(labelled[test.folder.path], train, test, shown, notes)
    if test.named.word not in WORDS[TEST][:2]:
        notes.lines.append(f"There is no labelled test split: {test.folder.path} is the test split")
    return [train, _part(test.named.word, classes, notes)]


def _entered(folder: Folder, shown: str, wants: Callable[[str], bool]) -> Folder:
    """Enter the single folders around the classes of a training split; raise UserError where it holds splits again."""
    while True:
        if len(folder.filled) > 1:
            if again := split_folders(folder, shown):
                names, where = some([split.folder for split in again]), shown_path(shown, folder)
                raise UserError(f"{where} is a split that holds splits again, {names}: give {where} itself")
            refuse_look_alikes(folder, shown, wants)
        inner = _wrapped(folder)
        if inner is None:
            return folder
        folder = inner


def _unwrapped(folder: Folder, classes: set[str]) -> Folder:
    """Enter the single folders around the classes of another split, by the names of the training classes."""
    while len(folder.filled) == 1 and as_name(folder.filled[0].name) not in classes and folder.filled[0].filled:
        folder = folder.filled[0]
    return folder


def _check_beside(node: Folder, splits: list[SplitFolder], train: Part, where: str, notes: Notes) -> None:
    """Take note of folders beside the splits; raise UserError where these may be the classes."""
    others = [folder for folder in node.filled if folder not in [split.folder for split in splits]]
    unknown = [folder for folder in others if as_name(folder.name) not in train.labels]
    if len(splits) == 1 and len(unknown) > 1 and not any(folder.filled for folder in unknown):
        raise UserError(
            f"{where} holds {splits[0].folder.name} with the folders {some(sorted(set(train.labels)))}, and beside it "
            f"{some(unknown)}: are the classes in {splits[0].folder.name}, or is that a class itself? "
            f"Give {where}/{splits[0].folder.name}, or give it another name"
        )
    for folder in others:
        notes.dropped[folder.path] = f"in {folder.path}, beside the splits"


def _known(
    classes: dict[str, list[Folder]], train: Part, test: SplitFolder, shown: str, notes: Notes
) -> dict[str, list[Folder]]:
    """Return the classes of a test split without those that nobody asked for and training lacks.

    Raises UserError where it has others that training lacks.
    """
    known = set(train.labels)
    lacking = sorted(set(classes) - known)
    unknown = [name for name in lacking if notes.wants(name)]
    if unknown:
        counted = [f"{name} ({sum(folder.count for folder in classes[name])} images)" for name in unknown]
        folded = {name.strip().casefold() for name in unknown}
        alike = sorted(name for name in known if name.strip().casefold() in folded)
        hint = f" (capital letters and spaces make {some(alike)} another class)" if alike else ""
        raise UserError(
            f"{shown_path(shown, test.folder)} has classes that are not in the training split: {some(counted)}{hint}; "
            f"training has {some(sorted(known))}: rename or remove them"
        )
    notes.dropped |= {folder.path: "of classes that training lacks" for name in lacking for folder in classes[name]}
    return {name: folders for name, folders in classes.items() if name in known}


def _of_classes_with_splits(inside: dict[str, list[tuple[str, Folder]]], shown: str, notes: Notes) -> list[Part]:
    """Read classes that each hold their splits."""
    ordered = sorted(inside, key=lambda word: ORDER[word])
    parts: list[Part] = []
    for word in ordered:
        if len(parts) < 2:
            classes: dict[str, list[Folder]] = {}
            for name, folder in inside[word]:
                classes.setdefault(name, []).append(folder)
            parts.append(_part(word, classes, notes))
        else:
            notes.dropped |= {folder.path: f"in the {word} folders of the classes" for _, folder in inside[word]}
    notes.lines.append(f"Each class holds its splits ({', '.join(ordered)}): {some([p.name for p in parts])} are read")
    return parts


def _training_part(node: Folder, shown: str, notes: Notes) -> Part:
    """Read the classes of a training split; raise UserError where there are none, or a class holds no pictures."""
    where = shown_path(shown, node)
    single = node.filled[0] if len(node.filled) == 1 else None
    if not node.filled or (single is not None and (is_pictures(single.name) or split_name(single.name))):
        raise UserError(f"{where} holds no class folders ({_content(node)}{beginnings(node.all_pictures())}): {SORT}")
    _notice_deep(node, where, notes)
    for folder in node.folders:
        if folder.count == 0 and not is_aside(folder.name) and notes.wants(folder.name):
            held = content(folder)
            raise UserError(
                f"class folder {shown_path(shown, folder)} holds no readable images ({_content(folder)}); "
                f"put some there or remove it{f'; it holds {held}' if held else ''}"
            )
    return _part("train", _classes(node), notes)


def _content(folder: Folder) -> str:
    """Say what kinds of files a folder holds at any depth."""
    kinds = Counter(ending(name) for below in folder.walk() for name in below.others)
    shown = [f"{folder.count} images"] if folder.count else []
    shown += [f"{count} {kind}" for kind, count in kinds.most_common(3)]
    return ", ".join(shown) or "no files"


def beginnings(paths: Sequence[str]) -> str:
    """Say with what the names of images begin, where that may be their class, as in ``cat.0.jpg``; else nothing."""
    begun = [match[1] for path in paths if (match := BEGINNING.match(posixpath.basename(path))) is not None]
    counts = Counter(begun)
    if len(begun) < len(paths) or len(counts) < 2 or min(counts.values()) < 2:
        return ""
    return f", whose names begin with {some(sorted(counts))}"


def _notice_deep(node: Folder, where: str, notes: Notes) -> None:
    """Say that the upper folders are the classes, where some hold folders of images and no image beside them."""
    deep = [folder for folder in node.filled if len(unpacked(folder).filled) > 1 and not folder.pictures]
    if deep:
        below = some(unpacked(deep[0]).filled, 3)
        notes.lines.append(
            f"The classes are the upper folders in {where}, {some(node.filled, 3)}; those in {some(deep, 3)} ({below}) "
            "are not"
        )


def _classes(node: Folder) -> dict[str, list[Folder]]:
    """Group the sub-folders that hold pictures by the class they are named after."""
    classes: dict[str, list[Folder]] = {}
    for folder in node.filled:
        classes.setdefault(as_name(folder.name), []).append(folder)
    return classes


def _part(name: str, classes: dict[str, list[Folder]], notes: Notes) -> Part:
    files: list[str] = []
    labels: list[str] = []
    for label, folders in classes.items():
        found = [path for folder in folders for path in _pictures(folder, notes)]
        files += found
        labels += [label] * len(found)
    return Part(name=name, files=tuple(files), labels=tuple(labels))


def _pictures(folder: Folder, notes: Notes) -> Iterable[str]:
    """Yield the pictures of a class, without the masks and thumbnails that lie beside them."""
    drawn = [below for below in folder.filled if is_drawn(below.name)]
    if drawn and (folder.pictures or any(may_have_drawn(below.name) for below in folder.filled)):
        notes.dropped |= {below.path: f"in {below.name} folders beside pictures" for below in drawn}
        folder = folder.without(drawn)
    stems = {stem_of(name) for name in folder.pictures}
    for name, path in zip(folder.pictures, folder.paths(folder.pictures), strict=True):
        if derived_from(stem_of(name)) in stems:
            notes.dropped[path] = "masks or thumbnails beside their pictures, by name"
        else:
            yield path
    for below in folder.folders:
        yield from _pictures(below, notes)
