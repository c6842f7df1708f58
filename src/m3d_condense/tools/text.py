"""Text for a reader: numbers, and what others wrote, such as names of files and classes and stored errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 2000  # characters of a message
# Control characters, line and paragraph separators, changes of the reading direction.
CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
UNSHOWABLE = re.compile(f"[{CONTROL}]")


def shown(value: object, most: int = LONGEST) -> str:
    """Return the text of `value` as one line that does nothing to a terminal, of at most so many characters.

    A line break becomes a space, any other control character �, and what is left out …: of a message that is the
    middle, for what is wrong with a name stands behind it. Other spaces stay, and so do bytes of a file's name that are
    no text.
    """
    text = str(value)
    if len(text) > most:
        behind = most // 2 if most >= LONGEST else 0
        text = f"{text[: most - 1 - behind]}…{text[len(text) - behind :]}"
    return UNSHOWABLE.sub("�", BREAKS.sub(" ", text))


def kib(nbytes: float) -> str:
    """Write bytes in KiB, without the unit: three digits that count, and all before the point.

    >>> kib(256), kib(31_520), kib(15_728_640)
    ('0.25', '30.8', '15,360')
    """
    value = nbytes / 1024
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def counted(number: int, what: str) -> str:
    """Return a number of things for a reader, such as "1 epoch" and "1,000 epochs"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of the names for a reader, and how many more there are.

    >>> listed(["a", "b"], 2), listed(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b and 2 more')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def distinct(names: Sequence[str], form: str = "{} {}") -> list[str]:
    """Return the names, each that was there before with a number in this form, such as the second crane: crane 2."""
    taken: dict[str, None] = {}
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = form.format(name, number)
        taken[candidate] = None
    return list(taken)


def duration(seconds: float) -> str:
    """Write a duration in the two largest of its units.

    >>> duration(0.42), duration(42), duration(330), duration(600), duration(7500)
    ('0.4 s', '42 s', '5 min 30 s', '10 min', '2 h 5 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    larger, smaller = ((hours, "h"), (minute, "min")) if hours else ((minutes, "min"), (second, "s"))
    return " ".join(f"{number} {unit}" for number, unit in (larger, smaller) if number)


def spread(std: float | None, n: int, digits: int = 1) -> str:
    """Return what stands behind a mean of several, such as " ± 0.6"; nothing behind that of one."""
    return f" ± {std:.{digits}f}" if std is not None and n > 1 else ""


def percent(share: float) -> str:
    """Write a share in percent: whole percents from ten up, below that two digits that count.

    >>> percent(1.0), percent(0.028), percent(0.00039), percent(1e-9), percent(0.0)
    ('100 %', '2.8 %', '0.039 %', 'below 0.001 %', '0 %')
    """
    number = 100 * share
    if 0 < number < 0.001:
        return "below 0.001 %"
    return f"{number:.0f} %" if number >= 9.95 or number == 0 else f"{number:.2g} %"
