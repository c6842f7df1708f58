"""CIFAR-10 and CIFAR-100 in their binary version: records of one or two labels and 3×32×32 pixels."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.arrays import Given, GivenSplit, of_array
from m3d_condense.data.idx import AGAIN
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

BATCH = re.compile(r"(data_batch_\d+|test_batch)\.bin")
PICKLED = b"\x80"  # the first byte of a pickle
PIXELS = 3 * 32 * 32  # of an image: all of red, then green, then blue


def is_batch(name: str) -> bool:
    """Whether a file's name is one of CIFAR-10's, such as data_batch_1.bin."""
    return BATCH.fullmatch(name) is not None


def is_hundred(folder: Path, files: Sequence[str]) -> bool:
    """Whether the files of a folder are CIFAR-100's: their names are common, so that one more sign is asked for."""
    if "train.bin" not in files:
        return False
    return "fine_label_names.txt" in files or _of_records(folder, ("train.bin", "test.bin"), 2)


def is_unread(folder: Path, files: Sequence[str]) -> bool:
    """Whether the files of a folder are CIFAR's version for Python or MATLAB."""
    if {"data_batch_1", "test_batch"} <= set(files) or "data_batch_1.mat" in files:
        return True
    if not {"train", "test", "meta"} <= set(files):
        return False
    with (folder / "meta").open("rb") as file:
        return file.read(1) == PICKLED


def refuse(folder: Path, files: Sequence[str]) -> tuple[Given, Collection[str]]:
    """Raise UserError that says which version is read."""
    name = "cifar-10-binary.tar.gz" if "data_batch_1" in "".join(files) else "cifar-100-binary.tar.gz"
    raise UserError(
        f"{folder} is CIFAR's version for Python or MATLAB, whose files are not read (a pickle may run any program): "
        f"take the binary version, {name}, and unpack it"
    )


def read_ten(folder: Path, files: Sequence[str]) -> tuple[Given, Collection[str]]:
    """Read records of a label and an image; returns also the names of the files that were read."""
    batches = [name for name in files if is_batch(name)]
    train = [name for name in batches if name.startswith("data")]
    wanted = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    missing = [name for name in wanted if name not in batches]
    if not train:
        raise UserError(f"{folder} holds no data_batch_1.bin: fetch all of CIFAR-10's binary version again")
    if missing:
        notice(f"{folder}: without {', '.join(missing)}, {len(missing)} of the {len(wanted)} files of CIFAR-10")
    parts = [train] + [[name] for name in batches if name not in train]
    names, used = _class_names(folder, "batches.meta.txt", files)
    pairs = [_records(folder, part, 1, len(names) or 10) for part in parts]
    return Given(pairs=pairs, class_names=names, partial=True), {*batches, *used}


def read_hundred(folder: Path, files: Sequence[str]) -> tuple[Given, Collection[str]]:
    """Read records of a coarse label, a fine label and an image; returns also the names of the files."""
    parts = [name for name in ("train.bin", "test.bin") if name in files]
    names, used = _class_names(folder, "fine_label_names.txt", files)
    pairs = [_records(folder, [name], 2, len(names) or 100) for name in parts]
    notice(f"{folder}: the fine labels of CIFAR-100 are the classes; the coarse ones are not used")
    return Given(pairs=pairs, class_names=names, partial=True), {*parts, *used}


def _class_names(folder: Path, name: str, files: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the classes, one a line, and the file they were read from."""
    if name not in files:
        notice(f"{folder}: without {name}, the classes have numbers for names")
        return [], []
    lines = (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()], [name]


def _records(folder: Path, names: Sequence[str], labels: int, classes: int) -> GivenSplit:
    """The images and the last of the labels of the records of some files."""
    tables: list[NDArray[np.uint8]] = []
    for name in names:
        path = folder / name
        size = path.stat().st_size
        if not _of_records(folder, [name], labels):
            raise UserError(f"{path} holds {size} bytes, no whole number of records of {labels + PIXELS}: {AGAIN}")
        table = np.fromfile(path, dtype=np.uint8).reshape(-1, labels + PIXELS)
        highest = int(table[:, labels - 1].max())
        if highest >= classes:
            raise UserError(f"{path} holds the label {highest}, of {classes} classes: {AGAIN}")
        tables.append(table)
    if len({len(table) for table in tables}) > 1:
        counts = ", ".join(f"{len(table)} in {name}" for name, table in zip(names, tables, strict=True))
        notice(f"The batches of {folder} differ in their number of images: {counts}")
    records = np.concatenate(tables)
    images = records[:, labels:].reshape(-1, 3, 32, 32)
    return GivenSplit(images=of_array(images, "NCHW"), labels=records[:, labels - 1])


def _of_records(folder: Path, names: Sequence[str], labels: int) -> bool:
    """Whether there are files of these names, and each holds a whole number of records."""
    sizes = [(folder / name).stat().st_size if (folder / name).is_file() else 0 for name in names]
    return all(size > 0 and size % (labels + PIXELS) == 0 for size in sizes)
