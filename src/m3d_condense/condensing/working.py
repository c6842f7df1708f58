"""The files that lie beside a set while it is made: the checkpoint, and what shows how the run goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT, METRICS, PREVIEW, TIMETABLE = ".checkpoint", ".metrics.jsonl", ".preview.png", ".timetable.json"
"""Behind the set's name."""


@dataclass(frozen=True, kw_only=True)
class Working:
    """The files beside a set that is being made.

    Attributes:
        checkpoint: the run's state.
        metrics: its logged steps as JSON lines; the finished set has them too.
        preview: its images at the last step that was drawn.
        timetable: how its time limit is divided, see `m3d_condense.condensing.timetable`.
    """

    checkpoint: Path
    metrics: Path
    preview: Path
    timetable: Path

    @classmethod
    def beside(cls, target: Path) -> Working:
        """Return the files of the run that makes the set at `target`."""
        name = target.name
        return cls(
            checkpoint=target.with_name(name + CHECKPOINT),
            metrics=target.with_name(name + METRICS),
            preview=target.with_name(name + PREVIEW),
            timetable=target.with_name(name + TIMETABLE),
        )

    def clear(self, *, everything: bool) -> None:
        """Remove what the set that is stored now shows; with `everything`, all that a later call could go on from."""
        self.metrics.unlink(missing_ok=True)
        self.preview.unlink(missing_ok=True)
        if everything:
            self.checkpoint.unlink(missing_ok=True)
            self.timetable.unlink(missing_ok=True)


@contextmanager
def abandoned(working: Working | None) -> Iterator[None]:
    """Remove what shows how a run goes where it ends in an exception, and leaves no checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if working is not None and not working.checkpoint.exists():
            working.clear(everything=False)
        raise
