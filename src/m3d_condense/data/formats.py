"""Files of arrays: an .npz, a .mat, or folders of binary files as the authors of MNIST, CIFAR and SVHN give them away.

Nothing is unpickled.
"""

from __future__ import annotations

import functools
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from m3d_condense.data import cifar, idx, matlab
from m3d_condense.data.arrays import Given
from m3d_condense.data.layout import pictures_layout
from m3d_condense.data.named import named, value
from m3d_condense.data.pruning import pruned
from m3d_condense.data.raster import readable_endings
from m3d_condense.data.splits import some
from m3d_condense.data.tree import listing, tree
from m3d_condense.machine.memory import available_memory, readable
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

DEEPEST, MOST = 3, 20  # levels of folders that are looked through, and folders in one of them
ONE_ARRAY = "one array; save images and labels in one file, with numpy.savez"

Reader = Callable[[Path, Sequence[str]], tuple[Given, Collection[str]]]
"""Takes a folder and the names of its files; gives the data and the names of the files that were read."""


def read(path: Path, layout: str | None) -> Given | None:
    """Read a file or a folder of arrays; None where it is of none of these formats.

    `layout` says how the arrays of a file lie. Raises UserError for files that are damaged, pickled or not whole, and
    for a part of a data set.
    """
    kind = path.suffix.lower()
    if path.is_dir():
        given = of_folder(path)
        if given is not None and layout is not None:
            raise UserError(f"{path} holds files of a known layout; leave it out", setting="layout", value=layout)
        return given
    if not path.is_file():  # a pipe would be waited for
        return None
    if kind == ".npz":
        return _npz(path)
    if kind == ".mat":
        return matlab.read_file(path, layout=layout)
    if kind == ".npy":
        raise UserError(f"{path} holds {ONE_ARRAY}")
    beside = _listed(path.parent)[0] if path.name in ("train.bin", "test.bin") else []
    if idx.is_named(path.name) or cifar.is_batch(path.name) or cifar.is_hundred(path.parent, beside):
        raise UserError(f"{path} is one file of several; give the folder that holds them all")
    return None


def _npz(path: Path) -> Given:
    if not zipfile.is_zipfile(path):
        raise UserError(f"cannot read {path}: it is no .npz archive, or not whole; save plain arrays with numpy.savez")
    _make_sure_of_room(path)
    with np.load(path, allow_pickle=False) as file:
        return named(file.files, functools.cache(lambda key: value(file, key, str(path))), str(path))


def _make_sure_of_room(path: Path) -> None:
    """Raise UserError where the arrays of an archive, by what its directory says of them, do not fit in free memory."""
    with zipfile.ZipFile(path) as archive:
        need, free = sum(entry.file_size for entry in archive.infolist()), available_memory()
    if free is not None and need > free:
        raise UserError(
            f"{path} holds {readable(need)} of arrays, and {readable(free)} of memory are free; store images as uint8, "
            "fewer of them, or as a folder of images, which are read one by one"
        )


def of_folder(folder: Path) -> Given | None:
    """Read a folder of one of these formats, or one that holds it some levels down; None where there is none.

    Says which files are not used. Raises UserError for damaged files, for several data sets, and for pickles.
    """
    homes = _homes(folder, DEEPEST)
    if not homes:
        return None
    if len(homes) > 1:
        raise UserError(f"{folder} holds several data sets: {', '.join(map(str, homes))}; give one of them")
    ((home, reader),) = homes.items()
    classes = _classes_beside(folder)
    if classes:
        advice = "Move" if home == folder else f"Give {home}, or move"
        raise UserError(
            f"{folder} holds folders of images ({some(classes)}) and arrays in {home}: which are the data? "
            f"{advice} the others away"
        )
    given, used = reader(home, _listed(home)[0])
    way = [home, *home.parents]
    way = way[: way.index(folder) + 1]
    read = {home / name for name in used} | set(way)
    beside = [level / name for level in reversed(way) for names in _listed(level) for name in names]
    unused = [path for path in beside if path not in read]
    if unused:
        shown = ", ".join(str(path.relative_to(folder)) for path in unused[:8])
        notice(f"Not used of {folder}: {shown}{', …' if len(unused) > 8 else ''} ({len(unused)} in all)")
    return given


def _homes(folder: Path, depth: int) -> dict[Path, Reader]:
    """The folders of a known format, this one or some below it, and how to read them."""
    files, folders = _listed(folder)
    reader = _reader(folder, files)
    if reader is not None:
        return {folder: reader}
    if depth == 0 or len(folders) > MOST:
        return {}
    return {home: found for name in folders for home, found in _homes(folder / name, depth - 1).items()}


def _classes_beside(folder: Path) -> tuple[str, ...]:
    """The classes that the folders of pictures in a folder would be, if each held several pictures; else none."""
    endings = readable_endings()
    try:
        rest, _ = pruned(tree(listing(folder, endings)[0], endings), str(folder))
        filled = rest.without([below for below in rest.folders if below.count == 0])  # one of these holds the arrays
        read = pictures_layout(filled, {}, shown=str(folder))
    except UserError:
        return ()
    counts = Counter(read.parts[0].labels)
    return read.classes if min(counts.values()) > 1 else ()


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder, sorted, without those that are hidden.

    Links to folders are not entered, for they may lead in circles, and neither is what cannot be listed; pipes and the
    like are no files.
    """
    try:
        with os.scandir(folder) as entries:
            shown = [one for one in entries if not one.name.startswith((".", "__")) and (one.is_file() or one.is_dir())]
    except OSError:
        return [], []
    folders = {entry.name for entry in shown if entry.is_dir(follow_symlinks=False)}
    return sorted(entry.name for entry in shown if entry.name not in folders), sorted(folders)


def _reader(folder: Path, files: Sequence[str]) -> Reader | None:
    """Tell the format of a folder by the names of its files."""
    if any(idx.is_named(name) for name in files):
        return idx.read_folder
    if any(cifar.is_batch(name) for name in files):
        return cifar.read_ten
    if cifar.is_hundred(folder, files):
        return cifar.read_hundred
    if cifar.is_unread(folder, files):
        return cifar.refuse
    if any(matlab.split_of(name) == "train" and matlab.holds_numbers(folder / name) for name in files):
        return matlab.read_folder
    return None
