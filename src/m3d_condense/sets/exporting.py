"""A condensed set in the files of other tools: an image folder, npz, parquet, webdataset, or tensors for torch.load.

Every form holds the decoded images, which a network trains on, or with `stored` the images as they are stored. They are
8-bit, decoded ones rounded; only ``pt`` holds what `CondensedSet.decode` gives. Soft labels, which are of the decoded
images, go with these into every form that has a place for them. Each form leaves a mark, which its
readers pass over, so that an export may be written again and nothing else is written over.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet  # type: ignore[import-untyped]
from torch import Tensor

from m3d_condense.data.exported import CLASSES, tell_classes, written
from m3d_condense.data.labels import as_name
from m3d_condense.recipes.given import checked
from m3d_condense.recipes.recipe import FULL
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.tables import eight_bit_batches, png, write_table
from m3d_condense.sets.text import one_line
from m3d_condense.sets.torch_files import read_torch
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import check_folder, check_place, write_file, write_folder
from m3d_condense.tools.locks import check_writable
from m3d_condense.tools.places import check_outside_data
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import distinct

NAME_LENGTH = 60  # letters of a class name in a folder's name: 240 bytes at most, of 255 that a name may have
SYSTEM = r"((con|prn|aux|nul|com\d|lpt\d)(\..*)?)?"  # names that Windows reserves, and no name at all
RESERVED = re.compile(rf"{SYSTEM}|{re.escape(CLASSES)}", re.IGNORECASE)
MARK = "m3d-condense"  # of a file that was exported


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a set is exported as.

    Attributes:
        text: what it is, for the help.
        write: writes a set, decoded or stored, to an empty file, or into an empty folder.
        ours: tells of what is at a path whether it was written so; any error means no.
        folder: whether it is a folder.
        soft: which soft labels it holds: "none", those of "decoded" images, or "all", beside stored images too, each
            of which is several decoded ones.
    """

    text: str
    write: Callable[[CondensedSet, Path, bool], None]
    ours: Callable[[Path], bool]
    folder: bool = False
    soft: Literal["none", "decoded", "all"] = "decoded"


@checked
def export(
    condensed: CondensedSet, target: str | Path, form: str, *, stored: bool = False, overwrite: bool = False
) -> Path:
    """Write a condensed set in another form, whole or not at all.

    Args:
        condensed: the set.
        target: the file to write; a folder for ``png``.
        form: a key of `FORMS`: ``png`` (one sub-folder of images a class, and a file that names the classes where the
            folders do not tell them in their order), ``npz`` (arrays images, N×H×W×C or N×H×W uint8, labels and
            class_names), ``parquet`` (columns image and label, as `datasets` reads them), ``webdataset`` (a tar of
            NUMBER.png, NUMBER.cls and NUMBER.json) or ``pt`` (a dict that ``torch.load`` reads with
            weights_only=True, of images, labels, class_names, factor, bits, mean and std). Soft labels are an
            array ``soft_labels`` in ``npz``, an entry of this name, as stored, in ``pt``, a column ``probabilities``
            in ``parquet``, and so named in each NUMBER.json.
        stored: write the images as they are stored instead of decoded.
        overwrite: write over an older export of the same form at `target`; over nothing else.

    Raises:
        UserError: the form is unknown, something is at `target`, or that lies in a set or among the data of this one.
        OSError: the system cannot write; what was at `target` is still there.
    """
    if form not in FORMS:
        raise UserError(f"one of {', '.join(FORMS)}", setting="form", value=form)
    path, chosen = Path(target), FORMS[form]
    check_export(path, form, overwrite=overwrite)
    check_outside_data(path, condensed.source.get("data"))
    if condensed.soft_labels is not None and chosen.soft == "none":
        notice(f"{path}: a {form} export has no place for soft labels, and holds the classes alone")
    elif condensed.soft_labels is not None and chosen.soft == "decoded" and _soft(condensed, stored) is None:
        notice(f"{path}: holds no soft labels: each stored image is several decoded ones, which these are of")
    if chosen.folder:
        with write_folder(path, replaceable=lambda folder: overwrite and _is_ours(folder, chosen)) as new:
            chosen.write(condensed, new, stored)
    else:
        with write_file(path) as new:
            chosen.write(condensed, new, stored)
    return path


def check_export(path: Path, form: str, *, overwrite: bool) -> None:
    """Raise `UserError` if `export` would refuse `path`: call it before anything that takes long."""
    chosen = FORMS[form]
    check_place(path)
    there = path.exists() and not (chosen.folder and path.is_dir() and not any(path.iterdir()))
    if there and _is_ours(path, chosen):
        if not overwrite:
            raise UserError(f"{path} is there already; choose another name, or give {Setting('overwrite', True)}")
    elif there:
        other = _other_file(path) if chosen.folder else None
        if other is not None:
            raise UserError(f"{path} is there already, and holds {other} beside an export; move that away")
        raise UserError(f"{path} is there already, and is no {form} export; choose another name")
    if chosen.folder:
        check_folder(path, lambda folder: overwrite)
    check_writable(path)


def _is_ours(path: Path, form: Form) -> bool:
    """Whether an export of this form is at a path."""
    if form.folder != path.is_dir():
        return False
    try:
        return form.ours(path)
    except Exception:  # what is no such file may raise anything when it is read as one
        return False


def _images(condensed: CondensedSet, stored: bool) -> Iterator[tuple[int, Tensor, int]]:
    """Yield the number of each image in the set, the image as C×H×W uint8, and its label."""
    number = 0
    for images, labels in eight_bit_batches(condensed, stored=stored):
        for image, label in zip(images, labels.tolist(), strict=True):
            yield number, image, label
            number += 1


def _soft(condensed: CondensedSet, stored: bool) -> Tensor | None:
    """Return the probabilities of the images that are exported, float32, a row each; None where there are none."""
    tiled = stored and condensed.factor > 1
    return None if condensed.soft_labels is None or tiled else condensed.soft_labels.decode()


def _write_image_folder(condensed: CondensedSet, folder: Path, stored: bool) -> None:
    names = folder_names(condensed.class_names)
    for name in names:
        (folder / name).mkdir()
    mark = PngInfo()
    mark.add_text("Software", MARK)
    paths = []
    for number, image, label in _images(condensed, stored):
        paths.append(f"{names[label]}/{number:06}.png")
        (folder / paths[-1]).write_bytes(png(image, mark))
    if not tell_classes(paths, condensed.class_names):
        (folder / CLASSES).write_bytes(written(names, condensed.class_names))
        notice(f"The names of the folders alone do not tell the classes and their order: {CLASSES} beside them does")


def _is_image_folder(folder: Path) -> bool:
    return all(map(_is_marked_png, _image_files(folder)))


def _other_file(folder: Path) -> Path | None:
    """Return a file that lies in a folder of exported images beside these; None where there are none of these."""
    files = _image_files(folder)
    others = [file for file in files if not _is_marked_png(file)]
    return others[0].relative_to(folder) if 0 < len(others) < len(files) else None


def _image_files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.rglob("*") if not entry.is_dir() and entry != folder / CLASSES)


def _is_marked_png(file: Path) -> bool:
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            return picture.info.get("Software") == MARK
    except Exception:  # what is no picture may raise anything when it is read as one
        return False


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Return names of folders for classes: distinct on every file system, without what a path gives a meaning."""
    plain = [re.sub(r'[/\\:*?"<>|]', "_", one_line(name))[:NAME_LENGTH].strip(" .") for name in class_names]
    named = [f"class {k}" if RESERVED.fullmatch(name) else name for k, name in enumerate(plain)]
    if len({as_name(name).casefold() for name in named}) == len(named):
        return named
    return [f"{number} {name}" for number, name in enumerate(named)]


def _write_npz(condensed: CondensedSet, file: Path, stored: bool) -> None:
    batches = list(eight_bit_batches(condensed, stored=stored))
    images = torch.cat([images for images, _ in batches]).permute(0, 2, 3, 1).squeeze(3)
    labels = torch.cat([labels for _, labels in batches])
    soft = _soft(condensed, stored)
    arrays: dict[str, Any] = {"images": images.numpy(), "labels": labels.numpy()}
    arrays["class_names"] = np.array(condensed.class_names, dtype=np.str_)
    if soft is not None:
        arrays["soft_labels"] = soft.numpy()
    with file.open("wb") as sink:
        np.savez_compressed(sink, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = MARK.encode()


def _is_npz(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return archive.comment == MARK.encode()


def _write_parquet(condensed: CondensedSet, file: Path, stored: bool) -> None:
    write_table(condensed, file, stored=stored, made_by=MARK, probabilities=_soft(condensed, stored))


def _is_parquet(file: Path) -> bool:
    return (parquet.read_schema(file).metadata or {}).get(b"made_by") == MARK.encode()


def _write_webdataset(condensed: CondensedSet, file: Path, stored: bool) -> None:
    names, soft = distinct(condensed.class_names, "{} ({})"), _soft(condensed, stored)
    with file.open("wb") as sink, tarfile.open(fileobj=sink, mode="w", pax_headers={"comment": MARK}) as archive:
        for number, image, label in _images(condensed, stored):
            said: dict[str, Any] = {"label": label, "class_name": names[label]}
            if soft is not None:
                said["probabilities"] = soft[number].tolist()
            text = json.dumps(said).encode()
            for ending, data in (("png", png(image)), ("cls", str(label).encode()), ("json", text)):
                entry = tarfile.TarInfo(f"{number:06}.{ending}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def _is_webdataset(file: Path) -> bool:
    with tarfile.open(file, mode="r:") as archive:
        return archive.pax_headers.get("comment") == MARK


def _write_pt(condensed: CondensedSet, file: Path, stored: bool) -> None:
    images, labels = (condensed.images, condensed.labels) if stored else condensed.decode()
    content: dict[str, Any] = {
        "images": images,
        "labels": labels,
        "class_names": list(condensed.class_names),
        "factor": condensed.factor if stored else 1,
        "bits": condensed.bits if stored or condensed.factor == 1 else FULL,
        "mean": list(condensed.mean),
        "std": list(condensed.std),
        "made_by": MARK,
    }
    if condensed.soft_labels is not None:
        content["soft_labels"] = condensed.soft_labels.probabilities
    with file.open("wb") as sink:  # a path would be stored in it
        torch.save(content, sink)


def _is_pt(file: Path) -> bool:
    content = read_torch(file)
    return isinstance(content, dict) and content.get("made_by") == MARK


FORMS: dict[str, Form] = {
    "png": Form(
        text="a folder of images a class", write=_write_image_folder, ours=_is_image_folder, folder=True, soft="none"
    ),
    "npz": Form(text="arrays for numpy", write=_write_npz, ours=_is_npz),
    "parquet": Form(text="a table of images", write=_write_parquet, ours=_is_parquet),
    "webdataset": Form(text="a tar of images", write=_write_webdataset, ours=_is_webdataset),
    "pt": Form(text="tensors for torch.load", write=_write_pt, ours=_is_pt, soft="all"),
}
"""By name, as they are listed: a new form is written here."""
