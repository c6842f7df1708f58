"""How long a condensation will take on this machine, and how much memory, from a trial of a few steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from m3d_condense import networks
from m3d_condense.condensing import groups
from m3d_condense.condensing.condensation import check_factor, recipe_for
from m3d_condense.condensing.coresets import selector_training
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.trial import fitting_iterations, training_seconds
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.machine.memory import Peak, available_memory, peak_memory
from m3d_condense.recipes.effects import OF_ENCODERS
from m3d_condense.recipes.given import checked, checked_seconds
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.bits import bytes_of
from m3d_condense.tools.cache import nothing_kept

__all__ = ["Estimate", "Prepared", "estimate", "lightened", "prepared"]

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
        return min(int(left / self.each), self.iterations) if self.each else self.iterations


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
    time_limit = checked_seconds("time_limit", time_limit)
    dataset, engine = load(data), Engine(execution)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    timetable = Timetable.asked(recipe, time_limit, settings, class_groups)
    check_factor(dataset, recipe)
    groups.check_groups(class_groups, dataset.num_classes, {})
    check_memory(dataset, recipe)
    largest = max(groups.divided(dataset.num_classes, class_groups), key=len)
    part = dataset if class_groups == 1 else dataset.of_classes(largest)
    free, peak = available_memory(), peak_memory(engine.device)
    needed, before, each = prepared(part, recipe), 0.0, 0.0
    if needed.images:
        image_seconds = _image_seconds(part, recipe, needed.batch, engine)
        if timetable is not None:
            recipe = timetable.foreseen(recipe, needed.batch * image_seconds)
        before = prepared(part, recipe).images * image_seconds
    if recipe.iterations:
        with nothing_kept():
            _, start, each, _ = fitting_iterations(part, lightened(recipe), engine, TRIAL)
        before += start
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
    return dataclasses.replace(found, iterations=max(1, found.within(timetable.limit)))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the networks that one process trains are trained on before the steps that need them.

    Attributes:
        images: that go through training steps, one network after the other.
        batch: images of a training step.
        shared: whether another run on the same data finds the networks in the cache.
    """

    images: int = 0
    batch: int = 1
    shared: bool = True


def prepared(dataset: ImageDataset, recipe: Recipe) -> Prepared:
    """Return what is trained for a run before its steps: a pool or warm networks, and a network that selects."""
    count = len(dataset.train)
    warmed, steps, batch = recipe.encoders in OF_ENCODERS["encoder_warmup"], 0, min(recipe.encoder_batch, count)
    if recipe.has_pool:
        steps = current().share(recipe.encoder_count) * recipe.encoder_steps
    if warmed:
        steps = math.ceil(recipe.iterations / recipe.iterations_per_model) * recipe.encoder_warmup
    images = steps * batch
    if recipe.has_selector:
        training, steps = selector_training(dataset, recipe)
        selecting = min(training.batch, count)
        batch = batch if images else selecting
        images += steps * selecting
    return Prepared(images=images, batch=batch, shared=not warmed)


def lightened(recipe: Recipe) -> Recipe:
    """Return a recipe of the same steps without what `prepared` counts, or nearly so."""
    changes: dict[str, Any] = {"encoder_warmup": min(recipe.encoder_warmup, 1)}
    if recipe.encoders == "pool":
        changes |= {"encoder_count": 1, "encoder_steps": 1}
    if recipe.has_selector:
        changes["initialisation"] = "random"
    return dataclasses.replace(recipe, **changes)


def _image_seconds(dataset: ImageDataset, recipe: Recipe, batch: int, engine: Engine) -> float:
    """Return the seconds that a network of the recipe is trained on an image."""
    network = networks.build(recipe.network, **dataset.shape)
    training = Training(batch=batch, lr=recipe.encoder_lr, augmentation=recipe.siamese)
    placed = engine.place(network, dataset.example, TRAINED * training.batch)
    return training_seconds(placed, training, dataset, TRAINED) / training.batch
