"""IDX files, the format of MNIST: a header of a type and lengths, then numbers in a row; compressed by gzip or not."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.arrays import Given, GivenSplit, Images, of_array
from m3d_condense.data.axes import layout_of
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

NAME = re.compile(
    r"(?P<set>(.*[-_.])?)(?P<split>train|t10k|test)[-_.](?P<kind>images?|labels?)[-_.]idx\d([-_.]\w+)?(\.gz)?", re.I
)
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
QMNIST = 8  # columns of its labels: the class, and seven of where the digit comes from
AGAIN = "it is damaged or not whole; fetch it again"


def is_named(name: str) -> bool:
    """Whether a file's name is one of IDX, such as train-images-idx3-ubyte.gz or t10k-labels.idx1-ubyte."""
    return "idx" in name.lower() and NAME.fullmatch(name) is not None  # the first is quick where there are many files


def read_folder(folder: Path, files: Sequence[str]) -> tuple[Given, Collection[str]]:
    """Read the four files of a folder, or two without a test split; returns also the names of what was read.

    Raises UserError for a file that is missing or damaged, and for a folder of several data sets.
    """
    sets: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name in files:
        match = NAME.fullmatch(name)
        if match is not None:
            split = "train" if match["split"].lower() == "train" else "test"
            kinds = sets.setdefault(match["set"], {})
            kinds.setdefault((split, match["kind"][0].lower()), []).append(name)
    if len(sets) > 1:
        names = ", ".join(name.strip("-_.") or "one without a name" for name in sets)
        raise UserError(f"{folder} holds the files of several data sets, {names}; put each into a folder of its own")
    ((prefix, found),) = sets.items()
    chosen = {part: min(names, key=lambda name: name.endswith(".gz")) for part, names in found.items()}
    splits = [split for split in ("train", "test") if split == "train" or {(split, "i"), (split, "l")} & chosen.keys()]
    pairs = [_pair(folder, chosen, split) for split in splits]
    turned = prefix.lower().startswith("emnist")
    if turned:
        pairs = [GivenSplit(images=_images(np.swapaxes(pair.images, 1, 2)), labels=pair.labels) for pair in pairs]
        notice(f"{folder}: the images of EMNIST are stored on their side, and are turned upright")
    else:
        pairs = [GivenSplit(images=_images(pair.images), labels=pair.labels) for pair in pairs]
    return Given(pairs=pairs, mirrored=not turned), set(chosen.values())


def _pair(folder: Path, chosen: dict[tuple[str, str], str], split: str) -> GivenSplit:
    """The arrays of one split, as many labels as images."""
    missing = [kind for kind, letter in (("images", "i"), ("labels", "l")) if (split, letter) not in chosen]
    if missing:
        raise UserError(
            f"{folder}: the {split} {' and '.join(missing)} are missing; fetch all four files of the data set"
        )
    names = chosen[split, "i"], chosen[split, "l"]
    images, labels = (read_file(folder / name) for name in names)
    if labels.ndim == 2 and labels.shape[1] == QMNIST:
        notice(f"{folder / names[1]}: the first of {QMNIST} columns is the label, as in QMNIST")
        labels = labels[:, 0]
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {len(images)} images in {names[0]}, but {len(labels)} labels in {names[1]}: {AGAIN}"
        )
    return GivenSplit(images=images, labels=labels)


def _images(images: NDArray[Any]) -> Images:
    return of_array(images, "NHW" if images.ndim == 3 else layout_of(images.shape))


def read_file(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file; raises UserError, with the path, for one that is damaged or not whole."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":  # whatever its name: browsers and archivers take gzip off, and leave it on
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}: {AGAIN}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or data[3] == 0:
        raise UserError(f"{path} does not begin like an IDX file: {AGAIN}")
    begin = 4 + 4 * data[3]
    kind = np.dtype(TYPES[data[2]])
    shape = struct.unpack(f">{data[3]}I", data[4:begin]) if len(data) >= begin else ()
    expected = begin + kind.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise UserError(f"{path} holds {len(data)} bytes where its header announces {expected}: {AGAIN}")
    return np.frombuffer(data, dtype=kind, offset=begin).reshape(shape)
