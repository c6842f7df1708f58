"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.growth import Earlier, earlier
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.environment import describe_environment
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
    start_from: CondensedSet | str | Path | None = None,
    keep_old: bool | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> CondensedSet:
    """Condense a labelled image data set into `ipc` images per class.

    With `out`, the run is saved as it goes, an interrupted one goes on where it stopped, and one that is
    already complete is returned as it is. One that a time limit stopped is stored, and goes on likewise.

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
    grown_from = _earlier(start_from, keep_old, dataset, recipe)
    identity: dict[str, Any] = {"recipe": dataclasses.asdict(recipe), "fingerprint": dataset.fingerprint}
    if grown_from is not None:
        identity["start_from"] = grown_from.identity()
    target = Path(out) if out is not None else None
    if target is not None:
        CondensedSet.check_target(target)
    saved = target.with_name(target.name + ".checkpoint") if target is not None else None
    if target is not None and saved is not None:
        finished = _finished(target, saved, identity, overwrite)
        if finished is not None:
            return finished
    engine = Engine(execution)
    made = _made(dataset, recipe, engine, identity, saved, time_limit, grown_from)
    condensed = _collect(dataset, recipe, made, engine.execution, time_limit)
    if grown_from is not None:
        where = str(Path(start_from).resolve()) if isinstance(start_from, str | Path) else None
        condensed.settings["start_from"] = identity["start_from"] | {"set": where}
    if target is not None:
        condensed.save(target)
    if saved is not None and made.steps == recipe.iterations:
        saved.unlink(missing_ok=True)
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
    grown_from: Earlier | None,
) -> Condensation:
    """Run the loop, or for a recipe without steps take the images it would start from."""
    watch = Stopwatch()
    if recipe.iterations == 0:
        if saved is not None:
            checkpoint.read(saved, identity)  # one of another run is not to be lost
        pixels = start(dataset, recipe, engine, watch, grown_from)
        return Condensation(pixels=pixels, steps=0, seconds=watch.seconds, history=[], used=engine.describe())
    run = begin(dataset, recipe, engine, watch, grown_from)
    run.loop(identity, saved, time_limit)
    used = run.plan.placed.describe()
    return Condensation(pixels=run.pixels, steps=run.step, seconds=watch.seconds, history=run.history, used=used)


def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]


def _finished(target: Path, saved: Path, identity: dict[str, Any], overwrite: bool) -> CondensedSet | None:
    """Return the set at the target if it is of this very run, and that was completed; refuse any other."""
    if overwrite:
        saved.unlink(missing_ok=True)
        return None
    if not is_condensed_set(target):
        return None
    found = CondensedSet.load(target)
    recipe = {name: found.settings.get(name) for name in identity["recipe"]}
    made_from = {"recipe": recipe, "fingerprint": found.source.get("fingerprint")}
    grown_from = found.settings.get("start_from")
    if isinstance(grown_from, dict):
        made_from["start_from"] = {name: value for name, value in grown_from.items() if name != "set"}
    if made_from != identity:
        raise UserError(
            f"{target}: holds a condensed set of other settings or data; "
            f"give another {Setting('out')}, or {Setting('overwrite', True)}"
        )
    if saved.exists():
        return None
    notice(f"{target}: already condensed with these settings; {Setting('overwrite', True)} runs it again")
    return found


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
