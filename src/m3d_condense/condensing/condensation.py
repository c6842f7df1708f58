"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
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
from m3d_condense.tools.progress import notice
from m3d_condense.tools.seeds import derive
from m3d_condense.tools.stopwatch import Stopwatch


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
    execution: Execution | None = None,
    **settings: Any,
) -> CondensedSet:
    """Condense a labelled image data set into `ipc` images per class.

    With `out`, the run is saved as it goes, an interrupted one goes on where it stopped, and one that is
    already complete is returned as it is. One that a time limit stopped is stored, and goes on likewise.

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
    identity = {"recipe": dataclasses.asdict(recipe), "fingerprint": dataset.fingerprint}
    group, target = current(), Path(out) if out is not None else None
    saved = target.with_name(target.name + ".checkpoint") if target is not None else None
    if target is not None and saved is not None:
        finished = group.by_first(partial(_finished, target, saved, identity, overwrite))
        if finished is not None:
            return finished
    engine = Engine(execution)
    made = _made(dataset, recipe, engine, identity, saved, time_limit)
    condensed = _collect(dataset, recipe, made, engine.execution, time_limit)
    if target is not None and saved is not None:
        group.by_first(partial(_store, condensed, target, saved, made.steps == recipe.iterations))
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


def _made(
    dataset: ImageDataset,
    recipe: Recipe,
    engine: Engine,
    identity: dict[str, Any],
    saved: Path | None,
    time_limit: float | None,
) -> Condensation:
    """Run the loop, or for a recipe without steps take the images it would start from."""
    watch = Stopwatch()
    if recipe.iterations == 0:
        if saved is not None:
            current().by_first(lambda: checkpoint.read(saved, identity) is None)  # another run's is not to be lost
        pixels = start(dataset, recipe, engine, watch)
        return Condensation(pixels=pixels, steps=0, seconds=watch.seconds, history=[], used=engine.describe())
    run = begin(dataset, recipe, engine, watch)
    run.loop(identity, saved, time_limit)
    used = run.plan.placed.describe() + (f"; {current().size} processes" if current().size > 1 else "")
    return Condensation(pixels=run.pixels, steps=run.step, seconds=watch.seconds, history=run.history, used=used)


def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]


def _finished(target: Path, saved: Path, identity: dict[str, Any], overwrite: bool) -> CondensedSet | None:
    """Return the set at the target if it is of this very run, and that was completed; refuse any other."""
    CondensedSet.check_target(target)
    if overwrite:
        saved.unlink(missing_ok=True)
        return None
    if not is_condensed_set(target):
        return None
    found = CondensedSet.load(target)
    recipe = {name: found.settings.get(name) for name in identity["recipe"]}
    if recipe != identity["recipe"] or found.source.get("fingerprint") != identity["fingerprint"]:
        raise UserError(
            f"{target}: holds a condensed set of other settings or data; "
            f"give another {Setting('out')}, or {Setting('overwrite', True)}"
        )
    if saved.exists():
        return None
    notice(f"{target}: already condensed with these settings; {Setting('overwrite', True)} runs it again")
    return found


def _store(condensed: CondensedSet, target: Path, saved: Path, complete: bool) -> None:
    """Write a set to its folder; the checkpoint of a complete run has served."""
    condensed.save(target)
    if complete:
        saved.unlink(missing_ok=True)


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
