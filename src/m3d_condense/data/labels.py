"""The meaning of labels: which are missing, in what order the classes stand, and what their names hint at.

Legend: N images, K classes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

Labels = NDArray[np.int64]
Label = int | str
SPLITS = ("train", "test")
NO_LABEL = {"", "nan", "<na>", "nat"}  # as text, in small letters
PERHAPS_NO_LABEL = {
    *("none", "null", "na", "n a", "no label", "nolabel", "unlabeled", "unlabelled", "not labeled", "not labelled"),
    *("unsorted", "unknown", "unclassified", "uncategorized", "uncategorised", "untagged", "unassigned"),
}
"""What may mean that there is no label, in small letters; see `_words`."""
BETWEEN = ("|", ";", ",", None)  # what stands between several labels in one cell; None for blanks
OF_CHARACTERS = re.compile(r"(?:opt|pen)?digits?|letters|(?:e|k|q|not)?mnist|svhn|usps")
"""Words in the names of data sets of digits and letters."""
DIGIT_WORDS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}


def natural_key(value: Label) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which 2 stands before 10, and ``class 2`` before ``class 10``."""
    if not isinstance(value, str):
        return ((0, int(value), ""),)
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", value)
    return tuple((0, int(piece), piece) if piece[0] in "0123456789" else (1, 0, piece) for piece in pieces)


def as_name(text: str) -> str:
    """Return a class name with composed letters (NFC), so that é is the same letter however it was written.

    What is no text, as bytes of a folder's name that are no UTF-8, becomes escapes, such as ``\\xe9``.
    """
    return unicodedata.normalize("NFC", re.sub("[\ud800-\udfff]", _escape, text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def encode(splits: Sequence[Sequence[Any]], names: Sequence[str]) -> tuple[list[Labels], tuple[str, ...]]:
    """Number the classes: ids into `names`, or these themselves, else the first split's values in natural order.

    None, NaN, ``""``, ``"nan"`` and -1 (where it is the only negative label) are no label. Bytes are decoded, whole
    floats are integers; ids count from 1 where they are from 1 to K. Returns the labels of each split, int64 in
    -1..K-1, where -1 is no label, and the K names; `labelled_rows` tells which rows to keep. Raises UserError for
    labels of other types, for several labels in one, for an id without a name, and for a label of a later split that
    the first lacks.
    """
    plain = [_plain(values, split) for split, values in zip(SPLITS, splits, strict=False)]
    plain = _without_minus_one(plain, named=bool(names))
    if names:
        plain = _from_zero(plain, names)
    order: Sequence[Label] = range(len(names)) if names else _distinct(plain[0])
    number: dict[Label | None, int] = {None: -1, "False": 0, "True": 1} if names else {None: -1}
    number |= {as_name(name): index for index, name in enumerate(names)}
    number |= {value: index for index, value in enumerate(order)}
    for split, labels in zip(SPLITS, plain, strict=False):
        unknown = [(row, value) for row, value in enumerate(labels) if value not in number]
        if unknown:
            found = sorted({str(value) for _, value in unknown}, key=natural_key)
            known = f"none of the {len(names)} class names" if names else "no class of training"
            raise UserError(
                f"the {split} split has labels that are {known}: {', '.join(found[:5])} "
                f"({len(unknown)} rows, the first is row {unknown[0][0]}); correct or remove those rows"
            )
    if not names:
        _check_single([str(value) for value in order])
        _notice_far(order)
        notice_doubtful([str(value) for value in order])
    encoded = [np.array([number[value] for value in labels], dtype=np.int64) for labels in plain]
    return encoded, tuple(as_name(str(name)) for name in (names or order))


def labelled_rows(labels: Sequence[Labels]) -> list[NDArray[np.int64]]:
    """Return the indices of the rows that have a label (not -1), for each split; says which are left out.

    A test split without any label is left out as a whole: its indices are missing from the list. Raises UserError
    where no training row has a label.
    """
    kept: list[NDArray[np.int64]] = []
    for split, values in zip(SPLITS, labels, strict=False):
        rows = np.flatnonzero(values >= 0)
        missing = np.flatnonzero(values < 0)
        if len(values) > 0 and len(rows) == 0:
            if split == "train":
                raise UserError(f"none of the {len(values)} rows of the train split has a label; give labelled data")
            notice(f"None of the {len(values)} rows of the {split} split has a label: the split is not used")
            continue
        if len(missing) > 0:
            count = "1 row" if len(missing) == 1 else f"{len(missing)} rows"
            notice(f"{count} of the {split} split without a label left out, the first is row {missing[0]}")
        kept.append(rows)
    return kept


def any_label(values: Iterable[Any]) -> bool:
    """Whether any of the values is a label: a test split without labels holds nothing but None, -1 and the like."""
    return any(_meaning(value) not in (None, -1, "-1") for value in values)


def are_mirrored(names: Sequence[str], called: str) -> bool:
    """Whether mirrored images keep their class, as far as names tell, and say so where that is in doubt.

    Mirrored digits and letters mean something else. Classes that look like these are taken for them where the data are
    `called` so too: classes alone may be numbers, and a folder may be called anything.
    """
    kind = _characters(names)
    words = re.findall(r"[a-z]+", called.casefold())
    so_called = any(map(OF_CHARACTERS.fullmatch, words)) and "fashion" not in words
    if kind is None or (set(names) == {"0", "1"} and not so_called):  # no and yes more often than digits
        return True
    if so_called:
        notice(
            f"{called} is called like a data set of characters, and its classes {names[0]} to {names[-1]} are {kind}: "
            f"its images are not mirrored; give {Setting('flip', True)} if they may be"
        )
        return False
    notice(
        f"The classes {names[0]} to {names[-1]} look like {kind}, whose mirror images mean something else: "
        f"give {Setting('flip', False)} if they are"
    )
    return True


def _characters(names: Sequence[str]) -> str | None:
    """Say of which kind of characters the names of classes are; None for other names."""
    if len(names) < 2:
        return None
    kinds = (("digits", _is_digit), ("letters", _is_letter))
    return next((kind for kind, fits in kinds if all(fits(name) for name in names)), None)


def _plain(values: Iterable[Any], split: str) -> list[Label | None]:
    """Return labels as all integers or all strings, with None for no label."""
    values = list(values)
    try:
        meaning: dict[Any, Any] = {value: _meaning(value) for value in dict.fromkeys(values)}
    except TypeError as error:  # lists, arrays and other things that are no single value
        row = next(row for row, value in enumerate(values) if value.__hash__ is None)
        shown = type(values[row]).__name__
        raise UserError(f"the label of row {row} of the {split} split is a {shown}: give one label an image") from error
    wrong = next((value for value, plain in meaning.items() if isinstance(plain, float)), None)
    if wrong is not None:
        row = values.index(wrong)
        raise UserError(
            f"the label {wrong} in row {row} of the {split} split is no class: labels of type "
            f"{type(wrong).__name__} must be whole numbers; give integers or strings"
        )
    if any(isinstance(plain, str) for plain in meaning.values()):
        meaning = {value: plain if plain is None else str(plain) for value, plain in meaning.items()}
    return [meaning[value] for value in values]


def _meaning(value: Any) -> Label | float | None:
    """Return a label as an integer or a string, None for no label; other numbers as they are, to be refused."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="backslashreplace")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return None if value.strip().lower() in NO_LABEL else as_name(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int | float):
        return value
    return str(value)


def _without_minus_one(splits: list[list[Label | None]], *, named: bool) -> list[list[Label | None]]:
    """Take -1 for no label, where it is the only negative label; refuse -1 and 1 alone, which may be two classes."""
    present = {str(value) for labels in splits for value in labels if value is not None}
    whole = all(re.fullmatch(r"-?[0-9]+", value) for value in present)
    negative = {value for value in present if value.startswith("-")}
    if not whole or "-1" not in present or (len(negative) > 1 and not named):
        return splits
    if {str(value) for value in splits[0] if value is not None} == {"-1", "1"} and not named:
        raise UserError(
            "the labels are -1 and 1: two classes, or one class and rows without a label? "
            "Number two classes 0 and 1, or remove the rows of -1"
        )
    return [[None if str(value) == "-1" else value for value in labels] for labels in splits]


def _from_zero(splits: list[list[Label | None]], names: Sequence[str]) -> list[list[Label | None]]:
    """Count ids from 0 that count from 1, as in MATLAB: those that reach as far as the names do, and hold no 0."""
    ids = {value for labels in splits for value in labels if value is not None}
    if not all(isinstance(one, int) and one > 0 for one in ids) or max(ids, default=0) != len(names):
        return splits
    notice(f"The labels count from 1 to {len(names)}: 1 is the first class name, {names[0]}")
    return [[None if one is None else int(one) - 1 for one in labels] for labels in splits]


def _distinct(labels: Iterable[Label | None]) -> list[Label]:
    return sorted({value for value in labels if value is not None}, key=natural_key)


def _check_single(names: Sequence[str]) -> None:
    """Raise `UserError` where a label is several: its image has each of them.

    So is ``cat|dog`` where cat and dog are labels too, ``16 0`` among numbers, ``['cat', 'dog']``, and one of tags that
    stand together in many ways.
    """
    for mark in BETWEEN:
        parts = {name: _parts(name, mark) for name in names}
        several = [name for name in names if len(parts[name]) > 1]
        alone = {part for found in parts.values() if len(found) == 1 for part in found}
        every = _are_numbers_or_tags(list(parts.values()))
        for name in several:
            if every or name.startswith("[") or alone.issuperset(parts[name]):
                found = " and ".join(parts[name])
                remedy = ", or write one class without blanks" if mark is None else ""
                raise UserError(f"the label {name} is several, {found}: give one label an image{remedy}")


def _parts(name: str, mark: str | None) -> list[str]:
    """Return what a label consists of, without the brackets and quotation marks of a list in Python's form."""
    listed = name.startswith("[") and name.endswith("]")
    return [part.strip(" '\"") for part in (name[1:-1] if listed else name).split(mark)]


def _are_numbers_or_tags(labels: Sequence[Sequence[str]]) -> bool:
    """Whether all parts of labels are whole numbers, or they are words that stand together in many ways.

    Names of classes have words of their own; two words with all of two others are as many names as words.
    """
    parts = {part for label in labels for part in label}
    numbers = {part for part in parts if part.isdecimal()}
    many = 2 * len(labels) > 3 * len(parts) and len(set(map(len, labels))) > 1
    return numbers == parts or (many and not numbers)


def notice_doubtful(names: Sequence[str]) -> None:
    """Point out classes that may be none, as ``None``, and classes that may be one, as ``cat`` and ``Cat``."""
    words = [name for name in names if _words(name) in PERHAPS_NO_LABEL]
    if words:
        notice(f"{', '.join(words)} is taken for a class: remove its images if it means that there is no label")
    counts = Counter(name.strip().casefold() for name in names)
    alike = [name for name in names if counts[name.strip().casefold()] > 1 and names.count(name) == 1]
    if alike:
        shown = ", ".join(map(repr, alike[:6]))
        notice(f"Classes that differ by capital letters or spaces only are kept apart: {shown}")


def _words(name: str) -> str:
    """Return the words of a name in small letters, without signs, numbers and `images`."""
    return " ".join(word for word in re.findall(r"[^\W\d_]+", name.casefold()) if word not in ("image", "images"))


def _notice_far(order: Sequence[Label]) -> None:
    """Point out an integer far from all others, which may stand for no label."""
    numbers = sorted(value for value in order if isinstance(value, int))
    for odd, rest in ((numbers[-1:], numbers[:-1]), (numbers[:1], numbers[1:])):
        if len(rest) > 1 and _is_far(odd[0], rest):
            notice(
                f"The label {odd[0]} stands far from the others, {rest[0]} to {rest[-1]}, and is taken for a class: "
                "remove its rows if it means that there is no label"
            )


def _is_far(odd: int, rest: Sequence[int]) -> bool:
    """Whether a label lies outside of sorted others that are close together, further than these reach."""
    spread = rest[-1] - rest[0]
    gap = min(abs(odd - rest[0]), abs(odd - rest[-1]))
    return spread <= 2 * len(rest) and gap > max(10, spread)


def _is_digit(name: str) -> bool:
    return (len(name) == 1 and name.isdecimal()) or name.lower().rpartition(" - ")[2] in DIGIT_WORDS


def _is_letter(name: str) -> bool:
    return len(name) == 1 and name.isalpha()
