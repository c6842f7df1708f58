"""How long a condensation will take on this machine, and how much memory, from a trial of a few steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from m3d_condense import networks
from m3d_condense.condensing import encoders, groups
from m3d_condense.condensing.condensation import check_factor, recipe_for
from m3d_condense.condensing.coresets import selector_training
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.trial import Trial, training_seconds, try_out
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.machine.memory import Peak, available_memory, peak_memory
from m3d_condense.recipes.effects import OF_ENCODERS
from m3d_condense.recipes.given import checked, checked_time_limit
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.bits import bytes_of
from m3d_condense.tools.cache import nothing_kept
from m3d_condense.tools.ranges import even_ranges

__all__ = ["Estimate", "Prepared", "estimate", "image_seconds", "lightened", "prepared", "try_steps"]

TRIAL = 20.0  # seconds, of which a tenth is tried, or a few steps
TRAINED = 3  # training steps of a network that are timed


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a condensation will take.

    Attributes:
        groups: of classes, one after the other.
        classes: of the largest group, which was tried.
        iterations: steps of each group.
        networks: of a pool, trained beforehand, and the training steps of each.
        before: seconds before the first step of a group: networks that are trained beforehand, compilation.
        each: seconds of a step.
        peak: memory in bytes at its peak, as far as the trial went, and what it is of; see `peak_memory`.
        free: bytes of memory that were free before; None where the system does not tell.
        nbytes: of the set.
        machine: what it was tried on.
    """

    groups: int
    classes: int
    iterations: int
    networks: tuple[int, int]
    before: float
    each: float
    peak: Peak
    free: int | None
    nbytes: int
    machine: str

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.groups * (self.before + self.iterations * self.each)

    def within(self, limit: float) -> int:
        """Return how many of a group's steps are taken within `limit` seconds of all groups."""
        left = max(limit / self.groups - self.before, 0.0)
        return min(max(1, int(left / self.each)), self.iterations) if self.each else self.iterations


@checked
def estimate(
    data: Any,
    *,
    ipc: int = 10,
    method: str = "m3d",
    preset: str = "quick",
    class_groups: int = 1,
    time_limit: float | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> Estimate:
    """Try a few steps of what `condense` would do, and reckon the whole; nothing is stored.

    The arguments are those of `condense`. Networks that are trained beforehand count though the cache may have them. A
    time limit changes what would be done where it is divided between them and the steps; elsewhere it ends the steps.

    Raises:
        UserError: as `condense`.
    """
    time_limit = checked_time_limit(time_limit)
    dataset, engine = load(data), Engine(execution)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    timetable = Timetable.asked(recipe, time_limit, settings, class_groups)
    check_factor(dataset, recipe)
    groups.check_groups(class_groups, dataset.num_classes, {})
    check_memory(dataset, recipe)
    largest = max(even_ranges(dataset.num_classes, class_groups), key=len)
    part = dataset if class_groups == 1 else dataset.of_classes(largest)
    free, peak = available_memory(), peak_memory(engine.device)
    needed, before, each = prepared(part, recipe), 0.0, 0.0
    if needed.training is not None:
        each_image = image_seconds(part, recipe.network, needed.training, engine)
        if timetable is not None:
            recipe = timetable.foreseen(recipe, min(needed.training.batch, len(part.train)) * each_image)
        before = prepared(part, recipe).images * each_image
    if recipe.iterations:
        trial = try_steps(part, recipe, engine)
        before, each = before + trial.start, trial.each
    found = Estimate(
        groups=class_groups,
        classes=part.num_classes,
        iterations=recipe.iterations,
        networks=(recipe.encoder_count, recipe.encoder_steps) if recipe.has_pool else (0, 0),
        before=before,
        each=each,
        peak=peak(),
        free=free,
        nbytes=bytes_of((dataset.num_classes * ipc, *dataset.train.images[0].shape), recipe.bits),
        machine=engine.describe(),
    )
    if timetable is None or "iterations" in timetable.given:
        return found
    return dataclasses.replace(found, iterations=found.within(timetable.limit))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the networks that one process trains are trained on before the steps that need them.

    Attributes:
        images: that go through training steps, one network after the other.
        training: how most of the networks are trained; None where there are none.
        shared: whether another run on the same data finds the networks in the cache.
    """

    images: int = 0
    training: Training | None = None
    shared: bool = True


def prepared(dataset: ImageDataset, recipe: Recipe) -> Prepared:
    """Return what is trained for a run before its steps: a pool or warm networks, and a network that selects."""
    warmed, steps = recipe.encoders in OF_ENCODERS["encoder_warmup"], 0
    if recipe.has_pool:
        steps = current().share(recipe.encoder_count) * recipe.encoder_steps
    if warmed:
        steps = math.ceil(recipe.iterations / recipe.iterations_per_model) * recipe.encoder_warmup
    trained = [(steps, encoders.training(recipe))] if steps else []
    if recipe.has_selector:
        training, selecting = selector_training(dataset, recipe)
        trained.append((selecting, training))
    images = sum(steps * min(training.batch, len(dataset.train)) for steps, training in trained)
    return Prepared(images=images, training=trained[0][1] if trained else None, shared=not warmed)


def try_steps(dataset: ImageDataset, recipe: Recipe, engine: Engine) -> Trial:
    """Take the first steps of a run, without the networks that `prepared` counts."""
    with nothing_kept():
        return try_out(dataset, lightened(recipe), engine, TRIAL)


def lightened(recipe: Recipe) -> Recipe:
    """Return a recipe of the same steps without what `prepared` counts, or nearly so."""
    changes: dict[str, Any] = {"encoder_warmup": min(recipe.encoder_warmup, 1)}
    if recipe.encoders == "pool":
        changes |= {"encoder_count": 1, "encoder_steps": 1}
    if recipe.has_selector:
        changes["initialisation"] = "random"
    return dataclasses.replace(recipe, **changes)


def image_seconds(dataset: ImageDataset, network: str, training: Training, engine: Engine) -> float:
    """Return the seconds that a network is trained so on an image of a data set."""
    training = dataclasses.replace(training, batch=min(training.batch, len(dataset.train)))
    placed = engine.place(networks.build(network, **dataset.shape), dataset.example, TRAINED * training.batch)
    return training_seconds(placed, training, dataset, TRAINED) / training.batch
