"""Folders of classes and lists of labels brought together, where both say something of the same images."""

from __future__ import annotations

from collections.abc import Sequence

from m3d_condense.data.folders import Notes, Part
from m3d_condense.data.labels import as_name
from m3d_condense.data.listed import Listed
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID
from m3d_condense.tools.errors import Setting, UserError


def by_lists(lists: Listed, notes: Notes) -> list[Part]:
    """Return the splits with the labels that side files list.

    Raises UserError where none is for training, and for a picture that is in two splits.
    """
    roles = lists.roles()
    sources, dividing = some(lists.sources), some(lists.dividing)
    for path in lists.rows:
        if lists.splits.get(path, TRAIN) is None:
            raise UserError(f"{dividing}: {path} is listed for two splits; keep it in one of them")
    if TRAIN not in roles:
        raise UserError(f"{some(lists.files())}: no training rows, only of the {' and '.join(roles)} split")
    test, *rest = [*(role for role in (TEST, VALID) if role in roles), None]
    if test == VALID:
        notes.lines.append("There is no labelled test split: the validation split is the test split")
    notes.dropped |= {path: f"in the {row.role} split" for path, row in lists.rows.items() if row.role in rest}
    notes.dropped |= {path: f"not listed in {dividing}" for path in lists.undivided}
    notes.lines.append(f"Labels are read from {sources}")
    for path in lists.renamed:
        notes.lines.append(f"{path}: the same classes as in {sources}, whose names are taken")
    if telling := [file for file in lists.dividing if file in lists.by_columns or file not in lists.sources]:
        notes.lines.append(f"The splits are read from {lists.dividers(telling)}")
    notes.outside = f"not listed in {sources}"
    labels = {path: row.label for path, row in lists.rows.items()}
    roles_of = {path: row.role for path, row in lists.rows.items()}
    return [_part(role, labels, roles_of) for role in (TRAIN, test) if role is not None]


def _part(role: str, labels: dict[str, str], roles: dict[str, str]) -> Part:
    files = tuple(path for path, found in roles.items() if found == role)
    return Part(name=role, files=files, labels=tuple(labels[path] for path in files))


def joined(parts: list[Part], lists: Listed, shown: str, notes: Notes) -> tuple[list[Part], Sequence[str]]:
    """Take what side files add to folders of classes: the test split, by its labels or by the names of its images.

    Returns the splits, and the side files that are used. Raises UserError where side files contradict the folders.
    """
    by_folder = {path: label for part in parts for path, label in zip(part.files, part.labels, strict=True)}
    _check_agreement(by_folder, lists, shown, notes)
    if len(parts) > 1:
        return parts, []
    rest = {path: row for path, row in lists.rows.items() if path not in by_folder and row.role != TRAIN}
    if not rest:
        return _divided(parts, lists, notes)
    role = TEST if any(row.role == TEST for row in rest.values()) else VALID
    names = _folders_of_labels(by_folder, lists)
    listed = {path: as_name(row.label) for path, row in rest.items() if row.role == role}
    unknown = sorted(set(listed.values()) - names.keys())
    used = sorted({row.source for row in rest.values()})
    if unknown:
        raise UserError(f"{some(used)} lists classes that are not in the training split: {some(unknown)}; correct it")
    which = "" if role == TEST else ", which is the test split,"
    notes.lines.append(f"The labels of the {role} split{which} are read from {some(used)}")
    labels = tuple(names[label] for label in listed.values())
    return [*parts, Part(name=role, files=tuple(listed), labels=labels)], used


def _folders_of_labels(by_folder: dict[str, str], lists: Listed) -> dict[str, str]:
    """Return the folder's name of each label: what lists of pictures in folders tell, else the label itself."""
    pairs = {(as_name(row.label), by_folder[path]) for path, row in lists.rows.items() if path in by_folder}
    told = dict(pairs)
    itself = {name: name for name in by_folder.values()}
    if not len(told) == len(set(told.values())) == len(pairs):
        return itself
    shifted = any(label in itself and label != name for label, name in told.items())
    return told if shifted else {**itself, **told}


def _check_agreement(by_folder: dict[str, str], lists: Listed, shown: str, notes: Notes) -> None:
    """Raise UserError where side files have other classes than the folders, or training images outside of these.

    A file whose column is not called labels is not used where it differs.
    """
    agreeing: list[str] = []
    choice = f"For those of the file give {Setting('label_column')}, for the folders move the file away"
    for source in list(lists.sources):
        rows = {path: as_name(row.label) for path, row in lists.rows.items() if row.source == source}
        outside = [p for p in rows if p not in by_folder and lists.rows[p].role == TRAIN and not _is_dropped(p, notes)]
        pairs = {(by_folder[path], label) for path, label in rows.items() if path in by_folder}
        differs = not _is_renaming(pairs)
        if (differs or outside) and source not in lists.sure:
            unused = "the labels in it are not used" if source in lists.dividing else "is not used"
            notes.lines.append(f"{source} says of the images what their folders do not, and {unused}. {choice}")
            lists.forget(source)
        elif differs:
            raise UserError(
                f"the labels in {source} are not those of the folders in {shown}: which are meant? {choice}"
            )
        elif outside:
            raise UserError(
                f"{source} lists {len(outside)} images outside of the class folders in {shown}, {outside[0]} the "
                f"first: which are meant? {choice}"
            )
        elif pairs:
            agreeing.append(source)
    if agreeing:
        notes.lines.append(f"{some(agreeing)}: the same classes as the folders, whose names are taken")


def _is_renaming(pairs: set[tuple[str, str]]) -> bool:
    """Whether each folder has one label of its own; of the folders' own names it is the same, but for numbers."""
    names, labels = ({pair[side] for pair in pairs} for side in (0, 1))
    swapped = any(label in names and label != name and not label.isdecimal() for name, label in pairs)
    return len(names) == len(labels) == len(pairs) and not swapped


def _is_dropped(path: str, notes: Notes) -> bool:
    """Whether an image lies in a folder that is counted as not used."""
    folders = path.split("/")[:-1]
    return any("/".join(folders[:depth]) in notes.dropped for depth in range(1, len(folders) + 1))


def _divided(parts: list[Part], lists: Listed, notes: Notes) -> tuple[list[Part], Sequence[str]]:
    """Divide the images of folders into splits, where side files name images for testing or for training.

    The others are for training; but where files name images for this too, those that are in none are not used.
    """
    (whole,) = parts
    roles = {path: role for path in whole.files if (role := lists.splits.get(path)) is not None}
    test = next((role for role in (TEST, VALID) if role in roles.values()), None)
    sources = some(lists.dividing)
    if any(lists.splits.get(path, TRAIN) is None for path in whole.files):
        notes.lines.append(f"{sources}: not used, some images are in more than one split")
        return parts, []
    if not roles:
        return parts, []
    if TRAIN not in roles.values():
        roles = {path: roles.get(path, TRAIN) for path in whole.files}
    if TRAIN not in roles.values():
        notes.lines.append(f"{sources}: not used, no image would be left for training")
        return parts, []
    notes.lines.append(f"The splits are read from {lists.dividers(lists.dividing)}")
    notes.dropped |= {path: f"in the {role} split" for path, role in roles.items() if role not in (TRAIN, test)}
    notes.dropped |= {path: f"not listed in {sources}" for path in whole.files if path not in roles}
    labels = dict(zip(whole.files, whole.labels, strict=True))
    return [_part(role, labels, roles) for role in (TRAIN, test) if role is not None], lists.dividing
