"""A condensed set in the files of other tools: an image folder, npz, parquet, webdataset, or tensors for torch.load.

Every form holds the decoded images, which a network trains on, or with `stored` the images as they are stored. They are
8-bit, decoded ones rounded; only ``pt`` holds what `CondensedSet.decode` gives.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.tables import distinct, eight_bit_batches, png, write_table
from m3d_condense.sets.text import one_line
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import write_file, write_folder

NAME_LENGTH = 60  # letters of a class name in a folder's name: 240 bytes at most, of 255 that a name may have


def export(condensed: CondensedSet, target: str | Path, form: str, *, stored: bool = False) -> Path:
    """Write a condensed set in another form, whole or not at all.

    Args:
        condensed: the set.
        target: the file to write; a folder for ``png``. Nothing may be there yet, but an empty folder.
        form: ``png`` (one sub-folder of images a class), ``npz`` (arrays images, N×H×W×C or N×H×W uint8, labels and
            class_names), ``parquet`` (columns image and label, as `datasets` reads them), ``webdataset`` (a tar of
            NUMBER.png, NUMBER.cls and NUMBER.json) or ``pt`` (a dict that ``torch.load`` reads with weights_only=True).
        stored: write the images as they are stored instead of decoded.

    Raises:
        UserError: the form is unknown, or something is at `target`.
        OSError: the system cannot write; nothing is left at `target`.
    """
    path = Path(target)
    if form == "png":
        with write_folder(path, replaceable=lambda folder: False) as new:
            _write_image_folder(condensed, new, stored)
        return path
    if form not in WRITERS:
        raise UserError(f"one of png, {', '.join(WRITERS)}", setting="form", value=form)
    if path.exists():
        raise UserError(f"{path} is there already; choose another name")
    with write_file(path) as new:
        WRITERS[form](condensed, new, stored)
    return path


def _images(condensed: CondensedSet, stored: bool) -> Iterator[tuple[int, Tensor, int]]:
    """Yield the number of each image in the set, the image as C×H×W uint8, and its label."""
    number = 0
    for images, labels in eight_bit_batches(condensed, stored=stored):
        for image, label in zip(images, labels.tolist(), strict=True):
            yield number, image, label
            number += 1


def _write_image_folder(condensed: CondensedSet, folder: Path, stored: bool) -> None:
    folders = [folder / name for name in folder_names(condensed.class_names)]
    for class_folder in folders:
        class_folder.mkdir()
    for number, image, label in _images(condensed, stored):
        (folders[label] / f"{number:06}.png").write_bytes(png(image))


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Return names of folders for classes: distinct on every file system, without what a path gives a meaning."""
    plain = [re.sub(r'[/\\:*?"<>|]', "_", one_line(name))[:NAME_LENGTH].strip(" .") for name in class_names]
    named = [name or f"class {number}" for number, name in enumerate(plain)]
    if len({name.casefold() for name in named}) == len(named):
        return named
    return [f"{number} {name}" for number, name in enumerate(named)]


def _write_npz(condensed: CondensedSet, file: Path, stored: bool) -> None:
    batches = list(eight_bit_batches(condensed, stored=stored))
    images = torch.cat([images for images, _ in batches]).permute(0, 2, 3, 1).squeeze(3)
    labels = torch.cat([labels for _, labels in batches])
    with file.open("wb") as sink:
        np.savez_compressed(
            sink,
            images=images.numpy(),
            labels=labels.numpy(),
            class_names=np.array(condensed.class_names, dtype=np.str_),
        )


def _write_parquet(condensed: CondensedSet, file: Path, stored: bool) -> None:
    write_table(condensed, file, stored=stored)


def _write_webdataset(condensed: CondensedSet, file: Path, stored: bool) -> None:
    names = distinct(condensed.class_names)
    with file.open("wb") as sink, tarfile.open(fileobj=sink, mode="w") as archive:
        for number, image, label in _images(condensed, stored):
            said = json.dumps({"label": label, "class_name": names[label]})
            for ending, data in (("png", png(image)), ("cls", str(label).encode()), ("json", said.encode())):
                entry = tarfile.TarInfo(f"{number:06}.{ending}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def _write_pt(condensed: CondensedSet, file: Path, stored: bool) -> None:
    images, labels = (condensed.images, condensed.labels) if stored else condensed.decode()
    content = {
        "images": images,
        "labels": labels,
        "class_names": list(condensed.class_names),
        "factor": condensed.factor if stored else 1,
        "mean": list(condensed.mean),
        "std": list(condensed.std),
    }
    torch.save(content, file)


WRITERS: dict[str, Callable[[CondensedSet, Path, bool], None]] = {
    "npz": _write_npz,
    "parquet": _write_parquet,
    "webdataset": _write_webdataset,
    "pt": _write_pt,
}
