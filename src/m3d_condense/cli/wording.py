"""How the command line words settings and mistakes: as flags, on one line."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager

from m3d_condense.tools.errors import Setting, UserError

MESSAGE, VALUE = 400, 120  # characters that are quoted of a message, and of a value
KINDS = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a text",
}
TRUE_OR_FALSE = {"flip", "keep_old", "native", "share_real"}  # flags that take either; others are given or not
PLACES = "what has no flag stands together, before the flags; m3d COMMAND --help lists both"
ARGUMENTS = {"action"}  # words of a command that stand there without a flag


def flag(setting: Setting) -> str:
    """Write a setting as the command line has it: its flag, and its value."""
    if setting.name in ARGUMENTS:
        return short(str(setting.value), VALUE)
    name = setting.name.replace("_", "-")
    if setting.value is False and setting.name in ("random", "whole"):
        return f"--no-{name}"
    if setting.value is None or (setting.value is True and setting.name not in TRUE_OR_FALSE):
        return f"--{name}"
    value = str(setting.value)
    return f"--{name} {short(value.lower() if isinstance(setting.value, bool) else value, VALUE)}"


def short(text: str, most: int = MESSAGE) -> str:
    """Put a text on one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@contextmanager
def mistakes_worded(where: str = "") -> Iterator[None]:
    """Turn what the parser raises about a flag or a value into a `UserError`, which begins with `where`."""
    try:
        yield
    except ArgumentError as error:
        raise UserError(where + _worded(str(error))) from None
    except OverflowError:
        raise UserError(f"{where}a number is too large") from None
    except RecursionError:
        raise UserError(f"{where}a value is nested too deeply") from None


def _worded(message: str) -> str:
    message = " ".join(message.split())
    match = re.search(r"""[Kk]ey "(\w+)"(?: element \d+)?:? (.*)""", message)
    if match is None:
        unknown = message.startswith("unrecognized arguments")
        advice = PLACES if unknown and " -" not in message else "m3d COMMAND --help lists the flags"
        return short(message) + (f"; {advice}" if unknown else "")
    name, reason = match.groups()
    expected = re.fullmatch(r"[Ee]xpected an? (.+?)\. Got value: (.*)", reason)
    if expected is None:
        return f"{flag(Setting(name))}: {short(reason)}"
    kind = KINDS.get(expected[1], re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", expected[1]))
    return f"{flag(Setting(name, expected[2]))}: expected {kind}"
