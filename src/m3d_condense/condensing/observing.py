"""What looks on while a run goes: a file of metrics, a picture, a small network that is scored, a tracker.

None of it changes what is computed: a run with it and one without end in the same bits.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from m3d_condense import networks
from m3d_condense.condensing.run import Observer, Run
from m3d_condense.condensing.working import Working
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.costs import FORWARD
from m3d_condense.machine.engine import Engine
from m3d_condense.recipes import protocols
from m3d_condense.recipes.recipe import Recipe, check_count
from m3d_condense.sets.folder import metrics
from m3d_condense.sets.preview import preview
from m3d_condense.sets.tiles import decode
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import write_file_atomic
from m3d_condense.tools.progress import Silent, notice
from m3d_condense.tools.seeds import derive
from m3d_condense.tools.tracking import Tracker
from m3d_condense.training.trainer import Trainer, shares

WATCHER, WATCHED_BY, WATCHED_STEPS = "convnet-width32", "quick", 500  # the network, its protocol, its steps at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watching:
    """What is asked for while a run goes; 0 and None leave it out.

    Attributes:
        watch: steps between two scores of a small network on the test split.
        preview_every: steps between two pictures of the images.
        track: the name of a tracker, see `m3d_condense.tools.tracking`.
    """

    watch: int = 0
    preview_every: int = 0
    track: str | None = None

    def __post_init__(self) -> None:
        for name in ("watch", "preview_every"):
            check_count(name, getattr(self, name), least=0)

    def check(self, target: Path | None, recipe: Recipe) -> None:
        """Raise `UserError` where something is to be written and there is no place for it, or no step to look at."""
        for name in ("watch", "preview_every", "track"):
            if recipe.iterations == 0 and getattr(self, name):
                raise UserError(f"{recipe.method} takes no steps", setting=name, value=getattr(self, name))
        for name in ("preview_every", "track"):
            if target is None and getattr(self, name):
                raise UserError(
                    f"is written beside the set; give {Setting('out')}", setting=name, value=getattr(self, name)
                )


def observers(
    asked: Watching, dataset: ImageDataset, recipe: Recipe, engine: Engine, working: Working | None, tracker: Tracker
) -> Observer:
    """Return one observer that does all that is asked for: what it adds to the history comes before what shows it.

    Of processes that work together all observe, but only the first has the working files and writes them.
    """
    found: list[Observer] = []
    if asked.watch:
        found.append(Watcher(dataset, recipe, engine, asked.watch))
    if working is not None:
        found.append(Metrics(working.metrics))
    if asked.preview_every:
        file = None if working is None else working.preview
        found.append(Previewer(file, dataset.class_names, asked.preview_every))
    found.append(Tracking(tracker))

    def observe(run: Run) -> None:
        for one in found:
            one(run)

    return observe


class Metrics:
    """Keeps the history of a run in a file of JSON lines.

    What an interrupted run had written after its checkpoint is dropped when it goes on: those steps are taken again.

    Args:
        file: is written anew at the beginning, and added to.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.written: int | None = None

    def __call__(self, run: Run) -> None:
        """Write what is new in the history."""
        if self.written is None:
            write_file_atomic(self.file, metrics(run.history))
        elif len(run.history) > self.written:
            with self.file.open("a") as lines:
                lines.write(metrics(run.history[self.written :]))
        self.written = len(run.history)


class Previewer:
    """Draws the images of a run every so many steps.

    Args:
        file: of the picture, which is replaced; None, where another process draws it.
        class_names: of the images.
        every: steps.
    """

    def __init__(self, file: Path | None, class_names: Sequence[str], every: int) -> None:
        self.file, self.class_names, self.every = file, tuple(class_names), every

    def __call__(self, run: Run) -> None:
        """Draw the images, at the beginning and every so many steps."""
        if run.step % self.every:
            return
        images, labels = run.pixels.to_uint8()  # waits for the device, so that the pause counts only the drawing
        if self.file is None:
            return
        with run.watch.paused():
            picture = io.BytesIO()
            preview(images, labels, self.class_names).save(picture, "PNG")
            write_file_atomic(self.file, picture.getvalue())


class Watcher:
    """Scores a small network on the images of a run every so many steps, and adds its accuracy to the history.

    It is trained from scratch on the decoded images as they would be stored, from the same initialisation every
    time, and tested on the test split: the images held out of the training split would be missing from what is
    condensed. Nothing is decided by it, and its seconds do not count as condensing.

    Args:
        dataset: its test split is named.
        recipe: of the run.
        engine: where the network runs.
        every: steps between two scores.
    """

    def __init__(self, dataset: ImageDataset, recipe: Recipe, engine: Engine, every: int) -> None:
        self.dataset, self.recipe, self.every = dataset, recipe, every
        network = networks.build(WATCHER, **dataset.shape)
        protocol = protocols.protocol(WATCHED_BY).adapted(
            dataset.problem(ipc=recipe.ipc, mirrored=recipe.flip), factor=recipe.factor
        )
        count = dataset.num_classes * recipe.decoded
        self.steps = min(protocol.steps(count), WATCHED_STEPS)
        scores = 1 + math.ceil(recipe.iterations / every)
        images = scores * (self.steps * min(protocol.training.batch, count) + len(dataset.test) * FORWARD)
        placed = engine.place(network, dataset.example, images)
        self.trainer = Trainer(placed, protocol.training, dataset.mean, dataset.std)
        self.test = engine.resident(dataset.test.images), dataset.test.labels
        notice(
            f"watching the test accuracy of {WATCHER}, {self.steps} steps of the protocol {WATCHED_BY}, every {every} "
            "steps; it decides nothing"
        )

    def __call__(self, run: Run) -> None:
        """Score the network before the first step, every so many steps, and after the last."""
        due = run.step % self.every == 0 or run.step == self.recipe.iterations
        if not due or any(entry["step"] == run.step and "accuracy" in entry for entry in run.history):
            return
        images, labels = run.pixels.to_uint8()
        with run.watch.paused():
            accuracy = run.pixels.shard.group.by_first(lambda: self.accuracy(images, labels))
        run.history.append({"step": run.step, "accuracy": accuracy, "seconds": round(run.watch.seconds, 3)})

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Train the network on stored images N×C×H×W, uint8, and return its test accuracy in percent."""
        factor, device = self.recipe.factor, self.trainer.device
        trained_on = decode(images.to(device).float() / 255, factor), labels.to(device).repeat_interleave(factor**2)
        silent = Silent()
        self.trainer.fit([trained_on], [derive(self.recipe.seed, "watch")], self.steps, silent)
        return 100.0 * shares(self.trainer.predictions(self.test[0]), self.test[1])[0]


class Tracking:
    """Hands the history of a run to a tracker.

    Args:
        tracker: is told every entry once.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.told: int | None = None

    def __call__(self, run: Run) -> None:
        """Tell what is new; of a run that goes on, the earlier process has told the rest."""
        if self.told is None:
            self.tracker.begin(run.step)
            self.told = len(run.history) if run.step else 0
        for entry in run.history[self.told :]:
            self.tracker.log(int(entry["step"]), {name: value for name, value in entry.items() if name != "step"})
        self.told = len(run.history)
