"""Data sets that lie in memory: arrays, lists, dictionaries, and objects that give an image and its label at a time."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from m3d_condense.data.arrays import Given, GivenSplit, of_list, ready, several_frames, tell_frames
from m3d_condense.data.class_names import class_names, differing
from m3d_condense.data.columns import name_twice, unused_columns
from m3d_condense.data.dividing import text_of, told_by
from m3d_condense.data.named import ROLES, TESTS, named, split_of, value
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice, progress

FORMS = (
    "give a name, a path, a list of parquet files, (images, labels), ((images, labels), (images, labels)) of training "
    "and test, a dictionary of arrays, or a data set whose items are (image, label)"
)
TWO_TESTS = "there are two test splits, one in the data and one in test=; give one of them"


def tables_of(data: Any, test: Any = None) -> dict[str, Any] | None:
    """Return the tables by split of a `datasets.Dataset`, of a dictionary of these or of a pair; else None."""
    data, test = _frames(data), None if test is None else _table(test)
    module = sys.modules.get("datasets")
    if module is None:
        return None
    kinds = module.Dataset, module.IterableDataset
    tables: dict[str, Any] = {}
    if isinstance(data, kinds):
        tables = {"train": data}
    elif isinstance(data, dict) and all(isinstance(one, kinds) for one in data.values()):
        tables = dict(data)
    elif isinstance(data, list | tuple) and len(data) == 2 and all(isinstance(one, kinds) for one in data):
        tables = {"train": data[0], "test": data[1]}
    if tables and test is not None:
        if not isinstance(test, kinds):
            raise UserError("test= is not of the type of the data; give both as datasets.Dataset")
        if "test" in tables:
            raise UserError(TWO_TESTS)
        tables["test"] = test
    return tables or None


def _frames(data: Any) -> Any:
    """Return data with data frames and tables of Arrow, one or several by split, as those of `datasets`."""
    if isinstance(data, dict):
        return {key: _table(one) for key, one in data.items()} if all(map(_is_frame, data.values())) else data
    if isinstance(data, list | tuple):
        return [_table(one) for one in data] if len(data) == 2 and all(map(_is_frame, data)) else data
    return _table(data)


def _is_frame(data: Any) -> bool:
    """Whether this is a table that gives its columns to Arrow, as those of pandas, polars and pyarrow do."""
    return hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns")


def _table(data: Any) -> Any:
    """Return a data frame as a table of `datasets`, and anything else as it is."""
    if not _is_frame(data):
        return data
    import datasets
    import pyarrow as pa  # type: ignore[import-untyped]

    pandas = sys.modules.get("pandas")
    try:
        if pandas is None or not isinstance(data, pandas.DataFrame):
            from m3d_condense.data.nested import without_tensors

            return datasets.Dataset(without_tensors(pa.table(data)))
        if (twice := name_twice([str(name) for name in data.columns])) is not None:
            raise UserError(f"the DataFrame has two columns called {twice}: give one of them another name")
        return datasets.Dataset.from_dict({str(name): list(values) for name, values in data.items()})
    except UserError:
        raise
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot read the {type(data).__name__}: {reason}; give (images, labels)") from error


def given_of(data: Any, test: Any = None, *, layout: str | None = None, size: int | None = None) -> Given:
    """Return the splits of what lies in memory, `test` as that split where it is given.

    `layout` and `size` are for images that come one by one. Raises UserError for what has no images and labels.
    """
    if isinstance(data, Mapping) and not _splits_by_name(data):
        where = "the dictionary" if isinstance(data, dict) else "the archive"
        given = named([str(key) for key in data], functools.cache(lambda key: value(data, key, where)), where)
    else:
        given = _joined([_given(one, layout, size) for one in _splits(data)])
    if test is None:
        return given
    if len(given.pairs) > 1:
        raise UserError(TWO_TESTS)
    return _joined([given, _given(test, layout, size)])


def _splits(data: Any) -> list[Any]:
    """Return the training split, and the test split where there is one."""
    if (
        isinstance(data, list | tuple)
        and 2 <= len(data) <= 4
        and not _is_items(data)
        and all(_is_split(one) for one in data)
    ):
        if len(data) > 2:
            raise UserError(f"{len(data)} splits: give two, ((images, labels), (images, labels)) of training and test")
        return list(data)
    if not isinstance(data, Mapping):
        return [data]
    by_word = _splits_by_name(data)
    if "train" not in by_word:
        raise UserError(f"no training split among {', '.join(map(str, data))}; name it train")
    test = next((word for word in TESTS if word in by_word), None)
    if test not in ("test", None):
        notice(f"There is no test split: {by_word[str(test)]} is the test split")
    used = [by_word[word] for word in ("train", test) if word is not None]
    unused = [
        f"{key} ({_length(one[1] if isinstance(one, tuple) else one)} images)"
        for key, one in data.items()
        if key not in used
    ]
    if unused:
        notice(f"Not used: {', '.join(unused)}")
    return [data[key] for key in used]


def _splits_by_name(data: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the keys of splits by what they name, none where the values are arrays and other things."""
    if not all(split_of(str(key)) for key in data) or not all(_is_split(one) for one in data.values()):
        return {}
    return {str(split_of(str(key))): key for key in data}


def _given(split: Any, layout: str | None, size: int | None) -> Given:
    """Return one split: arrays as they are, the items of a data set one by one."""
    if isinstance(split, Mapping):
        return given_of(split, layout=layout, size=size)
    if isinstance(split, DataLoader):
        raise UserError("a DataLoader gives batches, shuffled and cut: give its data set, loader.dataset")
    if isinstance(split, IterableDataset):
        raise UserError("a data set that is only iterated has no number of images: give a list of its items")
    if _is_items(split) or _is_map(split):
        return _of_items(split, layout, size)
    if isinstance(split, list | tuple) and len(split) == 2:
        return Given(pairs=[GivenSplit(images=split[0], labels=split[1])])
    if isinstance(split, list | tuple):
        raise UserError(f"{len(split)} parts: {FORMS}")
    raise UserError(f"data of type {type(split).__name__}: {FORMS}; arrays must be given again")


def _joined(parts: Sequence[Given]) -> Given:
    """Return the splits of several parts as one data set."""
    names = {tuple(part.class_names) for part in parts if part.class_names}
    if len(names) > 1:
        raise UserError(f"training and test data differ in their class names: {differing(names)}")
    pairs = [pair for part in parts for pair in part.pairs]
    if len(pairs) > 2:
        raise UserError(TWO_TESTS)
    return Given(pairs=pairs, class_names=next(iter(names), ()), partial=any(part.partial for part in parts))


def _of_items(items: Any, layout: str | None, size: int | None) -> Given:
    """Read the images and labels of a data set that gives one of each at a time."""
    name, count = type(items).__name__, len(items)
    if count == 0:
        raise UserError(f"the {name} is empty")
    images, labels, several = [], [], []
    others: dict[str, list[str | None]] = {}
    with progress(f"Reading the {name}", count, unit="images") as bar:
        for number in range(count):
            image, label, more = _item(items, number, name)
            for key, other in more.items():
                others.setdefault(key, [""] * count)[number] = text_of(other)
            images.append(ready(image, number, layout, size))
            labels.append(label)
            if several_frames(image):
                several.append(f"image {number}")
            bar.advance()
    tell_frames(several, count)
    again = ready(_item(items, 0, name)[0], 0, layout, size)
    if not np.array_equal(again[0], images[0][0]):
        notice(f"The {name} changes its images at random: each is taken as it came once")
    told = told_by(others, f"the {name}")
    if unused := [key for key in others if told is None or key not in told[0]]:
        notice(unused_columns(unused))
    pair = GivenSplit(images=of_list(images), labels=labels, told=told)
    return Given(pairs=[pair], class_names=class_names(items), partial=True)


def _item(items: Any, number: int, name: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return an image, its label, and what else there is by name."""
    try:
        item = items[number]
    except Exception as error:  # a user's data set may raise anything
        raise UserError(f"item {number} of the {name} cannot be read: {error!r}; mend the data set") from error
    if isinstance(item, Mapping):
        keys = _keys(item)
        if keys is None:
            raise UserError(f"item {number} of the {name} holds {', '.join(map(str, item))}; give an image and a label")
        return item[keys[0]], item[keys[1]], {str(key): item[key] for key in item if key not in keys}
    if isinstance(item, list | tuple) and len(item) == 2:
        return item[0], item[1], {}
    shown = f"has {len(item)} parts" if isinstance(item, list | tuple) else f"is a {type(item).__name__}"
    raise UserError(f"item {number} of the {name} {shown}; give (image, label)")


def _keys(item: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """Return the keys of the image and of the label of an item, None where they cannot be told."""
    images, labels = ([key for key in item if str(key).lower() in words] for words in ROLES.values())
    return (images[0], labels[0]) if len(images) == len(labels) == 1 else None


def _is_split(data: Any) -> bool:
    """Whether this is a split by itself: a data set, or images and their labels."""
    if _is_map(data) or _is_items(data) or isinstance(data, Mapping):
        return True
    if not isinstance(data, list | tuple) or len(data) != 2:
        return False
    images, labels = data
    return _depth(images) > 1 and _length(labels) is not None and _depth(labels) in (1, 2)


def _is_map(data: Any) -> bool:
    """Whether an object gives an item for a number, and is no array, list or dictionary."""
    plain = str, bytes, list, tuple, Mapping
    return (
        hasattr(data, "__getitem__") and hasattr(data, "__len__") and not (_is_array(data) or isinstance(data, plain))
    )


def _is_items(data: Any) -> bool:
    """Whether this is a list of (image, label), or of dictionaries of these."""
    if not isinstance(data, list | tuple) or len(data) == 0:
        return False
    parts: list[tuple[Any, Any]] = []
    for one in data:
        if isinstance(one, Mapping) and (keys := _keys(one)) is not None:
            one = one[keys[0]], one[keys[1]]
        if not isinstance(one, list | tuple) or len(one) != 2:
            return False
        parts.append((one[0], one[1]))
    return all(
        (isinstance(image, Image.Image) or _is_array(image)) and _length(label) is None for image, label in parts
    )


def _is_array(data: Any) -> bool:
    return hasattr(data, "ndim")


def _length(data: Any) -> int | None:
    """Return how many there are, None of a single value."""
    try:
        return None if isinstance(data, str | bytes | Image.Image) else len(data)
    except TypeError:
        return None


def _depth(data: Any) -> int:
    """Return the number of axes of an array, or of lists in lists by their first elements."""
    if _is_array(data):
        return int(data.ndim)
    if isinstance(data, Image.Image):
        return 2
    return 1 + _depth(data[0]) if isinstance(data, list | tuple) and data else int(isinstance(data, list | tuple))
