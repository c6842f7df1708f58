"""Arrays by their names, as in an .npz, a .mat or a dictionary: which are images, labels, splits and class names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from m3d_condense.data.arrays import Given, GivenSplit, as_numpy
from m3d_condense.data.dividing import NUMBERS, by_numbers, text_of, told_by
from m3d_condense.data.split_columns import means_splits
from m3d_condense.data.targets import label_count
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

ROLES = {
    "images": ("x", "image", "images", "img", "imgs", "picture", "pictures", "pixels", "data", "input", "inputs"),
    "labels": ("y", "label", "labels", "target", "targets", "class", "category"),
}
SPLITS = {
    "train": ("train", "training", "trainset", "tr"),
    "test": ("test", "testing", "testset", "te"),
    "val": ("val", "valid", "validation", "valset", "validset"),
    "dev": ("dev", "devset", "development"),
    "eval": ("eval", "evaluation"),
    "holdout": ("holdout", "heldout"),
    "": ("",),
}
TESTS = ("test", "val", "dev", "eval", "holdout")  # the first that is there, with labels, serves as test
CLASS_NAMES = ("classnames", "classes", "listclasses", "labelnames", "targetnames", "categories", "names")
ADVICE = "name the arrays x_train, y_train, x_test, y_test or images, labels"

Get = Callable[[str], Any]
Meaning = tuple[str, str]  # a key of SPLITS and one of ROLES


def named(keys: Iterable[str], get: Get, where: str) -> Given:
    """Return the training arrays, the test arrays where there are some, and the class names where there are some.

    A name is a word for images or labels, alone or with one for a split before or behind it: x_train, trainX, Images.
    `get` reads one array; `where` names them all in messages. Says what is not used. Raises UserError where no names
    fit, and where two fit one thing.
    """
    keys = list(keys)
    if keys and all(re.fullmatch(r"arr_\d+", key) for key in keys):
        return _unnamed(keys, get, where)
    chosen = _chosen(keys, get, where)
    complete = [split for split in SPLITS if all((split, role) in chosen for role in ROLES)]
    train = next((split for split in ("train", "") if split in complete), None)
    if train is None:
        raise UserError(f"{where} holds {', '.join(keys) or 'no arrays'}; {ADVICE}")
    test = next((split for split in TESTS if split in complete), None)
    if test not in ("test", None):
        names = " and ".join(chosen[str(test), role] for role in ROLES)
        notice(f"There is no labelled test split: {names} are the test split")
    splits = [train] if test is None else [train, test]
    used = {chosen[split, role] for split in splits for role in ROLES}
    class_names: list[str] = []
    for key in keys:
        if key not in used and _squeezed(key) in CLASS_NAMES and not class_names:
            class_names = _class_names(get(key), get(chosen[train, "labels"]))
            used.update([key] if class_names else [])
    others = [key for key in keys if key not in used and _meaning(key) is None]
    told = [told_by(_beside(others, get, get(chosen[split, "labels"])), where) for split in splits]
    if told == [None]:
        numbers = {key: get(key) for key in others if NUMBERS.search(key) is not None}
        told = [by_numbers(numbers, label_count(get(chosen[train, "labels"])), where)]
    used.update(key for one in told if one is not None for key in one[0])
    if len(used) < len(keys):
        counts = {chosen[split, "images"]: len(get(chosen[split, "labels"])) for split in complete}
        unused = [f"{key} ({counts[key]} images)" if key in counts else key for key in keys if key not in used]
        notice(f"Not used of {where}: {', '.join(unused)}")
    pairs = [
        GivenSplit(images=get(chosen[split, "images"]), labels=get(chosen[split, "labels"]), told=one)
        for split, one in zip(splits, told, strict=True)
    ]
    return Given(pairs=pairs, class_names=class_names)


def _beside(keys: Iterable[str], get: Get, labels: Any) -> dict[str, list[str | None]]:
    """Return those arrays that are a row of as many values as there are labels: they may tell the splits."""
    found: dict[str, list[str | None]] = {}
    for key in keys:
        try:
            values = get(key)
        except UserError:  # of Python objects, which matters where it is needed
            if means_splits(key):
                raise
            continue
        shape = (len(values),) if isinstance(values, list | tuple) else getattr(values, "shape", None) or (0,)
        if max(shape) == math.prod(shape) == label_count(labels):  # in MATLAB of two axes
            row = values if isinstance(values, list | tuple) else as_numpy(values).reshape(-1)
            found[key] = [text_of(value) for value in row]
    return found


def _unnamed(keys: list[str], get: Get, where: str) -> Given:
    """Tell the arrays that numpy.savez has numbered by their axes: images have three or four, labels fewer."""
    images = [key for key in keys if np.ndim(get(key)) > 2]
    labels = [key for key in keys if key not in images]
    counts = [[len(get(key)) if np.ndim(get(key)) else 0 for key in some] for some in (images, labels)]
    if counts[0] != counts[1] or len(images) not in (1, 2):
        raise UserError(f"{where} holds {', '.join(keys)}; {ADVICE}")
    notice(f"{where}: {' and '.join(images)} are taken for images, {' and '.join(labels)} for their labels")
    return Given(pairs=[GivenSplit(images=get(x), labels=get(y)) for x, y in zip(images, labels, strict=True)])


def _chosen(keys: list[str], get: Get, where: str) -> dict[Meaning, str]:
    """Return the name of the array of each meaning: of several images, those that are no rows of numbers."""
    found: dict[Meaning, list[str]] = {}
    for key in keys:
        meaning = _meaning(key)
        if meaning is not None:
            found.setdefault(meaning, []).append(key)
    for (split, role), names in found.items():
        shaped = [name for name in names if role == "images" and np.ndim(get(name)) > 2] if len(names) > 1 else names
        if len(shaped) != 1:
            what = f"{split} {role}".strip()
            raise UserError(f"{where}: {' and '.join(names)} may both be the {what}; keep one of them")
        found[split, role] = shaped
    return {meaning: names[0] for meaning, names in found.items()}


def _meaning(key: str) -> Meaning | None:
    """Return the split and the role that a name says, None where it says no role."""
    squeezed = _squeezed(key)
    for split, words in SPLITS.items():
        for role, nouns in ROLES.items():
            if any(squeezed in (word + noun, noun + word) for word in words for noun in nouns):
                return split, role
    return None


def value(data: Mapping[str, Any], key: str, where: str) -> Any:
    """Read an array of an archive or a dictionary; raises UserError for one that is damaged or pickled."""
    try:
        return data[key]
    except Exception as error:  # a damaged archive may raise anything
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        reason = "it holds Python objects (a pickle, which may run any program)" if pickled else error
        raise UserError(f"cannot read {key} of {where}: {reason}; save plain arrays with numpy.savez") from error


def split_of(word: str) -> str | None:
    """Return the split that a single word names, a key of `SPLITS`; None where it names none."""
    return next((split for split, words in SPLITS.items() if word.lower() in words and word), None)


def _class_names(values: Any, labels: Any) -> list[str]:
    """Return class names, none where they are no texts in a row, or a text an image, such as the names of files."""
    texts, count = _texts(values), label_count(labels)
    each = len(texts) == count and len(texts) > len(set(map(str, np.asarray(labels).reshape(-1).tolist())))
    return [] if each else texts


def _squeezed(key: str) -> str:
    return re.sub(r"[\W_]+", "", key.lower())


def _texts(values: Any) -> list[str]:
    """Return texts in a row; none for anything else."""
    array = as_numpy(values) if not isinstance(values, list | tuple) else np.array(values, dtype=object)
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in array.reshape(-1).tolist()]
    return texts if array.ndim == 1 and all(isinstance(one, str) for one in texts) else []
