"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.observing import Watching, observers
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.condensing.working import Working, abandoned
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.environment import describe_environment
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

    Args:
        data: anything `load` takes, or what it returned.
        ipc: stored images per class.
        method: a row of `m3d_condense.recipes.methods.METHODS`.
        preset: "quick" (minutes on two cores) or "paper".
        out: folder for the condensed set.
        overwrite: discard a finished or begun run of `out`.
        time_limit: seconds of this call after which the loop stops and what there is is stored.
        watch: steps between two scores of a small network on the test split, which are put into the history; 0 for
            none. They decide nothing, and their seconds do not count.
        preview_every: steps between two pictures of the images, OUT.preview.png; 0 for none.
        track: "tensorboard" or "trackio", where they are installed: shows the history while the run goes.
        execution: device, precision, compilation, memory.
        **settings: any field of `Recipe`, in place of the preset's.

    Raises:
        UserError: for settings or data that cannot be used, or an `out` that holds another run.
    """
    dataset = load(data)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    if recipe.factor > min(dataset.size):
        height, width = dataset.size
        raise UserError(f"larger than the images of {height}×{width}", setting="factor", value=recipe.factor)
    check_memory(dataset, recipe)
    target = Path(out) if out is not None else None
    asked = Watching(watch=watch, preview_every=preview_every, track=track)
    asked.check(target)
    engine = Engine(execution)
    if target is None:
        made = _made(dataset, recipe, engine, time_limit, asked)
        return _collect(dataset, recipe, made, engine.execution, time_limit)
    place = Place(target=target, recipe=recipe, fingerprint=dataset.fingerprint, overwrite=overwrite)
    finished = place.finished()  # which may lie where nothing can be written
    if finished is not None:
        with suppress(OSError):
            sweep(target)  # what a process left that was killed at its very end
        return finished
    with alone(target, _stored_bytes(dataset, recipe)):
        finished = place.finished()
        if finished is not None:
            return finished
        made = _made(dataset, recipe, engine, time_limit, asked, place)
        condensed = _collect(dataset, recipe, made, engine.execution, time_limit)
        condensed.save(target)
        place.working.clear(everything=made.steps == recipe.iterations)
    return condensed


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
        recipe, fingerprint: of the run, and of its data.
        overwrite: whether a set or a begun run of other settings gives way.
    """

    target: Path
    recipe: Recipe
    fingerprint: str
    overwrite: bool

    @property
    def working(self) -> Working:
        """The files of the run beside the target."""
        return Working.beside(self.target)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with, JSON-able; the loop adds its arithmetic."""
        return {"recipe": dataclasses.asdict(self.recipe), "fingerprint": self.fingerprint}

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
        if recipe != self.identity["recipe"] or found.source.get("fingerprint") != self.fingerprint:
            raise UserError(
                f"{self.target}: holds a condensed set of other settings or data; "
                f"give another {Setting('out')}, or {Setting('overwrite', True)}"
            )
        if begun:
            return None
        notice(f"{self.target}: already condensed with these settings; {Setting('overwrite', True)} runs it again")
        return found


def _made(
    dataset: ImageDataset,
    recipe: Recipe,
    engine: Engine,
    time_limit: float | None,
    asked: Watching,
    place: Place | None = None,
) -> Condensation:
    """Run the loop, or for a recipe without steps take the images it would start from."""
    watch = Stopwatch()
    target, working, identity = (None, None, {}) if place is None else (place.target, place.working, place.identity)
    anew = place is not None and place.overwrite
    if recipe.iterations == 0:
        if working is not None and not anew:
            checkpoint.read(working.checkpoint, identity)  # one of another run is not to be lost
        pixels = start(dataset, recipe, engine, watch)
        return Condensation(pixels=pixels, steps=0, seconds=watch.seconds, history=[], used=engine.describe())
    with tracking(asked.track, target, dataset.name, dataclasses.asdict(recipe)) as tracker, abandoned(working):
        run = begin(dataset, recipe, engine, watch)
        observe = observers(asked, dataset, recipe, engine, working, tracker)
        run.loop(identity, None if working is None else working.checkpoint, time_limit, observe, anew=anew)
    used = run.plan.placed.describe()
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
        settings=dataclasses.asdict(recipe) | dataclasses.asdict(execution) | {"time_limit": time_limit},
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
