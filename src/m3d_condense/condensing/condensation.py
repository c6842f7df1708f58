"""`condense`: from a data set to a condensed set, kept as it is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import groups
from m3d_condense.condensing.growth import Earlier, earlier
from m3d_condense.condensing.observing import Watching
from m3d_condense.condensing.room import check_memory
from m3d_condense.condensing.task import Task, in_groups, in_one
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, load_optimisers
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.networks import code_named
from m3d_condense.recipes import methods
from m3d_condense.recipes.effects import idle
from m3d_condense.recipes.given import checked, checked_time_limit, converted
from m3d_condense.recipes.recipe import MOST_NETWORKS, Recipe, check_count
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.tiles import has_room
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.places import check_outside_data
from m3d_condense.tools.progress import notice
from m3d_condense.tools.seeds import derive


@checked
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
        overwrite: make the set in `out` anew. A begun run of other settings gives way; one of these goes on.
        time_limit: seconds of this call after which the loop stops and what there is is stored. Networks that the cache
            holds count as long as their training took, but not again where a run goes on. Where the encoders are
            a pool, the limit is divided between the training of its networks and the steps, which then end within it;
            see `m3d_condense.condensing.timetable`.
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
    time_limit = checked_time_limit(time_limit)
    dataset = load(data)
    recipe = recipe_for(dataset, method, preset, ipc, settings)
    _notice_idle(recipe, recipe_for(dataset, method, preset, ipc, {}))
    check_factor(dataset, recipe)
    groups.check_groups(class_groups, dataset.num_classes, {"start_from": start_from, "watch": watch})
    check_memory(dataset, recipe)
    target = Path(out) if out is not None else None
    grown_from = _earlier(start_from, keep_old, dataset, recipe, target)
    asked = Watching(watch=watch, preview_every=preview_every, track=track)
    asked.check(target, recipe)
    if target is not None and preview_every:
        check_outside_data(target, dataset.source.get("data"))
    if recipe.iterations:
        load_optimisers()
    task = Task(
        dataset=dataset,
        recipe=recipe,
        engine=Engine(execution),
        time_limit=time_limit,
        timetable=Timetable.asked(recipe, time_limit, settings, class_groups),
        asked=asked,
        grown_from=grown_from,
        told=_told(grown_from, start_from),
        code=code_named(recipe.network, **dataset.shape),
        overwrite=overwrite,
    )
    more = {"class_groups": class_groups, "time_limit": time_limit, "watch": watch, "preview_every": preview_every}

    def described() -> dict[str, Any]:
        identity = {"code": None, "start_from": None} | task.identity()
        data, code = identity.pop("fingerprint"), identity.pop("code")
        named = {str(Setting(name)): value for name, value in (identity.pop("recipe") | identity | more).items()}
        stored = {str(Setting("out")): target is not None}
        return {"data": data, "code of the network": code} | named | stored | task.engine.execution.arithmetic()

    current().check_same(described)
    return in_groups(task, class_groups, target) if class_groups > 1 else in_one(task, target)


def _notice_idle(recipe: Recipe, own: Recipe) -> None:
    """Say which settings were given other values than the method's own, though they change nothing."""
    for name, needed in sorted(idle(recipe).items()):
        if getattr(recipe, name) != getattr(own, name):
            notice(f"{Setting(name, getattr(recipe, name))} has no effect: it goes with {needed}")


def _earlier(
    start_from: CondensedSet | str | Path | None,
    keep_old: bool | None,
    dataset: ImageDataset,
    recipe: Recipe,
    target: Path | None,
) -> Earlier | None:
    """Return what the run grows from, if anything; raises `UserError` where it would take the place of that."""
    if start_from is not None:
        found = earlier(start_from, dataset, recipe, keep_old)
        if target is not None and isinstance(start_from, str | Path) and Path(start_from).resolve() == target.resolve():
            said = "is the set to start from, which would be lost; name another folder for the new one"
            raise UserError(said, setting="out", value=target)
        return found
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
    problem = dataset.problem(ipc=converted("ipc", ipc), mirrored=dataset.mirrored)
    return methods.recipe(method, preset, problem, overrides)


def check_factor(dataset: ImageDataset, recipe: Recipe) -> None:
    """Raise `UserError` for tiles that the images have no room for."""
    (height, width), factor = dataset.size, recipe.factor
    if factor > min(height, width):
        raise UserError(f"larger than the images of {height}×{width}", setting="factor", value=factor)
    if not has_room(dataset.size, factor):
        fits = next(less for less in range(factor - 1, 0, -1) if has_room(dataset.size, less))
        said = f"some of so many tiles would lie outside the images of {height}×{width}; the next that fits is {fits}"
        raise UserError(said, setting="factor", value=factor)


@checked
def random_selections(dataset: ImageDataset, ipc: int, count: int, seed: int = 0) -> list[CondensedSet]:
    """Draw `count` independent random selections of `ipc` real images per class, for `evaluate`."""
    count = check_count("count", count, least=1, most=MOST_NETWORKS)
    seeds = [derive(seed, "selection", number) for number in range(count)]
    return [condense(dataset, ipc=ipc, method="random", seed=one) for one in seeds]
