"""Some of a data set's classes, in an order that the user gives.

Legend: K classes.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.labels import Labels, as_name
from m3d_condense.data.pictures import Files, Rows
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed

__all__ = ["Classes", "asked_for", "chosen_rows", "is_asked", "numbers_of", "renumbered"]

Classes = str | os.PathLike[str] | Sequence[str]
"""A name of `SUBSETS`, a text file with a class a line, or the classes themselves."""
LARGEST = 2**20  # bytes of a file
SHOWN = 5  # classes that a message names


def asked_for(classes: Classes | None) -> list[str] | None:
    """Return the classes that are asked for as texts, each a name or a WordNet id; None for all.

    Raises:
        UserError: for what is neither a known subset nor a text file, for no class, and for one that is listed twice.
    """
    if classes is None:
        return None
    if not isinstance(classes, os.PathLike | Iterable):
        raise UserError("names in a list, the name of a subset, or a file of them", setting="classes", value=classes)
    if not isinstance(classes, str | os.PathLike):
        texts = [str(text) for text in classes]
    elif str(classes) in SUBSETS:
        texts = [one.wordnet for one in SUBSETS[str(classes)]]
    else:
        texts = _lines(Path(classes).expanduser())
    if not texts:
        raise UserError("none is listed", setting="classes", value=classes)
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is listed twice", setting="classes")
    return texts


def _lines(path: Path) -> list[str]:
    """Read a class a line, without empty lines and those that begin with #."""
    if not path.is_file():
        near = difflib.get_close_matches(str(path).lower(), SUBSETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; classes themselves are given as two or more names"
        raise UserError(
            f"neither a file that lists classes, one a line, nor one of {', '.join(SUBSETS)}{hint}",
            setting="classes",
            value=path,
        )
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"larger than the {LARGEST} bytes that a list of classes may have", setting="classes")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as UTF-8 text: {error}", setting="classes") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def numbers_of(asked: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return which classes of the data, of 0..K-1, are asked for, in the order in which they are.

    A class is found by its name; else by one of its names, where these stand between commas, whatever their capitals
    and separators. The classes of `SUBSETS` are also found by the WordNet id where the data have the name, and the
    other way round. Raises UserError for classes that there are not, and for one that may be several.
    """
    number = {name: index for index, name in enumerate(class_names)}
    names = [_names(name) for name in class_names]
    found: list[int] = []
    missing: list[str] = []
    for text in asked:
        exact = number.get(as_name(text))
        alike = [index for index, own in enumerate(names) if own & _aliases(text)] if exact is None else [exact]
        if len(alike) > 1:
            several = ", ".join(class_names[index] for index in alike[:SHOWN])
            raise UserError(f"{text} may be {several}: write out which", setting="classes")
        found += alike
        missing += [] if alike else [text]
    if missing:
        raise UserError(_missing(missing, len(asked), class_names), setting="classes")
    twice = next((index for index in found if found.count(index) > 1), None)
    if twice is not None:
        raise UserError(f"{class_names[twice]} is listed twice, under two names", setting="classes")
    return found


def is_asked(name: str, asked: Sequence[str]) -> bool:
    """Whether a class of this name may be one of those that are asked for."""
    return name in map(as_name, asked) or any(_names(name) & _aliases(text) for text in asked)


def _missing(missing: Sequence[str], count: int, class_names: Sequence[str]) -> str:
    near = difflib.get_close_matches(missing[0], class_names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    said = f"{len(missing)} of the {count} are no class of the data, {listed(missing, SHOWN)}"
    return f"{said}; there are {listed(class_names, SHOWN)}{hint}"


def _squeezed(name: str) -> str:
    """Return a name in small letters, with single spaces for all that stands between words."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _names(name: str) -> set[str]:
    """Return what a class can be called: its name, and each of its names that stand between commas."""
    return {_squeezed(name), *map(_squeezed, name.split(","))}


@functools.cache  # each is compared with the name of every class
def _aliases(text: str) -> set[str]:
    """Return the names that a class may have which is called so."""
    own = _squeezed(text)
    known = [(one.wordnet, _squeezed(one.name)) for some in SUBSETS.values() for one in some]
    return {own} | {name for pair in known if own in pair for name in pair}


def renumbered(labels: Sequence[Labels], numbers: Sequence[int], class_names: Sequence[str]) -> list[Labels]:
    """Return the labels of each split as places in `numbers`, -1 for other classes; say how many are left out."""
    if len(numbers) < len(class_names):
        notice(
            f"{len(numbers)} of {len(class_names)} classes are read: {listed([class_names[k] for k in numbers], SHOWN)}"
        )
    place = np.full(len(class_names) + 1, -1)  # the last for no label
    place[list(numbers)] = np.arange(len(numbers))
    return [place[values] for values in labels]


def chosen_rows(
    splits: Sequence[Rows], numbers: Sequence[int], class_names: Sequence[str]
) -> tuple[list[Rows], tuple[str, ...]]:
    """Return the rows of some classes and the names of these, in this order; the images are not read yet."""
    chosen = []
    labels = renumbered([split.labels for split in splits], numbers, class_names)
    for split, own in zip(splits, labels, strict=True):
        kept = np.flatnonzero(own >= 0)
        if isinstance(split.images, Files):  # files can be read in any order: then those of some classes lie together
            kept = kept[np.argsort(own[kept], kind="stable")]
        chosen.append(split.select(kept, own[kept]))
    return chosen, tuple(class_names[number] for number in numbers)
