"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import checkpoint, groups
from m3d_condense.condensing.growth import Earlier, earlier
from m3d_condense.condensing.observing import Watching, observers
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.place import Place
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.condensing.working import abandoned
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.group import current
from m3d_condense.recipes import methods
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.leftovers import sweep
from m3d_condense.tools.locks import alone
from m3d_condense.tools.progress import notice
from m3d_condense.tools.seeds import derive
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.tools.tracking import tracking

FLOATS = 3  # numbers that a checkpoint holds of each pixel, at most


@torch.inference_mode(False)
@torch.enable_grad()
def condense(
    data: Any,
    *,
    ipc: int = 10,
    method: str = "m3d",
    preset: str = "quick",
    out: str | Path | None = None,
    overwrite: bool = False,
    time_limit: float | None = None,
    start_from: CondensedSet | str | Path | None = None,
    keep_old: bool | None = None,
    class_groups: int = 1,
    watch: int = 0,
    preview_every: int = 0,
    track: str | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> CondensedSet:
    """Condense a labelled image data set into `ipc` images per class.

    With `out`, the run is saved as it goes, an interrupted one goes on where it stopped, and one that is
    already complete is returned as it is. One that a time limit stopped is stored, and goes on likewise. While it goes,
    its logged steps stand in OUT.metrics.jsonl; in the end they are in the set.

    Processes that work together (see `m3d_condense.machine.joining`) each condense some of the classes; the first of
    them writes, and all return the whole set.

    Args:
        data: anything `load` takes, or what it returned.
        ipc: stored images per class.
        method: a row of `m3d_condense.recipes.methods.METHODS`.
        preset: "quick" (minutes on two cores) or "paper".
        out: folder for the condensed set.
        overwrite: discard a finished or begun run of `out`.
        time_limit: seconds of this call after which the loop stops and what there is is stored.
        start_from: an earlier set, or its folder, of some or all classes of the data, matched by name, and of at most
            `ipc` images a class. Its images are the first of their classes; the others start as usual.
        keep_old: whether those images stay as they are, to the bit; else they are where the optimisation starts. By
            default they stay where images or classes are added to them, and are optimised further where none is.
        class_groups: how many groups the classes are condensed in, one after the other, and joined to one set: as if
            each were a data set of its own, but for the draws. It takes the memory of one, and a network that is
            trained tells the classes of its group apart.
        watch: steps between two scores of a small network on the test split, which are put into the history; 0 for
            none. They decide nothing, and their seconds do not count.
        preview_every: steps between two pictures of the images, OUT.preview.png; 0 for none.
        track: "tensorboard" or "trackio", where they are installed: shows the history while the run goes.
        execution: device, precision, compilation, memory.
        **settings: any field of `Recipe`, in place of the preset's.

    Raises:
        UserError: for settings, data or a set to start from that cannot be used, or an `out` that holds another run.
    """
    dataset = load(data)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    if recipe.factor > min(dataset.size):
        height, width = dataset.size
        raise UserError(f"larger than the images of {height}×{width}", setting="factor", value=recipe.factor)
    groups.check_groups(class_groups, dataset.num_classes, {"start_from": start_from, "watch": watch})
    check_memory(dataset, recipe)
    grown_from = _earlier(start_from, keep_old, dataset, recipe)
    target = Path(out) if out is not None else None
    asked = Watching(watch=watch, preview_every=preview_every, track=track)
    asked.check(target)
    engine = Engine(execution)
    told = _told(grown_from, start_from)
    task = Task(
        dataset=dataset,
        recipe=recipe,
        engine=engine,
        time_limit=time_limit,
        asked=asked,
        grown_from=grown_from,
        told=told,
        overwrite=overwrite,
    )
    return _in_groups(task, class_groups, target) if class_groups > 1 else _in_one(task, target)


def _in_one(task: Task, target: Path | None) -> CondensedSet:
    """Condense all the classes of a task together."""
    place = task.place(target, {})
    return _once(task, place, lambda: _collect(task, _made(task, place)))


def _in_groups(task: Task, count: int, target: Path | None) -> CondensedSet:
    """Condense the classes of a task in groups, one after the other, each for its share of the time."""
    place = task.place(target, {"class_groups": count})
    parts = groups.divided(task.dataset.num_classes, count)

    def make() -> CondensedSet:
        sets = []
        for number, classes in enumerate(parts):
            dataset = task.dataset.of_classes(classes)
            notice(f"[{number + 1}/{count}] {dataset.num_classes} classes, from {dataset.class_names[0]} on")
            limit = None if task.time_limit is None else task.time_limit / count
            part = dataclasses.replace(task, dataset=dataset, time_limit=limit)
            sets.append(_in_one(part, None if place is None else place.working.group(number, count)))
        return groups.joined(sets, task.dataset, {"class_groups": count, "time_limit": task.time_limit})

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
        condensed = make()
        group.by_first(lambda: place.store(condensed, complete=condensed.steps == task.recipe.iterations))
    return condensed


def _earlier(
    start_from: CondensedSet | str | Path | None, keep_old: bool | None, dataset: ImageDataset, recipe: Recipe
) -> Earlier | None:
    """Return what the run grows from, if anything."""
    if start_from is not None:
        return earlier(start_from, dataset, recipe, keep_old)
    if keep_old is not None:
        raise UserError(f"goes with {Setting('start_from')} only", setting="keep_old", value=keep_old)
    return None


def _told(grown_from: Earlier | None, start_from: CondensedSet | str | Path | None) -> dict[str, Any]:
    """Return what a set's settings say of the one it grew from."""
    if grown_from is None:
        return {}
    where = str(Path(start_from).resolve()) if isinstance(start_from, str | Path) else None
    return {"start_from": grown_from.identity() | {"set": where}}


def recipe_for(dataset: ImageDataset, method: str, preset: str, ipc: int, overrides: Mapping[str, Any]) -> Recipe:
    """Resolve a method's settings for a data set, see `m3d_condense.recipes.methods.recipe`."""
    return methods.recipe(
        method,
        preset,
        ipc=ipc,
        side=min(dataset.size),
        channels=dataset.channels,
        num_classes=dataset.num_classes,
        images_per_class=int(dataset.train.labels.bincount().max()),
        mirrored=dataset.mirrored,
        overrides=overrides,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is condensed, and how.

    Attributes:
        dataset, recipe, engine, time_limit: see `condense`.
        asked: what looks on.
        grown_from: images of an earlier set.
        told: what the set's settings say of that.
        overwrite: whether what is stored gives way.
    """

    dataset: ImageDataset
    recipe: Recipe
    engine: Engine
    time_limit: float | None
    asked: Watching
    grown_from: Earlier | None
    told: dict[str, Any]
    overwrite: bool

    def place(self, target: Path | None, more: dict[str, Any]) -> Place | None:
        """Return where it is stored, told by what it is made of and `more`; None where it is not."""
        if target is None:
            return None
        identity = {"recipe": dataclasses.asdict(self.recipe), "fingerprint": self.dataset.fingerprint, **more}
        if self.grown_from is not None:
            identity["start_from"] = self.grown_from.identity()
        return Place(target=target, identity=identity, overwrite=self.overwrite)


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


def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]


def _stored_bytes(dataset: ImageDataset, recipe: Recipe) -> int:
    """Return what the pixels of a checkpoint take, with what the optimiser keeps of them."""
    return FLOATS * 4 * dataset.num_classes * recipe.ipc * dataset.train.images[0].numel()


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
        settings=dataclasses.asdict(recipe) | dataclasses.asdict(execution) | limit | task.told,
        source=dataset.source | {"name": dataset.name, "fingerprint": dataset.fingerprint},
        seed=recipe.seed,
        versions=versions,
        hardware=hardware | {"used": made.used},
        seconds=round(made.seconds, 3),
        steps=made.steps,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        history=made.history,
        scores=[],
    )
