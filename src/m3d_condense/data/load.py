"""`load`: a data set of any source, as 8-bit tensors with labels and class names.

Legend: N images, K classes, C×H×W pixels. Images are 8-bit, grey (C = 1) only if every image of both splits
is grey, RGB (C = 3) otherwise: a palette counts as colour, transparency is laid on white, 16-bit grey is
scaled to 8 bits, CMYK becomes RGB, and the orientation in the EXIF data is applied.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m3d_condense.data import formats
from m3d_condense.data.arrays import Given, GivenSplit, Images, converted, images_of, levels
from m3d_condense.data.axes import checked
from m3d_condense.data.classes import Classes, asked_for, chosen_rows, numbers_of, renumbered
from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.data.decoding import decode
from m3d_condense.data.dividing import divided
from m3d_condense.data.hub import hub_id
from m3d_condense.data.kept import decoded, remembered
from m3d_condense.data.labels import are_mirrored, as_name, encode, labelled_rows
from m3d_condense.data.memory import given_of, tables_of
from m3d_condense.data.pictures import Labels, Rows, translated
from m3d_condense.data.sources import HUB_SETS, UNMIRRORED, exists, find, labelled
from m3d_condense.data.splitting import as_splits, check, check_tested, draw_test_split, notice_odd, without_absent
from m3d_condense.data.store import Store, recalled
from m3d_condense.data.targets import check_one_hot, label_count, label_list
from m3d_condense.machine.group import current
from m3d_condense.recipes.given import checked as checked_arguments
from m3d_condense.recipes.recipe import check_count
from m3d_condense.tools.errors import UserError

LARGEST = 2**16  # pixels a side that images are resized to


@checked_arguments
def load(
    data: Any,
    *,
    size: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    seed: int = 0,
    test: Any = None,
    layout: str | None = None,
    classes: Classes | None = None,
) -> ImageDataset:
    """Make an `ImageDataset` of a name, a hub id, a path, a list of parquet files, or what lies in memory.

    Names are ``digits`` and those of `sources.HUB_SETS`. A path is an image folder, a folder of parquet files or of
    the binary files of MNIST, CIFAR or SVHN, a ``.parquet``, ``.npz`` or ``.mat``. In memory, it takes ``(images,
    labels)``, ``((images, labels), (images, labels))`` of training and test, a dictionary of arrays, a torch data set
    of (image, label), and a ``datasets.Dataset``; docs/data.md has the rules of them all.

    What took longer than two seconds to decode is kept in the cache folder, and read from there while the source's
    files stay as they are; ``M3D_CACHE`` says where, ``M3D_CACHE_LIMIT`` how many GiB, 0 keeps nothing
    but images that the memory has no room for.

    Args:
        data: the source; what was loaded already passes through.
        size: the shorter side is resized to it, and the centre cropped to size×size.
        image_column, label_column: of tables, where they cannot be told.
        seed: of the test split, a fifth of each training class, where the data have none.
        test: the test split of data in memory, of the same form.
        layout: of arrays, one of NHW, NHWC and NCHW, where their shape has more than one reading.
        classes: which of them are read, and in what order: "imagenet-10", "imagenet-100", "imagenette" or "imagewoof"
            of ImageNet's; a text file with a class a line, by its name or WordNet id; or these themselves. The images
            of the others are not decoded.

    Raises:
        UserError: for data that cannot be found, read or told apart, for fewer than two classes, and for a class
            without images.
    """
    options = {"image_column": image_column, "label_column": label_column, "layout": checked(layout)}
    if isinstance(data, ImageDataset):
        _check_loaded(data, size, [*options.values(), test, classes])
        return data
    size = None if size is None else check_count("size", size, least=1, most=LARGEST)
    where, name = _named(data)
    if test is not None and where is not None:
        raise UserError("test=(images, labels) goes with data in memory, such as (images, labels), only")
    settings: dict[str, Any] = {"size": size, **options, "seed": seed}
    if (asked := asked_for(classes)) is not None:
        settings["classes"] = asked
    read = partial(_read, data, where, name, test, settings)
    return current().in_turn(lambda: remembered(where, settings, read))


def _read(
    data: Any, where: str | list[str] | None, name: str, test: Any, options: dict[str, Any], store: Store | None
) -> ImageDataset:
    """Read what is not in the cache."""
    size, seed, layout, asked = options["size"], options["seed"], options["layout"], options.get("classes")
    tables = tables_of(data, test)
    given = None if tables is not None else _given(data, where, test, layout, size)
    if given is not None:
        _check_used(options, "image_column", "label_column")
        splits, class_names = _from_arrays(given, size, layout, name, seed, asked)
    else:
        rows, class_names = _rows(where, tables, options["image_column"], options["label_column"], asked)
        if _are_arrays(rows):
            splits = _from_columns(rows, size, layout, name, seed)
        else:
            _check_used(options, "layout")
            splits = _decoded(rows, size, name, seed, store)
    notice_odd(splits, class_names)
    mirrored = _mirrored(where, tables) if given is None else given.mirrored
    mirrored = mirrored and are_mirrored(class_names, _called(where, name))
    train, test = splits
    source = {"data": where, **options}
    return recalled(
        ImageDataset(name=name, train=train, test=test, class_names=class_names, source=source, mirrored=mirrored)
    )


def _check_loaded(data: ImageDataset, size: int | None, others: list[Any]) -> None:
    """Raise UserError where anything is asked of a data set that it is not already."""
    if any(other is not None for other in others) or (size is not None and data.size != (size, size)):
        raise UserError(f"{data.name} is loaded already: give the other arguments where it was loaded")


def _check_used(options: dict[str, Any], *others: str) -> None:
    """Raise UserError for an option that goes with other data."""
    for setting in others:
        if options[setting] is not None:
            goes_with = "arrays" if setting == "layout" else "tables, such as parquet files"
            raise UserError(f"goes with {goes_with} only", setting=setting, value=options[setting])


def _named(data: Any) -> tuple[str | list[str] | None, str]:
    """The data in the form kept in `source`, paths made absolute and None for data in memory, and a short name."""
    many = isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(x, str | os.PathLike) for x in data)
    if any(isinstance(one, str) and not one.strip() for one in (data if many else [data])):
        raise UserError("the name of the data is empty")
    if many:
        paths = [_expanded(path).absolute() for path in data]
        if twice := [name for name, count in Counter(str(path.resolve()) for path in paths).items() if count > 1]:
            raise UserError(f"{twice[0]} is given twice, and its images would be read twice")
        return [str(path) for path in paths], as_name(paths[0].parent.name)
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        path = _expanded(text)
        if text == "digits" or text in HUB_SETS or not exists(path):
            text = hub_id(text) or text
            return text, text.rpartition("/")[2].replace(":", "-")
        path = path.resolve() if ".." in path.parts else path.absolute()
        return str(path), as_name(path.name if path.is_dir() else path.stem)
    plain = isinstance(data, list | tuple | dict | np.lib.npyio.NpzFile)
    return None, "arrays" if plain else type(data).__name__.lower()


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~someone, who has no home here
        raise UserError(f"cannot find {os.fspath(path)}: its home is unknown; write the path in full") from error


def _given(data: Any, where: str | list[str] | None, test: Any, layout: str | None, size: int | None) -> Given | None:
    """Return what is held as arrays, in memory or in files; None for tables and pictures."""
    if where is None:
        return given_of(data, test, layout=layout, size=size)
    if where == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return Given(pairs=[GivenSplit(images=digits.images / 16, labels=digits.target)], mirrored=False)
    if not isinstance(where, str) or where in HUB_SETS or not exists(Path(where)):
        return None
    return formats.read(Path(where), layout)


def _from_arrays(
    given: Given, size: int | None, layout: str | None, name: str, seed: int, asked: list[str] | None
) -> tuple[list[Split], tuple[str, ...]]:
    """Number the classes, choose the rows, and only then convert these to 8 bits: pixels are held once."""
    read: list[tuple[Images, list[Any]]] = []
    check_one_hot([pair.labels for pair in given.pairs])
    for pair in given.pairs:
        known = isinstance(pair.images, Images)
        count = label_count(pair.labels)
        own = pair.images if known else images_of(pair.images, layout=layout, size=size, labels=count)
        read.append((own, label_list(pair.labels, own.count, training=not read)))
    images, values = zip(*divided(read, [pair.told for pair in given.pairs]), strict=True)
    labels, class_names = encode(values, given.class_names)
    rows = labelled_rows(labels)
    if given.partial:
        labels, class_names = without_absent(labels, class_names)
    if asked is not None:
        numbers = numbers_of(asked, class_names)
        labels = renumbered(labels, numbers, class_names)
        rows = [kept[own[kept] >= 0] for own, kept in zip(labels, rows, strict=False)]
        class_names = tuple(class_names[number] for number in numbers)
        check_tested([len(kept) for kept in rows], class_names)
    check(labels[0][rows[0]], class_names)
    parts = list(zip(images, rows, labels, strict=False))  # a test split without labels is left out
    return _converted(parts, size, name, seed), class_names


def _converted(parts: list[tuple[Images, Labels, Labels]], size: int | None, name: str, seed: int) -> list[Split]:
    """Make the splits of images, those of their rows that are used, and the labels of all."""
    found = levels([(images, rows) for images, rows, _ in parts])
    if len(parts) == 1:
        ((images, rows, labels),) = parts
        kept_and_out = draw_test_split(torch.from_numpy(labels[rows]), name, seed)
        parts, found = [(images, rows[indices.numpy()], labels) for indices in kept_and_out], 2 * found
    pixels = [converted(images, rows, white, size) for (images, rows, _), white in zip(parts, found, strict=True)]
    return as_splits(pixels, [labels[rows] for _, rows, labels in parts])


def _rows(
    where: Any,
    tables: dict[str, Any] | None,
    image_column: str | None,
    label_column: str | None,
    asked: list[str] | None,
) -> tuple[list[Rows], tuple[str, ...]]:
    """Find the pictures of the splits, in tables that lie in memory or in what `where` names."""
    if tables is None:
        rows, class_names = find(where, image_column, label_column, asked)
    else:
        rows, class_names = labelled(tables, image_column, label_column)
        labels, class_names = without_absent([split.labels for split in rows], class_names)
        rows = [replace(split, labels=y) for split, y in zip(rows, labels, strict=True)]
    if asked is not None:
        rows, class_names = chosen_rows(rows, numbers_of(asked, class_names), class_names)
        check_tested([len(split.labels) for split in rows], class_names)
    check(rows[0].labels, class_names)
    return rows, class_names


def _are_arrays(rows: list[Rows]) -> bool:
    """Whether the images stand in columns of numbers; raises UserError where those of one split alone do."""
    from m3d_condense.data.nested import ArrayColumn  # and pyarrow, which has come with the tables if there are any

    arrays = {isinstance(split.images, ArrayColumn) for split in rows}
    if len(arrays) > 1:
        raise UserError("one split holds its images as arrays, the other as encoded pictures; give both alike")
    return arrays == {True}


def _from_columns(rows: list[Rows], size: int | None, layout: str | None, name: str, seed: int) -> list[Split]:
    parts = []
    with translated("the table", local=True):
        for split in rows:
            count = np.arange(len(split.labels))
            images = split.images.images(split.name, count if split.rows is None else split.rows, layout)
            parts.append((images, count, split.labels))
        return _converted(parts, size, name, seed)


def _decoded(rows: list[Rows], size: int | None, name: str, seed: int, store: Store | None) -> list[Split]:
    if len(rows) == 1:
        parts = draw_test_split(torch.from_numpy(rows[0].labels), name, seed)
        rows = [replace(rows[0], parts=tuple(part.numpy() for part in parts))]
    labels = [split.labels[part] for split in rows for part in split.divided()]
    return as_splits(decoded(rows, size, name, decode, store), labels)


def _mirrored(where: str | list[str] | None, tables: dict[str, Any] | None) -> bool:
    """Whether mirrored images keep their class, as far as is known of data of the hub."""
    names = {str(where).partition(":")[0]}
    if tables is not None:
        names = {str(getattr(getattr(table, "info", None), "dataset_name", None)) for table in tables.values()}
    return not names & UNMIRRORED


def _called(where: str | list[str] | None, name: str) -> str:
    """Return what data are called, also where their files lie in a folder named raw, as torchvision has them."""
    return Path(where).parent.name if isinstance(where, str) and name == "raw" else name
