"""Methods side by side: each condenses the data, and the same networks, under one protocol, score every set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3d_condense.condensing.room import check_memory
from m3d_condense.labelling import check_labelling
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.given import Architecture, checked, checked_time_limit, converted, several
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.recipe import MOST_NETWORKS, check_count
from m3d_condense.studies.job import Job, job_for, scored_data
from m3d_condense.studies.results import Results
from m3d_condense.studies.study import run_study
from m3d_condense.tools.errors import Setting, UserError

__all__ = ["compare"]

RANDOM, ALL = "random", "all"


@checked
def compare(
    data: Any,
    *,
    methods: str | Sequence[str] = ALL,
    ipc: int | Sequence[int] = 10,
    preset: str = "quick",
    seeds: int = 3,
    seed: int = 0,
    time_limit: float | None = None,
    networks: Architecture | Sequence[Architecture] = "convnet",
    protocol: str = "quick",
    repeats: int = 3,
    epochs: int | None = None,
    readings: int = 1,
    random: bool = True,
    whole: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    sort: str = "accuracy",
    soft_labels: bool = False,
    execution: Execution | None = None,
    **settings: Any,
) -> Results:
    """Condense a data set by several methods and score every set by the same networks.

    With `out`, every finished set and score is kept there, the same call goes on where an earlier one stopped,
    and methods, ipc, seeds and networks may be added. A method that fails loses no other: its rows say why.

    Args:
        data: anything `load` takes, or what it returned.
        methods: a row of `METHODS`, several, or "all".
        ipc: stored images per class, one number or several.
        preset: "quick" or "paper".
        seeds: how many sets of each kind; their seeds are `seed`, `seed` + 1, …
        seed: of the first set, and of all networks, which thus start alike on every set.
        time_limit: seconds for each method and set. A short trial finds beforehand how many iterations fit,
            so that the rate of learning ends where the run does; at most the preset's.
        networks: one or several, by name or as a class or function, each of which scores every set.
        protocol, repeats, epochs, readings: of the scores, as of `evaluate`.
            The whole data set, whose epochs are long, is trained on for no more of them than the protocol has.
        random, whole: whether random selection and the whole data set are compared with.
        out: folder of the comparison: its table as ``comparison.json``, ``.csv`` and ``.md``, the records it is made
            of, and the condensed sets.
        overwrite: discard the comparison in `out`, and its sets.
        sort: rows by "accuracy" (best first), "seconds", "method" or "bytes".
        soft_labels: give the sets of methods with a pool of networks soft labels, see `label`, and score them with
            these too, in rows of their own.
        execution: device, precision, compilation, memory.
        **settings: fields of `Recipe` in place of the presets', for every method that takes steps.

    Raises:
        UserError: for settings or data that cannot be used, before any work; an `out` of another comparison.
    """
    named = _methods(several(methods), random, settings)
    seeds = check_count("seeds", seeds, least=1, most=MOST_NETWORKS)
    time_limit = checked_time_limit(time_limit)
    scores = {"protocol": protocol, "repeats": repeats, "seed": seed, "epochs": epochs, "readings": readings}
    dataset, scoring, given = scored_data(data, networks, settings, **scores)
    jobs = [
        job_for(dataset, method, preset=preset, ipc=images, seed=number, scoring=scoring, settings=given)
        for number in range(seed, seed + seeds)
        for images in dict.fromkeys(converted("ipc", one) for one in several(ipc))
        for method in named
    ]
    if soft_labels:
        jobs = [dataclasses.replace(job, soft_labels=True) for job in jobs]
        pooled = [job.recipe for job in jobs if job.recipe is not None and job.recipe.has_pool]
        if not pooled:
            said = "goes with a method that has a pool of networks, such as m3d-pool"
            raise UserError(said, setting="soft_labels")
        for recipe in pooled:
            check_labelling(recipe)
    for job in jobs:
        if job.recipe is not None:
            check_memory(dataset, job.recipe)
    jobs += [Job(data=dataset.name, recipe=None, scoring=scoring)] if whole else []
    if not jobs:
        choices = f"{Setting('random', False)} or {Setting('whole', False)}"
        raise UserError(f"nothing is left to compare; name a method, or leave out {choices}")
    source = {"data": dataset.name, "fingerprint": dataset.fingerprint, "preset": preset}
    return run_study(
        jobs,
        lambda name: dataset,
        name="comparison",
        settings=source | scoring.settings() | given,
        engine=Engine(execution),
        time_limit=time_limit,
        folder=None if out is None else Path(out),
        overwrite=overwrite,
        sort=sort,
    )


def _methods(asked: Sequence[str], random: bool, settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the methods asked for, each once, random selection first if it was not named."""
    if "method" in settings:
        raise UserError(f"method={settings['method']!r}: several are compared; name them with methods=[…]")
    for name in asked:
        if not isinstance(name, str) or name not in (*METHODS, ALL):
            raise UserError(f"unknown method {name!r}: {ALL}, or some of {', '.join(METHODS)}")
    names = dict.fromkeys([RANDOM, *(METHODS if ALL in asked else asked)])
    return [name for name in names if random or name != RANDOM]
