"""Which column of a table tells the splits: by its name, and by how many of its values name one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from m3d_condense.data.columns import LABELS, one_hot
from m3d_condense.data.labels import as_name
from m3d_condense.data.splits import some
from m3d_condense.data.words import FILLERS, ROLES, TEST, TRAIN, VALID, plain, split_name, tokens
from m3d_condense.tools.errors import UserError

NAMES = {"split", "splits", "partition", "partitions"}  # words in the names of columns that hold splits
BESIDE = {*FILLERS, "id", "name", "official", "or", "and", "is"}  # words that change nothing in these names
PERHAPS = ("set", "subset", "dataset")  # names of columns that hold splits where one of their values is one
YES, NO = ("1", "1.0", "true", "t", "yes", "y"), ("0", "0.0", "false", "f", "no", "n")
BITS = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}
MOST = 20  # different values of a column that is not called after splits


def splits_of(columns: Mapping[str, Sequence[str]], where: str) -> tuple[list[str], list[str]] | None:
    """Return the columns that tell the splits, and the split of each row; None where there is no such column.

    Columns of one split, as `is_test`, say of each row whether it is of it. Where there are no others, a row of none of
    them is for training, else for testing, else for validation: the first of which there is no column.

    Raises UserError where some values name no split, and where two columns name different ones.
    """
    flags = _flags(columns)
    found = {
        name: known
        for name, values in columns.items()
        if name not in flags
        if (known := _known(name, values)) is not None
    }
    for name, known in found.items():
        _check_known(name, columns[name], known, where)
    if not found:
        _check_held_out(columns, flags, where)
    for name in flags:
        _check_known(name, columns[name], {value: "" for value in columns[name] if _bit(value) is not None}, where)
    said = {name: [known[value] for value in columns[name]] for name, known in found.items()}
    roles = next(iter(said.values())) if said else _of_flags(columns, flags)
    both = [name for name in columns if name in found or name in flags]
    for name in both:
        if name in flags:
            differing = sum(
                _bit(value) != (role == flags[name]) for value, role in zip(columns[name], roles, strict=True)
            )
        else:
            differing = sum(a != b for a, b in zip(roles, said[name], strict=True))
        if differing:
            first = next(other for other in both if other != name)
            raise UserError(
                f"{where}: the columns {first} and {name} name different splits for {_rows(differing)}: "
                "which are meant? Remove one of them"
            )
    return (both, roles) if both else None


def _check_held_out(columns: Mapping[str, Sequence[str]], flags: Mapping[str, str], where: str) -> None:
    """Raise UserError for `valid` or `is_valid`, alone and true for most rows: these are few to train on, or sound."""
    for name in flags:
        count, rows = sum(_bit(value) is True for value in columns[name]), len(columns[name])
        if len(flags) == 1 and re.search("valid(?!at)", name.casefold()) and 2 * count > rows:
            raise UserError(
                f"{where}: the column {name} is true for {count} of {rows} rows: are these held out for validation, or "
                "are they those to be used? Call it is_validation, or remove it with the rows that are not to be used"
            )


def _of_flags(columns: Mapping[str, Sequence[str]], flags: Mapping[str, str]) -> list[str]:
    """Return the split of each row by columns that are true for the rows of one split each."""
    rest = next((role for role in (TRAIN, TEST, VALID) if role not in flags.values()), TRAIN)
    rows = zip(*(columns[name] for name in flags), strict=True)
    return [next((role for role, v in zip(flags.values(), row, strict=True) if _bit(v)), rest) for row in rows]


def _flags(columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the columns that are true for the rows of one split, and these splits.

    A column called after a split alone is one where most of its values are true or false: it may be a class too, as
    `train` among vehicles, where the columns are 1 for the rows of one class each, or for what is seen on them.
    """
    bits = {name: sum(_bit(value) is not None for value in values) for name, values in columns.items()}
    named = {name: role for name in columns if (role := _split_of(name)) is not None}
    plainly = {name: role for name, role in named.items() if plain(name) not in ROLES and bits[name] > 0}
    perhaps = {
        name: role for name, role in named.items() if plain(name) in ROLES and 2 * bits[name] > len(columns[name])
    }
    others = [name for name in columns if name not in named and plain(name) not in LABELS]
    attributes = [name for name in others if bits[name] == len(columns[name])]
    lone = set(perhaps.values()) == {TRAIN} and len(attributes) > 1
    classes = len(others) > 0 and one_hot(columns) is not None
    return plainly if lone or classes else {name: named[name] for name in named if name in plainly | perhaps}


def _split_of(name: str) -> str | None:
    """Return the split after which a column is called, as `is_test`, `Test set`, `test_mask` or `holdout`."""
    named = split_name(re.sub(r"^is|[\W_]*(mask|flag)$", "", as_name(name).casefold()))
    numbered = any(letter.isdecimal() for letter in name)
    return named.role if named is not None and not named.rest and not numbered and not holds_splits(name) else None


def holds_splits(name: str) -> bool:
    """Whether a column is called after splits in general, as `split`, `train_val_test` or `split_id`."""
    words = set(tokens(name))
    several = len({ROLES[word] for word in words if word in ROLES}) > 1
    return (several or not words.isdisjoint(NAMES)) and words <= {*NAMES, *ROLES, *BESIDE}


def _bit(value: str) -> bool | None:
    return BITS.get(value.strip().casefold())


def tells_splits(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether one of the columns tells the splits, be it of all rows or of some."""
    return bool(_flags(columns)) or any(_known(name, values) is not None for name, values in columns.items())


def _known(name: str, values: Sequence[str]) -> dict[str, str] | None:
    """Return the splits that values of a column name; None where the column does not tell the splits."""
    counts = Counter(values)
    if not any(value.strip() for value in counts) or (not means_splits(name) and len(counts) >= MOST):
        return None
    named = {value: split for value in counts if (split := split_name(value)) is not None}
    known = {value: split.role for value, split in named.items() if not split.rest}
    return known if len(known) == len(counts) or _tells(name, known, named, counts) else None


def _tells(name: str, known: Mapping[str, str], named: Mapping[str, object], counts: Mapping[str, int]) -> bool:
    """Whether a column tells the splits though some of its values name none."""
    called = plain(name)
    if called in LABELS:
        return False
    most = 2 * sum(counts[value] for value in known) >= sum(counts.values())
    return means_splits(name) or (called in PERHAPS and len(known) > 0) or (most and len(named) > 1)


def means_splits(name: str) -> bool:
    """Whether the name of a column can mean nothing but splits."""
    return holds_splits(name) or (_split_of(name) is not None and plain(name) not in ROLES)


def _check_known(name: str, values: Sequence[str], known: Mapping[str, str], where: str) -> None:
    others = [value for value in values if value not in known]
    if others:
        shown = some([repr(value.strip()) if value.strip() else "nothing" for value in sorted(set(others))])
        raise UserError(
            f"{where}: the column {name} tells the splits, but says {shown} in {_rows(len(others))}: for training, "
            "for testing, or for nothing? Write train, validation or test there, or remove these rows or the column"
        )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
