"""Which column of a table tells the splits: by its name, and by how many of its values name one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from m3d_condense.data.columns import LABELS, plain
from m3d_condense.data.splits import some
from m3d_condense.data.words import TEST, TRAIN, VALID, split_name
from m3d_condense.tools.errors import UserError

NAMES = ("split", "splits", "datasplit", "partition", "partitions")
"""Names of columns that hold splits and nothing else, without signs and in small letters."""
PERHAPS = ("set", "subset", "dataset")  # that hold splits where one of their values is one
FLAGS = {
    **dict.fromkeys(("istrain", "istraining"), {"1": TRAIN, "0": TEST}),
    **dict.fromkeys(("istest", "istesting"), {"1": TEST, "0": TRAIN}),
    **dict.fromkeys(("isval", "isvalidation"), {"1": VALID, "0": TRAIN}),
}
"""Columns that are 1 or true for the rows of one split, and what 1 and 0 mean."""
BITS = {"1": "1", "1.0": "1", "true": "1", "0": "0", "0.0": "0", "false": "0"}
MOST = 20  # different values of a column that is not called after splits


def splits_of(columns: Mapping[str, Sequence[str]], where: str) -> tuple[list[str], list[str]] | None:
    """Return the columns that tell the splits, and the split of each row; None where there is no such column.

    Raises UserError where some values name no split, and where two columns name different ones.
    """
    found: dict[str, list[str]] = {}
    for name, values in columns.items():
        known = _known(name, values)
        if known is not None:
            _check_known(name, values, known, where)
            found[name] = [known[value] for value in values]
    if not found:
        return None
    first, *others = found
    for other in others:
        differing = sum(a != b for a, b in zip(found[first], found[other], strict=True))
        if differing:
            raise UserError(
                f"{where}: the columns {first} and {other} name different splits for {_rows(differing)}: "
                "which are meant? Remove one of them"
            )
    return list(found), found[first]


def tells_splits(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether one of the columns tells the splits, be it of all rows or of some."""
    return any(_known(name, values) is not None for name, values in columns.items())


def _known(name: str, values: Sequence[str]) -> dict[str, str] | None:
    """Return the splits that values of a column name; None where the column does not tell the splits."""
    counts, called = Counter(values), plain(name)
    if called in FLAGS:
        bits = {value: BITS.get(value.strip().casefold(), "") for value in counts}
        return {value: FLAGS[called][bit] for value, bit in bits.items() if bit} or None
    if not any(value.strip() for value in counts) or (called not in NAMES and len(counts) >= MOST):
        return None
    named = {value: split for value in counts if (split := split_name(value)) is not None}
    known = {value: split.role for value, split in named.items() if not split.rest}
    return known if len(known) == len(counts) or _tells(called, known, named, counts) else None


def _tells(called: str, known: Mapping[str, str], named: Mapping[str, object], counts: Mapping[str, int]) -> bool:
    """Whether a column tells the splits though some of its values name none."""
    if called in LABELS:
        return False
    most = 2 * sum(counts[value] for value in known) >= sum(counts.values())
    return called in NAMES or (called in PERHAPS and len(known) > 0) or (most and len(named) > 1)


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
