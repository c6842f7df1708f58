"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.growth import Earlier, earlier
from m3d_condense.condensing.observing import Watching, observers
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.working import Working, abandoned
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.group import current
from m3d_condense.recipes import methods
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
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
        time_limit: seconds of this call after which the loop stops and what there is is stored. Where the encoders are
            a pool, it is divided between the training of its networks and the steps, which then end within it; see
            `m3d_condense.condensing.timetable`.
        start_from: an earlier set, or its folder, of some or all classes of the data, matched by name, and of at most
            `ipc` images a class. Its images are the first of their classes; the others start as usual.
        keep_old: whether those images stay as they are, to the bit; else they are where the optimisation starts. By
            default they stay where images or classes are added to them, and are optimised further where none is.
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
    check_memory(dataset, recipe)
    grown_from = _earlier(start_from, keep_old, dataset, recipe)
    group, target = current(), Path(out) if out is not None else None
    asked = Watching(watch=watch, preview_every=preview_every, track=track)
    asked.check(target)
    engine, timetable = Engine(execution), Timetable.asked(recipe, time_limit, settings)
    if target is None:
        recipe = recipe if timetable is None else timetable.made(dataset, recipe, engine)
        made = _made(dataset, recipe, engine, time_limit, asked, grown_from)
        return _collect(dataset, recipe, made, engine.execution, time_limit, _told(grown_from, start_from))
    known = None if timetable is None or overwrite else group.by_first(partial(timetable.known, target))
    recipe = recipe if known is None else dataclasses.replace(recipe, **known)
    place = Place(target=target, identity=_identity(dataset, recipe, grown_from), overwrite=overwrite)
    finished = group.by_first(place.finished)  # which may lie where nothing can be written
    if finished is not None:
        with suppress(OSError):
            sweep(target)  # what a process left that was killed at its very end
        return finished
    with group.held_by_first(lambda: alone(target, _stored_bytes(dataset, recipe))):
        finished = group.by_first(place.finished)
        if finished is not None:
            return finished
        if timetable is not None and known is None:
            recipe = timetable.made(dataset, recipe, engine, target)
            place = dataclasses.replace(place, identity=_identity(dataset, recipe, grown_from))
        made = _made(dataset, recipe, engine, time_limit, asked, grown_from, place)
        condensed = _collect(dataset, recipe, made, engine.execution, time_limit, _told(grown_from, start_from))
        group.by_first(lambda: place.store(condensed, complete=made.steps == recipe.iterations))
    return condensed


def _identity(dataset: ImageDataset, recipe: Recipe, grown_from: Earlier | None) -> dict[str, Any]:
    """Return what a checkpoint or a set of this run agrees with."""
    identity = {"recipe": dataclasses.asdict(recipe), "fingerprint": dataset.fingerprint}
    return identity if grown_from is None else identity | {"start_from": grown_from.identity()}


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
class Condensation:
    """What came of a run: the pixels, the steps and seconds they took, the history, and what was used."""

    pixels: Pixels
    steps: int
    seconds: float
    history: list[dict[str, float]]
    used: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run is stored, and what may lie there.

    Attributes:
        target: the folder of the set; its checkpoint lies beside it.
        identity: the run's recipe, its data's fingerprint, and what it grows from: what a checkpoint must agree with,
            JSON-able; the loop adds its arithmetic.
        overwrite: whether a set or a begun run of other settings gives way.
    """

    target: Path
    identity: dict[str, Any]
    overwrite: bool

    @property
    def working(self) -> Working:
        """The files of the run beside the target."""
        return Working.beside(self.target)

    def finished(self) -> CondensedSet | None:
        """Return the set at the target if it is of this very run, and that was completed.

        Raises:
            UserError: something else is there, and is not ours, or not to be overwritten; nothing has been changed.
        """
        CondensedSet.check_target(self.target)
        saved = self.working.checkpoint
        begun = saved.exists()
        if self.overwrite:
            if begun and not checkpoint.is_checkpoint(saved):
                raise UserError(f"{saved} is no checkpoint of ours and would be lost; move it elsewhere")
            return None
        if not is_condensed_set(self.target):
            return None
        found = CondensedSet.load(self.target)
        recipe = {name: found.settings.get(name) for name in self.identity["recipe"]}
        made_from = {"recipe": recipe, "fingerprint": found.source.get("fingerprint")}
        grown_from = found.settings.get("start_from")
        if isinstance(grown_from, dict):
            made_from["start_from"] = {name: value for name, value in grown_from.items() if name != "set"}
        if made_from != self.identity:
            raise UserError(
                f"{self.target}: holds a condensed set of other settings or data; "
                f"give another {Setting('out')}, or {Setting('overwrite', True)}"
            )
        if begun:
            return None
        notice(f"{self.target}: already condensed with these settings; {Setting('overwrite', True)} runs it again")
        return found

    def store(self, condensed: CondensedSet, *, complete: bool) -> None:
        """Write the set; the checkpoint of a complete run has served."""
        condensed.save(self.target)
        self.working.clear(everything=complete)


def _made(
    dataset: ImageDataset,
    recipe: Recipe,
    engine: Engine,
    time_limit: float | None,
    asked: Watching,
    grown_from: Earlier | None,
    place: Place | None = None,
) -> Condensation:
    """Run the loop, or for a recipe without steps take the images it would start from."""
    watch = Stopwatch()
    target, working, identity = (None, None, {}) if place is None else (place.target, place.working, place.identity)
    anew = place is not None and place.overwrite
    if recipe.iterations == 0:
        if working is not None and not anew:
            saved = working.checkpoint
            current().by_first(lambda: checkpoint.read(saved, identity) is None)  # one of another run is not to be lost
        pixels = start(dataset, recipe, engine, watch, grown_from)
        return Condensation(pixels=pixels, steps=0, seconds=watch.seconds, history=[], used=engine.describe())
    group = current()
    track, shown = (asked.track, working) if group.leads else (None, None)
    with tracking(track, target, dataset.name, dataclasses.asdict(recipe)) as tracker, abandoned(shown):
        run = begin(dataset, recipe, engine, watch, grown_from)
        observe = observers(asked, dataset, recipe, engine, shown, tracker)
        left = None if time_limit is None else time_limit - watch.seconds
        run.loop(identity, None if working is None else working.checkpoint, left, observe, anew=anew)
    used = run.plan.placed.describe() + (f"; {group.size} processes" if group.size > 1 else "")
    return Condensation(pixels=run.pixels, steps=run.step, seconds=watch.seconds, history=run.history, used=used)


def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]


def _stored_bytes(dataset: ImageDataset, recipe: Recipe) -> int:
    """Return what the pixels of a checkpoint take, with what the optimiser keeps of them."""
    return FLOATS * 4 * dataset.num_classes * recipe.ipc * dataset.train.images[0].numel()


def _collect(
    dataset: ImageDataset,
    recipe: Recipe,
    made: Condensation,
    execution: Execution,
    time_limit: float | None,
    grown_from: dict[str, Any],
) -> CondensedSet:
    """Put together what is stored of a run."""
    images, labels = made.pixels.to_uint8()
    versions, hardware = describe_environment()
    return CondensedSet(
        images=images,
        labels=labels,
        class_names=dataset.class_names,
        factor=recipe.factor,
        mean=dataset.mean,
        std=dataset.std,
        method=recipe.method,
        settings=dataclasses.asdict(recipe) | dataclasses.asdict(execution) | {"time_limit": time_limit} | grown_from,
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
