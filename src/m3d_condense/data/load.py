"""`load`: a data set of any source, as 8-bit tensors with labels and class names.

Legend: N images, K classes, C×H×W pixels. Images are 8-bit, grey (C = 1) only if every image of both splits
is grey, RGB (C = 3) otherwise: a palette counts as colour, transparency is laid on white, 16-bit grey is
scaled to 8 bits, CMYK becomes RGB, and the orientation in the EXIF data is applied.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.data.decoding import decode
from m3d_condense.data.kept import decoded, remembered
from m3d_condense.data.pictures import Labels, eight_bit, resized
from m3d_condense.data.raster import Pixels
from m3d_condense.data.sources import HUB_SETS, UNMIRRORED, encode, find
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

TEST_SHARE = 0.2  # of each class, where a source has no test split
NPZ_KEYS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels"),
    ("x", "y"),
)


def load(
    data: Any,
    *,
    size: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    test: tuple[Any, Any] | None = None,
) -> ImageDataset:
    """Make an `ImageDataset` of a name, a hub id, a path, a list of parquet files, or ``(images, labels)``.

    Names are ``digits`` and those of `sources.HUB_SETS`; a path is an image folder, a folder of parquet
    files, a ``.parquet`` or an ``.npz``; arrays and ``.npz`` hold uint8, or floats in [0, 1], as N×H×W,
    N×H×W×C or N×C×H×W. `size` resizes the shorter side and crops the centre to size×size. Without a test
    split, `seed` draws one from a fifth of each training class. `test` goes with arrays. Raises UserError for
    data that cannot be found, read or told apart, for fewer than two classes, and for a class without images.
    """
    options = {"size": size, "image_column": image_column, "label_column": label_column, "seed": seed}
    if isinstance(data, ImageDataset):
        if image_column or label_column or test or (size is not None and data.size != (size, size)):
            raise UserError(f"{data.name} is loaded already: give the other arguments where it was loaded")
        return data
    if size is not None and not (isinstance(size, int) and size >= 1):
        raise UserError(f"size is a whole number of pixels, at least 1, not {size!r}")
    data, name = _named(data)
    if test is not None and not isinstance(data, tuple):
        raise UserError("test=(images, labels) goes with (images, labels) arrays only")
    return remembered(data, options, partial(_read, data, name, test, options))


def _read(data: Any, name: str, test: tuple[Any, Any] | None, options: dict[str, Any]) -> ImageDataset:
    """Read what is not in the cache."""
    size, seed = options["size"], options["seed"]
    if isinstance(data, tuple):
        splits, class_names = _from_arrays([data] if test is None else [data, test], size)
    elif data == "digits":
        splits, class_names = _digits(size)
    elif isinstance(data, str) and data.lower().endswith(".npz") and Path(data).is_file():
        splits, class_names = _from_npz(Path(data), size)
    else:
        rows, class_names = find(data, options["image_column"], options["label_column"])
        _check(rows[0].labels, class_names)
        splits = _splits(decoded(rows, size, name, decode), [split.labels for split in rows])
    if len(splits) == 1:
        if name != "digits":
            notice(f"{name} has no test split: {TEST_SHARE:.0%} of each class is held out, with seed {seed}")
        splits = [splits[0][indices] for indices in _stratified(splits[0].labels, seed)]
    mirrored = not (isinstance(data, str) and data.partition(":")[0] in UNMIRRORED)
    source = {"data": None if isinstance(data, tuple) else data, **options}
    return ImageDataset(
        name=name, train=splits[0], test=splits[1], class_names=class_names, source=source, mirrored=mirrored
    )


def _named(data: Any) -> tuple[Any, str]:
    """The data in the form kept in `source`, paths made absolute, and a short name."""
    many = isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(x, str | os.PathLike) for x in data)
    if many:
        paths = [_expanded(path).absolute() for path in data]
        return [str(path) for path in paths], paths[0].parent.name
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        path = _expanded(text)
        if text == "digits" or text in HUB_SETS or not path.exists():
            return text, text.rpartition("/")[2].replace(":", "-")
        path = path.absolute()
        return str(path), path.name if path.is_dir() else path.stem
    if isinstance(data, list | tuple) and len(data) == 2:
        return tuple(data), "arrays"
    raise UserError("data is a name, a path, a list of parquet files, or (images, labels); arrays must be given again")


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~someone, who has no home here
        raise UserError(f"cannot find {os.fspath(path)}: its home is unknown; write the path in full") from error


def _digits(size: int | None) -> tuple[list[Split], tuple[str, ...]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _from_arrays([(digits.images / 16, digits.target)], size)


def _from_npz(path: Path, size: int | None) -> tuple[list[Split], tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key.lower(): file[key] for key in file.files}
    except Exception as error:  # a damaged archive may raise anything
        raise UserError(f"cannot read {path}: {error}; save plain arrays with numpy.savez") from error
    keys = next((keys for keys in NPZ_KEYS if keys[0] in arrays and keys[1] in arrays), None)
    if keys is None:
        wanted = " or ".join(", ".join(keys) for keys in NPZ_KEYS)
        raise UserError(f"{path} holds {', '.join(arrays)}; name the arrays {wanted}")
    found = [arrays[key] for key in keys if key in arrays]
    names = [str(name) for name in arrays.get("class_names", ())]
    return _from_arrays(list(zip(found[::2], found[1::2], strict=False)), size, names)


def _from_arrays(
    pairs: Iterable[tuple[Any, Any]], size: int | None, names: Sequence[str] = ()
) -> tuple[list[Split], tuple[str, ...]]:
    images, labels = [], []
    for pixels, values in pairs:
        classes = _array(values)
        images.append(resized(eight_bit(_array(pixels)), size))
        if classes.shape != (len(images[-1]),):
            raise UserError(f"{len(images[-1])} images, but labels of shape {classes.shape}: give one label an image")
        if classes.dtype.kind not in "iubUO":
            raise UserError(f"labels of type {classes.dtype}: give integers or strings")
        labels.append(classes.astype(str).tolist() if classes.dtype.kind == "O" else classes.tolist())
    encoded, class_names = encode(labels, names)
    _check(encoded[0], class_names)
    return _splits(images, encoded), class_names


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _splits(images: Sequence[Pixels], labels: Sequence[Labels]) -> list[Split]:
    """Splits of one size, all grey or all RGB."""
    if len({pixels.shape[2:] for pixels in images}) > 1:
        sizes = " and ".join(f"{pixels.shape[3]}×{pixels.shape[2]}" for pixels in images)
        raise UserError(
            f"train and test images differ in size, {sizes} pixels; give {Setting('size', 'N')} to make them N×N"
        )
    channels = max(pixels.shape[1] for pixels in images)
    images = [p if p.shape[1] == channels else np.repeat(p, channels, axis=1) for p in images]
    pairs = zip(images, labels, strict=True)
    return [Split(images=torch.from_numpy(x), labels=torch.from_numpy(y)) for x, y in pairs]


def _check(labels: Labels, class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2:
        raise UserError(f"only one class ({', '.join(class_names)}): at least two are needed")
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        raise UserError(f"no training image of {', '.join(empty[:5])}; add some or remove the class")


def _stratified(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of what stays and of what is held out: a share of each class with two images or more."""
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for number in range(int(labels.max()) + 1):
        members = torch.nonzero(labels == number).flatten()
        count = max(1, round(TEST_SHARE * len(members))) if len(members) > 1 else 0
        held_out[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    if not held_out.any():
        raise UserError("one image a class leaves none to test on; give a test split")
    return torch.nonzero(~held_out).flatten(), torch.nonzero(held_out).flatten()
