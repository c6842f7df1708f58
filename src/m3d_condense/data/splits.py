"""Which sub-folders are splits, and which only look like classes: decided by names and by what folders share.

Every function takes a pruned `Folder` and raises UserError where a reading would be a guess that may be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from m3d_condense.data.labels import as_name
from m3d_condense.data.side_files import STYLEGAN
from m3d_condense.data.tree import Folder, stem_of
from m3d_condense.data.words import (
    ORDER,
    TRAIN,
    SplitName,
    copied_name,
    is_data,
    is_drawn,
    is_gathered,
    is_numbered_part,
    is_pictures,
    may_have_drawn,
    split_name,
    tokens,
)
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.text import listed

SHARDED = (".json", ".cls", ".txt")  # of files beside each picture in unpacked shards


@dataclass(frozen=True, kw_only=True)
class SplitFolder:
    """A folder that is a split by its name."""

    named: SplitName
    folder: Folder

    @property
    def role(self) -> str:
        """Training, test or validation."""
        return self.named.role


def split_folders(node: Folder, shown: str) -> list[SplitFolder]:
    """Find the splits among the sub-folders that hold pictures; none where these are classes.

    A folder is a split if its name says so and nothing else, or if beside it stands one of the same name but for the
    split, as ``seg_train`` and ``seg_test``. A training split holds folders; a lone folder of pictures called
    ``train`` is a class. Raises UserError for a test split among classes, and where there is no training split.
    """
    splits = _named(node)
    others = [folder for folder in node.filled if folder not in [split.folder for split in splits]]
    nested = [split for split in splits if split.folder.filled]
    if any(split.role == TRAIN for split in nested):
        return splits
    roles = {split.role for split in splits}
    if TRAIN in roles and (nested or len(roles) > 1 or (not others and len(splits) > 1)):
        return splits
    if TRAIN in roles or not splits:
        return []
    first, where = splits[0].folder.name, shown_path(shown, node)
    if others:
        raise UserError(
            f"{first} in {where}, beside {some(others)}: a split for testing, or a class? Put the training classes "
            f"into a folder called train, or give {first} another name, or move it away"
        )
    if nested or len(splits) > 1:
        names = some([split.folder for split in splits])
        raise UserError(f"{where} has no training split, only {names}; to train on one of these, give that folder")
    return []


def _named(node: Folder) -> list[SplitFolder]:
    """Find the sub-folders whose names are those of splits, in the order in which they are taken for testing."""
    invalid = any("invalid" in folder.name.casefold() for folder in node.filled)  # beside it, valid is a class
    named = [(f, split_name(f.name)) for f in node.filled if not (invalid and f.name.casefold() == "valid")]
    found = [SplitFolder(named=name, folder=folder) for folder, name in named if name is not None]
    roles: dict[tuple[str, ...], set[str]] = {}
    for split in found:
        roles.setdefault(split.named.rest, set()).add(split.role)
    taken = [s for s in found if not s.named.rest or (TRAIN in roles[s.named.rest] and len(roles[s.named.rest]) > 1)]
    return sorted(taken, key=lambda split: (ORDER[split.named.word], split.folder.path))


def training(splits: Sequence[SplitFolder], shown: str) -> SplitFolder:
    """Return the one training split, and refuse two of them or two of one other name."""
    words = Counter(split.named.word if split.role != TRAIN else TRAIN for split in splits)
    for word, count in words.items():
        if count > 1:
            alike = [split.folder for split in splits if word in (split.named.word, split.role)]
            raise UserError(
                f"{some(alike)} in {shown}: which is the {word} split, or are they its parts? "
                "Join them in one folder, or move the others away"
            )
    return next(split for split in splits if split.role == TRAIN)


def splits_in_classes(node: Folder, shown: str) -> dict[str, list[tuple[str, Folder]]]:
    """Read classes that each hold their splits, as ``cats/train``: by split, the class and its folder; or nothing.

    Raises UserError where some classes hold splits and others do not, or hold pictures beside them.
    """
    inside = {folder.path: _named(folder) for folder in node.filled}
    wholly = [f for f in node.filled if inside[f.path] and len(inside[f.path]) == len(f.filled) and not f.pictures]
    flat = [f for f in wholly if not any(split.folder.filled for split in inside[f.path])]  # else they are data sets
    divided = [folder for folder in flat if any(split.role == TRAIN for split in inside[folder.path])]
    half = [f for f in node.filled if f.pictures and any(not split.named.rest for split in inside[f.path])]
    if half and len(node.filled) > 1:
        beside = some([split.folder for split in inside[half[0].path]])
        raise UserError(
            f"{some(half)} in {shown_path(shown, node)} hold pictures, and beside them folders that are called like "
            f"splits, {beside}: are these splits, or more of the class? Bring all into one form, or give {beside} "
            "another name"
        )
    if not divided or len(node.filled) < 2 or all(is_numbered_part(folder.name) for folder in node.filled):
        return {}
    rest = [folder for folder in node.filled if folder not in divided]
    if rest:
        raise UserError(
            f"folders of splits ({some(divided[0].filled)}) lie in some classes of {shown_path(shown, node)} "
            f"({some(divided)}), but not in {some(rest)}: bring all into one form"
        )
    found: dict[str, list[tuple[str, Folder]]] = {}
    for folder in node.filled:
        training(inside[folder.path], shown_path(shown, folder))
        for split in inside[folder.path]:
            found.setdefault(split.named.word, []).append((as_name(folder.name), split.folder))
    return found


def refuse_look_alikes(node: Folder, shown: str, wants: Callable[[str], bool]) -> None:
    """Raise UserError where sub-folders look like classes, but may be parts, splits, copies, or pictures and masks.

    `wants` tells by its name whether the class of a folder may be asked for.
    """
    where, folders = shown_path(shown, node), node.filled
    pictures = [folder for folder in folders if may_have_drawn(folder.name)]
    drawn = [folder for folder in folders if is_drawn(folder.name)]
    if pictures and drawn:
        raise UserError(
            f"{some(pictures + drawn)} in {where}: pictures and what is drawn on them, not classes; "
            f"give {shown_path(shown, pictures[0])} if it holds one folder of images per class"
        )
    if len(folders) > 1 and all(is_numbered_part(folder.name) for folder in folders):
        raise UserError(
            f"{some(folders)} in {where} look like numbered parts of a data set, not like classes: "
            "give one of them, or join them; if they are classes, give them other names"
        )
    _refuse_shards(node, where)
    wanted = [folder for folder in folders if wants(folder.name)]
    _refuse_gathered(wanted, where)
    _refuse_pairs(wanted, where)
    _refuse_same_folders(folders, where)
    _refuse_data(folders, where)


def _refuse_shards(node: Folder, where: str) -> None:
    """Raise UserError for folders numbered from 00000 whose labels stand in one JSON file, or in one file a picture."""
    numbers = sorted(folder.name for folder in node.filled)
    if len(numbers) < 1 or any(re.fullmatch(r"\d{5,}", name) is None for name in numbers) or int(numbers[0]) != 0:
        return
    stems = [stem_of(name) for folder in node.filled for name in folder.pictures]
    beside = {name for folder in node.filled for name in folder.others}
    told = [kind for kind in SHARDED if stems and beside.issuperset(f"{stem}{kind}" for stem in stems)]
    if STYLEGAN in node.others or told:
        raise UserError(
            f"{some(node.filled)} in {where} are numbered parts of a data set whose labels stand in "
            f"{told[0] if told else '.json'} files, not classes: put the pictures into one folder per class, or write "
            "a labels.csv of files and labels"
        )


def _refuse_gathered(folders: Sequence[Folder], where: str) -> None:
    """Raise UserError for pictures in one folder called ``images`` or the like, beside other folders."""
    gathered = [folder for folder in folders if is_gathered(folder.name) and not folder.filled]
    if gathered and len(folders) > 1:
        beside = some([folder for folder in folders if folder is not gathered[0]])
        raise UserError(
            f"{gathered[0].name} in {where}, beside {beside}: pictures whose classes are not told, or a class? Put the "
            f"images of each class into one sub-folder that bears its name, or move {gathered[0].name} away, or give "
            "it another name"
        )


def _refuse_pairs(folders: Sequence[Folder], where: str) -> None:
    """Raise UserError for a copy beside its original, and for ``cat_test`` beside ``cat``."""
    names = {as_name(folder.name).casefold(): folder.name for folder in folders}
    for folder in folders:
        original = names.get(copied_name(folder.name) or "")
        if original is not None:
            raise UserError(
                f"{folder.name} in {where} looks like a copy of {original}: remove it, or give it another name"
            )
        split = split_name(folder.name)
        others = [other.name for other in folders if split is not None and tuple(tokens(other.name)) == split.rest]
        if split is not None and split.rest and others:
            raise UserError(
                f"{folder.name} in {where}, beside {others[0]}: the {split.role} images of that class, or a class "
                "itself? Put the classes of each split into a folder called train or test, or give it another name"
            )


def unpacked(folder: Folder) -> Folder:
    """Enter the single folders around others, as archives unpack."""
    while len(folder.filled) == 1 and folder.filled[0].filled:
        folder = folder.filled[0]
    return folder


def _refuse_data(folders: Sequence[Folder], where: str) -> None:
    """Raise UserError where one of several folders is the data: it holds their splits, or is named after data."""
    for folder in folders if len(folders) > 1 else ():
        inner = unpacked(folder)
        divided = any(split.role == TRAIN and len(split.folder.filled) > 1 for split in _named(inner))
        named = len(inner.filled) > 1 and not inner.pictures and is_data(folder.name)
        if divided or named:
            beside = some([other for other in folders if other is not folder])
            inside = f"{where}/{inner.path[len(folder.path) - len(folder.name) :]}"
            raise UserError(
                f"{inside} holds the folders {some(inner.filled)}, and beside {folder.name} lies {beside}: are these "
                f"the data, or is {folder.name} a class? Give {inside}, or give {folder.name} another name"
            )


def _refuse_same_folders(folders: Sequence[Folder], where: str) -> None:
    holders: dict[str, list[Folder]] = {}
    for folder in folders:
        for below in unpacked(folder).filled:
            if not (is_pictures(below.name) or is_drawn(below.name)):
                holders.setdefault(as_name(below.name), []).append(folder)
    shared = {name: held for name, held in holders.items() if len(held) > 1}
    if len(shared) > 1:
        holding = [folder for folder in folders if any(folder in held for held in shared.values())]
        raise UserError(
            f"{some(holding)} in {where} hold the same folders, {some(list(shared))}: they look like splits or parts "
            f"of a data set. If the classes are below, give one of {some(holding)}, or call them train and test; "
            f"if the classes are {some(holding)}, move the images up into these"
        )
    names = {as_name(folder.name) for folder in folders}
    for folder in folders if len(folders) > 1 else ():
        copied = [name for name, held in holders.items() if name in names and folder in held]
        inside = [below for below in unpacked(folder).filled if as_name(below.name) != as_name(folder.name)]
        if len(copied) > 1 or (inside and len(inside) == len(copied) and not folder.pictures):
            raise UserError(
                f"{folder.name} in {where} holds {some(copied)}, as {where} does: a copy or a split, not a class; "
                f"give {where}/{folder.name}, or move it away"
            )


def shown_path(shown: str, folder: Folder) -> str:
    """Write the path of a folder for a message."""
    return f"{shown}/{folder.path}" if folder.path else shown


def some(folders: Sequence[Folder | str], most: int = 5) -> str:
    """Name a few folders, and how many more there are."""
    return listed([folder if isinstance(folder, str) else folder.name for folder in folders], most)
