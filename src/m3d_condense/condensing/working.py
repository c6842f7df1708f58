"""The files that lie beside a set while it is made: the checkpoint, and what shows how the run goes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.tools.leftovers import CHECKPOINT, GROUPS, METRICS, PREVIEW, TIMETABLE


@dataclass(frozen=True, kw_only=True)
class Working:
    """The files beside a set that is being made.

    Attributes:
        checkpoint: the run's state.
        metrics: its logged steps as JSON lines; the finished set has them too.
        preview: its images at the last step that was drawn.
        timetable: how its time limit is divided, see `m3d_condense.condensing.timetable`.
        groups: the folder of the sets of groups of classes, out of which the set will be made.
    """

    checkpoint: Path
    metrics: Path
    preview: Path
    timetable: Path
    groups: Path

    @classmethod
    def beside(cls, target: Path) -> Working:
        """Return the files of the run that makes the set at `target`."""
        name = target.name
        return cls(
            checkpoint=target.with_name(name + CHECKPOINT),
            metrics=target.with_name(name + METRICS),
            preview=target.with_name(name + PREVIEW),
            timetable=target.with_name(name + TIMETABLE),
            groups=target.with_name(name + GROUPS),
        )

    def clear(self, *, everything: bool) -> None:
        """Remove what the set that is stored now shows; with `everything`, all that a later call could go on from."""
        self.metrics.unlink(missing_ok=True)
        self.preview.unlink(missing_ok=True)
        if everything:
            self.checkpoint.unlink(missing_ok=True)
            self.timetable.unlink(missing_ok=True)
            self._clear_groups()

    def group(self, number: int, count: int) -> Path:
        """Return the place of the set of one of `count` groups, counted from 0."""
        return self.groups / f"{number + 1}-of-{count}"

    def has_groups(self, count: int) -> bool:
        """Whether sets of so many groups, or runs that make them, are there to go on from."""
        return any(re.fullmatch(rf"\d+-of-{count}(\..+)?", name) for name in self._within_groups())

    def _clear_groups(self) -> None:
        """Remove the sets of groups, and their folder unless anything else is in it."""
        for name in self._within_groups():
            if re.fullmatch(r"\d+-of-\d+", name) and is_condensed_set(self.groups / name):
                shutil.rmtree(self.groups / name)
        with suppress(OSError):
            self.groups.rmdir()

    def _within_groups(self) -> list[str]:
        return [entry.name for entry in self.groups.iterdir()] if self.groups.is_dir() else []


@contextmanager
def abandoned(working: Working | None) -> Iterator[None]:
    """Remove what shows how a run goes where it ends in an exception, and leaves no checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if working is not None and not working.checkpoint.exists():
            working.clear(everything=False)
        raise
