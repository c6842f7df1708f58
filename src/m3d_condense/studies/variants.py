"""A study of settings: variants of one method, scored on training images that were held out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m3d_condense.condensing.room import check_memory
from m3d_condense.data.held_out import held_out
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.effects import idle
from m3d_condense.recipes.given import (
    Architecture,
    check_ordered,
    checked,
    checked_time_limit,
    given_settings,
    of_kind,
)
from m3d_condense.recipes.recipe import MOST_NETWORKS, Recipe, check_count, meanings
from m3d_condense.studies.job import Job, job_for, scored_data
from m3d_condense.studies.results import Results
from m3d_condense.studies.study import run_study
from m3d_condense.tools.errors import Setting, UserError

__all__ = ["study"]

ELSEWHERE = {"method": "methods are what compare compares", "preset": "", "ipc": "", "seed": "give seeds=N"}


@checked
def study(
    data: Any,
    *,
    vary: Mapping[str, Sequence[Any]],
    together: bool = False,
    method: str = "m3d",
    ipc: int = 10,
    preset: str = "quick",
    hold_out: float = 0.1,
    seeds: int = 1,
    seed: int = 0,
    time_limit: float | None = None,
    networks: Architecture | Sequence[Architecture] = "convnet",
    protocol: str = "quick",
    repeats: int = 3,
    epochs: int | None = None,
    readings: int = 1,
    out: str | Path | None = None,
    overwrite: bool = False,
    sort: str = "accuracy",
    execution: Execution | None = None,
    **settings: Any,
) -> Results:
    """Condense a data set by variants of a method, and score each where the test images are not seen.

    A share of the training images is held out of all that makes the sets, and they are scored on it: so the best
    variant may be chosen by the table. Its figure to report is that of a set of the whole training split on the test
    split, which `condense` and `evaluate` give. With ``hold_out=0`` the table is of the test split.

    With `out`, the same call goes on where an earlier one stopped, and values and seeds may be added.

    Args:
        data: anything `load` takes, or what it returned.
        vary: fields of `Recipe`, and the values that each is given in turn, while the others stay as they are.
        together: whether every combination of the values is tried instead.
        method, ipc, preset: what is varied; as it is, it is the first row.
        hold_out: share of each class's training images that is held out; 0 for none.
        seeds: how many sets of each variant; their seeds are `seed`, `seed` + 1, …
        time_limit: seconds for each set; as many iterations as fit.
        seed, networks, protocol, repeats, epochs, readings, out, overwrite, sort, execution: as of `compare`.
        **settings: fields of `Recipe` in place of the preset's, in all variants.

    Raises:
        UserError: for settings or data that cannot be used, before any work; an `out` of another study.
    """
    seeds = check_count("seeds", seeds, least=1, most=MOST_NETWORKS)
    time_limit = checked_time_limit(time_limit)
    scores = {"protocol": protocol, "repeats": repeats, "seed": seed, "epochs": epochs, "readings": readings}
    dataset, scoring, given = scored_data(data, networks, settings, **scores)
    if of_kind("hold_out", hold_out, float):
        dataset = held_out(dataset, hold_out)
    jobs: dict[Any, Job] = {}
    tried: list[tuple[dict[str, Any], Recipe]] = []
    for number in range(seed, seed + seeds):
        for changes in _variants(vary, together):
            plain = given_settings(changes)
            variant = " ".join(f"{name}={_shown(value)}" for name, value in plain.items())
            asked: dict[str, Any] = {"preset": preset, "ipc": ipc, "seed": number, "settings": given | plain}
            job = job_for(dataset, method, scoring=scoring, variant=variant, **asked)
            if job.recipe is None or job.recipe.iterations == 0:
                none = Setting("iterations", plain["iterations"]) if "iterations" in plain else method
                raise UserError(f"{none} takes no steps, and has nothing to vary")
            check_memory(dataset, job.recipe)
            jobs.setdefault(job.recipe, job)
            tried.append((changes, job.recipe))
    _check_effects(vary, tried)
    source = {"data": dataset.name, "fingerprint": dataset.fingerprint, "preset": preset}
    if hold_out:
        source["scored_on"] = f"{hold_out:g} of the training images, held out"
    return run_study(
        list(jobs.values()),
        lambda name: dataset,
        name="variants",
        settings=source | {"method": method} | scoring.settings() | given,
        engine=Engine(execution),
        time_limit=time_limit,
        folder=None if out is None else Path(out),
        overwrite=overwrite,
        sort=sort,
    )


def _shown(value: Any) -> str:
    """Return a value as it is given to ``--vary``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_effects(vary: Iterable[str], tried: Sequence[tuple[Mapping[str, Any], Recipe]]) -> None:
    """Raise `UserError` for a setting that does nothing in any of the recipes that change it: its rows would be one."""
    for name in vary:
        needed = [idle(recipe).get(name) for changes, recipe in tried if name in changes]
        if all(needed):
            raise UserError(f"{Setting(name)} has no effect, and cannot be varied: it goes with {needed[0]}")


def _variants(vary: Mapping[str, Sequence[Any]], together: bool) -> Iterator[dict[str, Any]]:
    """Yield what each variant changes: first nothing, then one value of one setting, or every combination."""
    known = meanings()
    if not isinstance(vary, Mapping):
        raise UserError('settings and their values, such as {"lr": [0.01, 0.02]}', setting="vary", value=vary)
    for name, values in vary.items():
        if name in ELSEWHERE or name not in known:
            said = ELSEWHERE.get(name) or "no setting of a recipe that can be varied"
            raise UserError(said, setting="vary", value=name)
        check_ordered(name, values)
        if isinstance(values, str) or not isinstance(values, Collection):
            raise UserError(f"{name}: give a list of values, such as [{values!r}]", setting="vary", value=values)
        if len(values) == 0:
            raise UserError(f"{Setting(name)} has no values to be varied over")
    yield {}
    if together:
        yield from (dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values()))
        return
    for name, values in vary.items():
        yield from ({name: value} for value in values)
