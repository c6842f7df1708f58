"""The files that lie beside a set while it is made: the checkpoint, and what shows how the run goes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from m3d_condense.condensing.checkpoint import is_checkpoint
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import read_json
from m3d_condense.tools.leftovers import CHECKPOINT, GROUPS, METRICS, PREVIEW, TIMETABLE

FIRST = '{"step":'  # with which a logged step begins


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

    def strangers(self) -> list[Path]:
        """Return what lies under the names of these files, and is not of a run."""
        files = (self.checkpoint, self.metrics, self.preview, self.timetable)
        return [file for file in files if (file.exists() or file.is_symlink()) and not is_ours(file)]

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

    def group_counts(self) -> set[int]:
        """Return of how many groups there are sets, or runs that make them, to go on from."""
        return set(self._of_groups().values())

    def _clear_groups(self) -> None:
        """Remove what is of groups, and their folder unless anything else is in it."""
        for entry in self._of_groups():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        with suppress(OSError):
            self.groups.rmdir()

    def _of_groups(self) -> dict[Path, int]:
        """Return the sets of groups, and the files of runs that make them, each with the number of groups."""
        found = {}
        for entry in self.groups.iterdir() if self.groups.is_dir() else ():
            match = re.fullmatch(r"\d+-of-(\d+)(\..+)?", entry.name)
            if match is not None and (is_condensed_set(entry) if match[2] is None else is_ours(entry)):
                found[entry] = int(match[1])
        return found


def is_ours(file: Path) -> bool:
    """Whether a file is one that a run writes beside its set under this name, by what it holds.

    A picture tells nothing; it is ours beside metrics that are.
    """
    if file.name.endswith(CHECKPOINT):
        return is_checkpoint(file)
    if file.name.endswith(METRICS):
        return _is_metrics(file)
    if file.name.endswith(PREVIEW):
        return _is_metrics(file.with_name(file.name.removesuffix(PREVIEW) + METRICS))
    return file.name.endswith(TIMETABLE) and _is_timetable(file)


def _is_metrics(file: Path) -> bool:
    """Whether a file holds logged steps of a run, and nothing else; the last line may be cut short."""
    try:
        *lines, last = file.read_text(encoding="utf-8").split("\n")
        logged = [json.loads(line).keys() for line in lines]
        return FIRST.startswith(last[: len(FIRST)]) and all({"step", "seconds"} <= names for names in logged)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _is_timetable(file: Path) -> bool:
    try:
        return "time_limit" in read_json(file)
    except UserError:
        return False


@contextmanager
def abandoned(working: Working | None) -> Iterator[None]:
    """Remove what shows how a run goes where it ends in an exception, and leaves no checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if working is not None and not working.checkpoint.exists():
            working.clear(everything=False)
        raise
