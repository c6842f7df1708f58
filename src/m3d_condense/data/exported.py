"""Folders of classes that this package has exported: a file beside them names the classes where the folders do not.

A class may be called as a split is, as a folder cannot be, or stand in another order than that of the names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from m3d_condense.data.labels import as_name
from m3d_condense.data.layout import pictures_layout
from m3d_condense.data.pictures import Files, Rows
from m3d_condense.data.pruning import pruned
from m3d_condense.data.splits import some
from m3d_condense.data.tree import Folder, ending, tree
from m3d_condense.tools.errors import UserError

CLASSES = "m3d-classes.json"


class Class(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A class, and the folder of its images."""

    folder: str
    name: str


def written(folders: Sequence[str], class_names: Sequence[str]) -> bytes:
    """Return the text of the file that names the class of each folder, in order."""
    names = [name.encode(errors="backslashreplace").decode() for name in class_names]  # one may be no text
    classes = [Class(folder=folder, name=name) for folder, name in zip(folders, names, strict=True)]
    return msgspec.json.format(msgspec.json.encode(classes))


def tell_classes(paths: Sequence[str], class_names: Sequence[str]) -> bool:
    """Whether PNG files at these paths would be read, by their folders alone, as these classes in this order."""
    try:
        folder, _ = pruned(tree(paths, {".png"}), "")
        layout = pictures_layout(folder, {}, shown="")
    except UserError:
        return False
    whole = sum(len(part.files) for part in layout.parts[:1]) == len(paths)
    return whole and [as_name(name) for name in layout.classes] == list(class_names)


def read(root: Path, top: Folder) -> tuple[list[Rows], tuple[str, ...], Counter[str]] | None:
    """Return the rows, the classes and what is not used, counted, of a folder that was exported; None of any other.

    `top` holds all that lies in `root`. Raises UserError where folders have come or gone since, and for exported
    folders within another.
    """
    if CLASSES not in top.others:
        _check_within(root, top)
        return None
    try:
        classes = msgspec.json.decode((root / CLASSES).read_bytes(), type=list[Class])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"cannot read {root / CLASSES}: {error}; export the set again, or remove that file") from error
    names = [one.folder for one in classes]
    filled = {folder.name: folder for folder in top.folders if folder.pictures}
    kept, _ = pruned(top, str(root))
    odd = [name for name in names if name not in filled] + [f.name for f in kept.filled if f.name not in names]
    if odd or top.pictures or len(set(names)) < len(names):
        raise UserError(
            f"{root / CLASSES} tells the classes of other folders than {root} holds ({some(odd or top.pictures)}): "
            "export the set again, or remove that file to take the names of the folders for the classes"
        )
    files = [filled[name].paths(filled[name].pictures) for name in names]
    labels = np.repeat(np.arange(len(files)), [len(own) for own in files])
    rows = Rows(name="train", labels=labels, images=Files(paths=[str(root / path) for own in files for path in own]))
    unused = Counter(ending(name) for below in top.walk() for name in below.others)
    unused[ending(CLASSES)] -= 1
    deeper = top.count - len(labels)
    return [rows], tuple(one.name for one in classes), unused + Counter({"images within other folders": deeper})


def _check_within(root: Path, top: Folder) -> None:
    """Raise UserError for folders that were exported and put into another, where their files would name the classes."""
    within = [folder.path for folder in top.walk() if CLASSES in folder.others]
    if within:
        raise UserError(
            f"{root} holds folders that were exported ({some(within)}), whose {CLASSES} names their classes, and is "
            "read of one such folder alone: give that, or remove these files to take the names of the folders for the "
            "classes"
        )
