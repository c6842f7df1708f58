"""A stopwatch to test with."""

from __future__ import annotations

from m3d_condense.tools.stopwatch import Stopwatch


class Credits(Stopwatch):
    """A watch that says what it was credited with."""

    given = 0.0

    def credit(self, seconds: float) -> None:
        self.given += seconds
