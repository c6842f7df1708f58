"""The seconds of a run, over interruptions, and with what earlier runs spared it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Counts the seconds since it was made, and those it is credited with."""

    def __init__(self) -> None:
        self._begun, self._credit = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """What the run has taken so far."""
        return self.elapsed + self._credit

    @property
    def elapsed(self) -> float:
        """What has passed since it was made, or counts on: the seconds without the credited ones."""
        return time.monotonic() - self._begun

    def credit(self, seconds: float) -> None:
        """Add seconds that the run would have taken, had the cache not held what it needs."""
        self._credit += seconds

    def go_on_from(self, seconds: float) -> None:
        """Count on from what an interrupted run had taken."""
        self._begun, self._credit = time.monotonic(), seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the seconds of a block out of the count."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._begun += time.monotonic() - begun
