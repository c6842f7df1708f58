"""One condensation as it is carried out: in one run or in groups of classes, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from m3d_condense.condensing import checkpoint, groups
from m3d_condense.condensing.growth import Earlier
from m3d_condense.condensing.observing import Watching, observers
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.place import Place
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.working import abandoned
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.group import current
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.leftovers import sweep
from m3d_condense.tools.locks import alone
from m3d_condense.tools.progress import notice
from m3d_condense.tools.ranges import even_ranges
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.tools.tracking import tracking

FLOATS = 3  # numbers that a checkpoint holds of each pixel, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is condensed, and how.

    Attributes:
        dataset, recipe, engine, time_limit: see `condense`.
        timetable: how that limit is divided, where that is still to be found.
        asked: what looks on.
        grown_from: images of an earlier set.
        told: what the set's settings say of that.
        code: what they say of a user's network, see `networks.code_named`.
        overwrite: whether what is stored gives way.
        of_group: whether these are the classes of one of several groups.
    """

    dataset: ImageDataset
    recipe: Recipe
    engine: Engine
    time_limit: float | None
    timetable: Timetable | None
    asked: Watching
    grown_from: Earlier | None
    told: dict[str, Any]
    code: dict[str, str]
    overwrite: bool
    of_group: bool = False

    def begun_at(self, target: Path | None) -> Task:
        """Return it with what an earlier call found of its time limit's division, and a place for what is found."""
        if self.timetable is None or target is None:
            return self
        timetable = self.timetable.for_run(target, self.identity())
        known = current().by_first(partial(timetable.known, stored=self.of_group or not self.overwrite))
        recipe = dataclasses.replace(self.recipe, **known)
        return dataclasses.replace(self, recipe=recipe, timetable=timetable.beyond(known))

    def timed(self) -> Task:
        """Return it with its time limit divided."""
        if self.timetable is None:
            return self
        recipe = self.timetable.made(self.dataset, self.recipe, self.engine)
        return dataclasses.replace(self, recipe=recipe, timetable=None)

    def identity(self) -> dict[str, Any]:
        """Return what its set is made of."""
        grown = {} if self.grown_from is None else {"start_from": self.grown_from.identity()}
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "fingerprint": self.dataset.fingerprint,
            "class_names": list(self.dataset.class_names),
            **self.code,
            **grown,
        }

    def place(self, target: Path | None, more: dict[str, Any]) -> Place | None:
        """Return where it is stored, told by what it is made of and `more`; None where it is not."""
        if target is None:
            return None
        return Place(
            target=target,
            identity=self.identity() | more,
            execution=dataclasses.asdict(self.engine.execution),
            overwrite=self.overwrite,
            of_group=self.of_group,
        )


def in_one(task: Task, target: Path | None) -> CondensedSet:
    """Condense all the classes of a task together."""
    task = task.begun_at(target)

    def make() -> CondensedSet:
        timed = task.timed()
        return _collect(timed, _made(timed, timed.place(target, {})))

    return _once(task, task.place(target, {}), make)


def in_groups(task: Task, count: int, target: Path | None) -> CondensedSet:
    """Condense the classes of a task in groups, one after the other, each for its share of the time."""
    place = task.place(target, {"class_groups": count})
    parts = even_ranges(task.dataset.num_classes, count)

    def make() -> CondensedSet:
        sets = []
        for number, classes in enumerate(parts):
            dataset = task.dataset.of_classes(classes)
            notice(f"[{number + 1}/{count}] {dataset.num_classes} classes, from {dataset.class_names[0]} on")
            limit = None if task.time_limit is None else task.time_limit / count
            part = dataclasses.replace(task, dataset=dataset, time_limit=limit, of_group=True)
            sets.append(in_one(part, None if place is None else place.working.group(number, count)))
        return groups.joined_sets(sets, task.dataset, {"class_groups": count, "time_limit": task.time_limit})

    return _once(task, place, make)


def _once(task: Task, place: Place | None, make: Callable[[], CondensedSet]) -> CondensedSet:
    """Return what is stored of a task if it is finished; else what `make` makes, and store it."""
    if place is None:
        return make()
    group, target = current(), place.target
    finished = group.by_first(place.finished)  # which may lie where nothing can be written
    if finished is not None:
        with suppress(OSError):
            sweep(target)  # what a process left that was killed at its very end
        return finished
    with group.held_by_first(lambda: alone(target, _stored_bytes(task.dataset, task.recipe))):
        finished = group.by_first(place.finished)
        if finished is not None:
            return finished
        group.by_first(place.check_beside)
        condensed = make()
        group.by_first(lambda: place.store(condensed, complete=condensed.steps == condensed.settings["iterations"]))
    return condensed


@dataclass(frozen=True, kw_only=True, eq=False)
class Condensation:
    """What came of a run: the pixels, the steps and seconds they took, the history, and what was used."""

    pixels: Pixels
    steps: int
    seconds: float
    history: list[dict[str, float]]
    used: str


def _made(task: Task, place: Place | None) -> Condensation:
    """Run the loop, or for a recipe without steps take the images it would start from."""
    watch, dataset, recipe, engine = Stopwatch(), task.dataset, task.recipe, task.engine
    target, working, identity = (None, None, {}) if place is None else (place.target, place.working, place.identity)
    anew = place is not None and place.overwrite
    if recipe.iterations == 0:
        if working is not None and not anew:
            saved = working.checkpoint
            current().by_first(lambda: checkpoint.read(saved, identity) is None)  # one of another run is not to be lost
        pixels = start(dataset, recipe, engine, watch, task.grown_from)
        return Condensation(pixels=pixels, steps=0, seconds=watch.seconds, history=[], used=engine.describe())
    group = current()
    track, shown = (task.asked.track, working) if group.leads else (None, None)
    with tracking(track, target, dataset.name, dataclasses.asdict(recipe)) as tracker, abandoned(shown):
        run = begin(dataset, recipe, engine, watch, task.grown_from)
        observe = observers(task.asked, dataset, recipe, engine, shown, tracker)
        run.loop(identity, None if working is None else working.checkpoint, task.time_limit, observe, anew=anew)
    used = run.plan.placed.describe() + (f"; {group.size} processes" if group.size > 1 else "")
    return Condensation(pixels=run.pixels, steps=run.step, seconds=watch.seconds, history=run.history, used=used)


def _collect(task: Task, made: Condensation) -> CondensedSet:
    """Put together what is stored of a run."""
    dataset, recipe, execution = task.dataset, task.recipe, task.engine.execution
    images, labels = made.pixels.to_uint8()
    versions, hardware = describe_environment()
    limit = {"time_limit": task.time_limit}
    return CondensedSet(
        images=images,
        labels=labels,
        class_names=dataset.class_names,
        factor=recipe.factor,
        mean=dataset.mean,
        std=dataset.std,
        method=recipe.method,
        settings=dataclasses.asdict(recipe) | dataclasses.asdict(execution) | limit | task.told | task.code,
        source=dataset.known_source,
        seed=recipe.seed,
        versions=versions,
        hardware=hardware | {"used": made.used},
        seconds=round(made.seconds, 3),
        steps=made.steps,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        history=made.history,
        scores=[],
    )


def _stored_bytes(dataset: ImageDataset, recipe: Recipe) -> int:
    """Return what the pixels of a checkpoint take, with what the optimiser keeps of them."""
    return FLOATS * 4 * dataset.num_classes * recipe.ipc * dataset.train.images[0].numel()
