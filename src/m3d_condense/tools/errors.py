"""What goes wrong through the user's input, as opposed to a fault in the program, and how settings are named in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A setting in a message: as text it is what the user would write, ``size=64`` in Python.

    Attributes:
        name: the keyword of the Python function.
        value: what was given, or should be; None names the setting alone.
    """

    name: str
    value: Any = None

    def __str__(self) -> str:
        return _wording(self)


def another_out() -> str:
    """Say what to do about an output that holds something else."""
    return f"give another {Setting('out')}, or {Setting('overwrite', True)}"


def in_python(setting: Setting) -> str:
    """Write a setting as a keyword argument."""
    return setting.name if setting.value is None else f"{setting.name}={setting.value}"


@contextmanager
def wording(words: Callable[[Setting], str]) -> Iterator[None]:
    """Write settings in other words while this lasts: the command line writes flags."""
    global _wording
    before, _wording = _wording, words
    try:
        yield
    finally:
        _wording = before


_wording: Callable[[Setting], str] = in_python


class UserError(ValueError):
    """A mistake in the data, the settings or the paths given.

    Its message says what was wrong, where, and what to do about it. The command line prints it as one
    line and exits with status 2.

    Attributes:
        setting: the name of the setting whose value is wrong; None where the mistake lies elsewhere.
        value: that value.
    """

    def __init__(self, message: str, *, setting: str | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.setting, self.value = setting, value

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.setting is None else f"{Setting(self.setting, self.value)}: {message}"
