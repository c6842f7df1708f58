"""MATLAB files of images and labels, such as SVHN's: H×W×C×N images X and labels y, N×1.

Legend: N images, C×H×W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.arrays import Given, GivenSplit, of_array
from m3d_condense.data.axes import images_last, layout_of
from m3d_condense.data.named import named
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

SPLIT = re.compile(r"(train|test|extra)([-_.].*)?\.mat", re.I)
SVHN = {"train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"}


def split_of(name: str) -> str | None:
    """Return the split that a file's name says, as train_32x32.mat does; None where it says none."""
    match = SPLIT.fullmatch(name)
    return None if match is None else match[1].lower()


def holds_numbers(file: Path) -> bool:
    """Whether a file may hold images: an array of numbers with two sides or more; lists of names have one."""
    from scipy.io import whosmat

    try:
        return any(
            kind not in ("cell", "struct", "object", "char", "function") and sum(side > 1 for side in shape) > 1
            for _, shape, kind in whosmat(file)
        )
    except Exception:  # HDF5 inside, or damaged, which is said where it is read
        return True


def read_folder(folder: Path, files: Sequence[str]) -> tuple[Given, Collection[str]]:
    """Read the training file and the test file of a folder; returns also their names."""
    used = []
    for split in ("train", "test"):
        names = [name for name in files if split_of(name) == split]
        if len(names) > 1:
            raise UserError(f"{folder}: {' and '.join(names)} may both be the {split} split; keep one of them")
        used += names
    read = [read_file(folder / name, alone=False) for name in used]
    for name, one in zip(used, read, strict=True):
        if len(one.pairs) > 1:
            raise UserError(f"{folder / name} holds two splits itself; give its path")
    return Given(pairs=[one.pairs[0] for one in read], class_names=read[0].class_names, mirrored=read[0].mirrored), used


def read_file(path: Path, *, layout: str | None = None, alone: bool = True) -> Given:
    """Read the images and labels of a file, `alone` or beside those of the other split.

    Images lie along the last axis, where the labels are as many as that is long, unless `layout` says how
    they lie. Raises UserError for a file that cannot be read or holds no such arrays, and for a test file alone.
    """
    from scipy.io import loadmat
    from scipy.sparse import issparse

    if alone and split_of(path.name) not in (None, "train"):
        raise UserError(f"{path} is the {split_of(path.name)} split; give its folder, with the training split")
    try:
        arrays = {key: array for key, array in loadmat(path).items() if not key.startswith("__")}
    except NotImplementedError as error:  # HDF5 inside
        raise UserError(f"cannot read {path}: it is of MATLAB 7.3; save it with -v7") from error
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"cannot read {path}: {error}: it is damaged or not whole; fetch it again") from error
    arrays = {key: _texts(array.toarray() if issparse(array) else array) for key, array in arrays.items()}
    given = named(arrays, arrays.__getitem__, str(path))
    if alone and split_of(path.name) == "train":
        others = sorted(one.name for one in path.parent.iterdir() if split_of(one.name) in ("test", "extra"))
        if others:
            notice(f"Not used: {', '.join(others)}, beside {path.name}; give the folder to test on the test split")
    pairs = given.pairs
    svhn = path.name.lower() in SVHN and set(arrays) == {"X", "y"}
    if svhn:
        pairs = [_digits(pair, path) for pair in pairs]
    pairs = pairs if layout is not None else [_upright(pair) for pair in pairs]
    return Given(pairs=pairs, class_names=given.class_names, mirrored=not svhn)


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of texts, of cells too, without the blanks that fill them up; others as they are."""
    if array.dtype == object and all(isinstance(cell, np.ndarray) and _is_text(cell) for cell in array.flat):
        array = np.array([str(cell.item()) for cell in array.flat])
    return np.char.rstrip(array) if array.dtype.kind == "U" else array


def _is_text(array: NDArray[Any]) -> bool:
    return array.size == 1 and array.dtype.kind == "U"


def _upright(pair: GivenSplit) -> GivenSplit:
    """Bring the axis of the images to the front, where the labels tell that it is the last."""
    images, labels = np.asarray(pair.images), np.asarray(pair.labels)
    count = max(labels.shape, default=0)
    if images.ndim >= 3 and images.shape[0] == images.shape[-1] == count:
        raise UserError(
            f"images of shape {images.shape} and {count} labels: does the first or the last axis count the images? "
            "Give them as arrays, images first"
        )
    if not images_last(images.shape, count):
        return replace(pair, images=images, labels=labels)
    images = np.moveaxis(images, -1, 0)
    return replace(pair, images=of_array(images, layout_of(images.shape)), labels=labels)


def _digits(pair: GivenSplit, path: Path) -> GivenSplit:
    """Write the digit 0 as 0, where it is 10 in SVHN's files."""
    labels = np.asarray(pair.labels)
    if labels.dtype.kind not in "iuf" or labels.min() < 1 or labels.max() != 10:
        return pair
    notice(f"{path.name}: the label 10 of SVHN is the digit 0")
    return replace(pair, labels=np.where(labels == 10, 0, labels))
