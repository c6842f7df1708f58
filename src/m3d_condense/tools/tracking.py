"""Trackers, the programs that show how runs go: tensorboard and trackio, where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import TENSORBOARD
from m3d_condense.tools.progress import notice

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "trackio": "trackio"}
"""What a tracker is called, which is also the name of its package, and the module that writes for it."""


class Tracker:
    """Is told the numbers of a run; this one does nothing with them."""

    def begin(self, step: int) -> None:
        """Begin behind this step, 0 for a new run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a step."""

    def close(self) -> None:
        """Write out what is pending."""


class TensorBoard(Tracker):
    """Writes event files, which `tensorboard --logdir` shows.

    Args:
        module: torch.utils.tensorboard.
        folder: of the event files.
    """

    def __init__(self, module: Any, folder: Path) -> None:
        self.module, self.folder = module, folder
        self.writer: Any = None

    def begin(self, step: int) -> None:
        """Open the event file; what an interrupted run had written behind this step counts no more."""
        self.writer = self.module.SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of a step."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is pending."""
        if self.writer is not None:
            self.writer.close()


class Trackio(Tracker):
    """Logs to trackio, on this machine.

    Args:
        module: trackio.
        project, name: of the run.
        settings: of the run, which are shown beside it.
    """

    def __init__(self, module: Any, project: str, name: str, settings: Mapping[str, Any]) -> None:
        self.module, self.project, self.name, self.settings = module, project, name, dict(settings)
        self.begun = False

    def begin(self, step: int) -> None:
        """Begin the run, or go on with that of its name."""
        resume = "allow" if step else "never"
        self.module.init(project=self.project, name=self.name, config=self.settings, resume=resume)
        self.begun = True

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step."""
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        """Send what is pending."""
        if self.begun:
            self.module.finish()


@contextmanager
def tracking(name: str | None, target: Path | None, project: str, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    """Yield the tracker of a run, which is closed at the end; with None, one that does nothing.

    Args:
        name: of the tracker.
        target: the folder that the run makes; needed where a name is given.
        project: what the run is of.
        settings: of the run.

    Raises:
        UserError: for an unknown name, or a tracker that is not installed.
    """
    tracker = Tracker() if name is None or target is None else _tracker(name, target, project, settings)
    try:
        yield tracker
    finally:
        tracker.close()


def _tracker(name: str, target: Path, project: str, settings: Mapping[str, Any]) -> Tracker:
    if name not in PACKAGES:
        raise UserError(f"one of {', '.join(PACKAGES)}", setting="track", value=name)
    try:
        module = importlib.import_module(PACKAGES[name])
    except ImportError:
        raise UserError(f"it is not installed; pip install {name}", setting="track", value=name) from None
    if name == "trackio":
        return Trackio(module, project, target.name, settings)
    folder = target.with_name(target.name + TENSORBOARD)
    notice(f"look on with: tensorboard --logdir {folder}")
    return TensorBoard(module, folder)
