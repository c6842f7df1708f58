"""The standard streams of the process, made fit to be written to, whatever the shell handed over."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from m3d_condense.machine.group import current
from m3d_condense.tools.text import shown

SPELLED_OUT = {"±": "+/-", "×": "x", "…": "..."}  # what messages and tables hold beyond ASCII, in ASCII
HANDLER = "m3d"
REPLACED = ("strict", "backslashreplace", "surrogateescape")  # another error handler is the user's own choice


def prepare() -> None:
    """Open what is closed on nothing, and spell out what a stream's encoding lacks, instead of failing."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file opened, such as a result, would take its place and its messages
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    codecs.register_error(HANDLER, _spell)
    if type(sys.stderr) is io.TextIOWrapper and sys.stderr is sys.__stderr__:
        sys.stderr = _Unfailing(sys.stderr.buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in REPLACED:
            stream.reconfigure(errors=HANDLER)


class _Unfailing(io.TextIOWrapper):
    """A stream of messages that go nowhere once they cannot be written: a run goes on without its terminal."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _close_off(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _close_off(self)


def as_shown(text: str) -> str:
    """Return a text as standard output will show it, on one line: columns are as wide as that."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return shown(text).encode(encoding, HANDLER).decode(encoding, "surrogateescape")


def complain(message: str, status: int) -> int:
    """Say on standard error what is wrong, once for all processes that work together, and return the exit status."""
    with contextlib.suppress(OSError):  # nobody can be told
        if current().says(message):
            print(f"m3d: {shown(message)}", file=sys.stderr)
    return status


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Drop what is printed on standard output while this lasts."""
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        yield


def settle() -> None:
    """Write out what is pending, or drop it where that fails: Python would try again at its end, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _close_off(stream)


def _close_off(stream: TextIO) -> None:
    """Have what is written on a stream, and what is pending, go nowhere."""
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a character that an encoding lacks in ASCII; a byte of a file's name that is no text, as it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return os.fsencode(character), end
    return SPELLED_OUT.get(character, character.encode("ascii", "backslashreplace").decode()), end
