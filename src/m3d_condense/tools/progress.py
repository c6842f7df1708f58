"""Progress with a rate and the time left: a live bar on a terminal, plain lines in a log or pipe."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from m3d_condense.tools.errors import UserError
from m3d_condense.tools.text import shown

PLAIN_INTERVAL = 10.0  # seconds between two plain lines
FEW = 3  # units before the time left is told
WINDOW = 30  # marks, one a second, over which the rate is taken
NAME = 80  # characters of a job's description
EndsIn: TypeAlias = Callable[[], float] | None
_quiet = False
_listeners: list[list[str]] = []


def set_quiet(quiet: bool = True) -> None:
    """Silence all notices and progress of this process, which go to stderr, or let them be seen again.

    The command line's ``-q``. Errors are raised all the same.

    Raises:
        UserError: what is given is no bool.
    """
    if not isinstance(quiet, bool):
        raise UserError("true or false", setting="quiet", value=quiet)
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether notices and progress are silenced."""
    return _quiet


def notice(message: str) -> None:
    """Tell the user one line on stderr, unless quiet."""
    for heard in _listeners:
        heard.append(message)
    tell(message)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the notices that are given while this lasts, those silenced by quiet included; progress is none."""
    heard: list[str] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners[:] = [other for other in _listeners if other is not heard]


def tell(message: str) -> None:
    """Tell the user one line on stderr, unless quiet, that `recorded` does not collect: it is not of the data."""
    if not _quiet:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False).print(shown(message))


class Reporter:
    """What a running job reports to; `advance` is cheap enough for an inner loop.

    `note` is a short text that stands behind the counts, such as the current loss.
    """

    def __init__(self, description: str, total: int, done: int, unit: str, ends_in: EndsIn = None) -> None:
        self.description, self.total, self.done, self.unit = shown(description, NAME), total, done, unit
        self.ends_in, self.note = ends_in, ""
        self._start = self._shown = time.monotonic()
        self._marks = deque([(self._start, done)], maxlen=WINDOW)
        self._bar: tuple[Progress, TaskID] | None = None

    @property
    def rate(self) -> float:
        """Units a second over the last half minute or so: a slow start, such as compiling, is forgotten."""
        then, done = self._marks[0]
        seconds = time.monotonic() - then
        return (self.done - done) / seconds if seconds > 0 else 0.0

    @property
    def left(self) -> str:
        """How long the job still takes, or how soon its time limit ends it."""
        rate = self.rate
        if self.done - self._marks[0][1] < FEW or rate == 0:  # a first step that compiles foretells nothing
            return "starting"
        seconds = (self.total - self.done) / rate
        allowed = math.inf if self.ends_in is None else self.ends_in()
        return f"{_clock(seconds)} left" if seconds <= allowed else f"{_clock(max(allowed, 0))} to the limit"

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count `count` more units as done, be it beyond the total; `note` replaces the text behind the counts."""
        self.done += count
        self.total = max(self.total, self.done)  # processes that share a job may do more of it than was foreseen
        if note is not None:
            self.note = note
        if _quiet:
            return
        if time.monotonic() - self._marks[-1][0] >= 1.0:
            self._marks.append((time.monotonic(), self.done))
        if self._bar is not None:
            bar, task = self._bar
            rate = f"{self.rate:.1f} {self.unit}/s"
            bar.update(task, completed=self.done, total=self.total, note=self.note, rate=rate, left=self.left)
        elif time.monotonic() - self._shown >= PLAIN_INTERVAL:
            self._shown = time.monotonic()
            tell(f"{self._line()}, {self.left}")

    def _line(self) -> str:
        line = f"{self.description}: {self.done}/{self.total} {self.unit}, {self.rate:.1f} {self.unit}/s"
        return f"{line}, {self.note}" if self.note else line

    def _finish(self) -> None:
        if not _quiet and self._bar is None:
            tell(f"{self._line()}, {_clock(time.monotonic() - self._start)} taken")


class Silent(Reporter):
    """Takes the reports of a job that is a small part of another."""

    def __init__(self) -> None:
        super().__init__("", 0, 0, "")

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Report nothing."""


@contextmanager
def progress(
    description: str, total: int, *, done: int = 0, unit: str = "it", ends_in: EndsIn = None
) -> Iterator[Reporter]:
    """Report on a job of `total` units, of which `done` were finished before (a resumed run).

    Args:
        description, total, done, unit: of the job.
        ends_in: tells the seconds after which a time limit ends it, finished or not.
    """
    reporter = Reporter(description, total, done, unit, ends_in)
    if _quiet or not sys.stderr.isatty():
        yield reporter
        reporter._finish()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True, emoji=False)) as bar:
        task = bar.add_task(reporter.description, total=total, completed=done, note="", rate="", left=reporter.left)
        reporter._bar = (bar, task)
        yield reporter


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
