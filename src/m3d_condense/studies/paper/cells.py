"""The cells of a grid as jobs: what is asked for, with the settings that the paper has for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.given import checked_time_limit
from m3d_condense.recipes.methods import PRESETS
from m3d_condense.recipes.problem import HIGH_RESOLUTION
from m3d_condense.recipes.protocols import Protocol
from m3d_condense.recipes.recipe import MOST_NETWORKS, Recipe, check_count
from m3d_condense.studies.job import Job, Scoring, job_for
from m3d_condense.studies.paper.grids import Grid, Making, Problem
from m3d_condense.studies.paper.published import EXTENTS, WHOLE, Published, published
from m3d_condense.studies.paper.selection import chosen_makings, chosen_problems
from m3d_condense.tools.errors import UserError

__all__ = ["PAPER_PROTOCOL", "Asked", "Cell", "cells", "paper_repeats"]

PAPER_PROTOCOL = "idc"
QUICK_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for of a table or figure; None leaves it to the grid and the preset.

    Attributes:
        grid: the table or figure.
        only, methods: see `chosen_problems` and `chosen_makings`.
        preset: "quick" or "paper": of the methods, and of what is not given here.
        seeds: how many sets of each kind; their seeds are `seed`, `seed` + 1, …
        seed: of the first set, and of all networks.
        time_limit: seconds of condensing for each set; as many steps as fit, at most the paper's.
        iterations: steps of each set, in place of the preset's; of a figure over steps, the most.
        networks, protocol, repeats, epochs, readings: of the scores.
    """

    grid: Grid
    only: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    preset: str = "quick"
    seeds: int = 1
    seed: int = 0
    time_limit: float | None = None
    iterations: int | None = None
    networks: Sequence[str] | None = None
    protocol: str | None = None
    repeats: int | None = None
    epochs: int | None = None
    readings: int = 1

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UserError(f"one of {', '.join(PRESETS)}", setting="preset", value=self.preset)
        check_count("seeds", self.seeds, least=1, most=MOST_NETWORKS)
        checked_time_limit(self.time_limit)
        if self.iterations is not None:
            check_count("iterations", self.iterations, least=1)
        steps_vary = self.grid.axis is not None and self.grid.axis.setting == "iterations"
        if steps_vary and self.time_limit is not None:
            raise UserError(f"{self.grid.name} is over steps, which no time may cut short", setting="time_limit")
        self.scoring(high=False)

    def scoring(self, *, high: bool) -> Scoring:
        """Return how the sets of a data set are scored.

        Args:
            high: whether its images are of the size of the paper's ImageNet subsets.
        """
        full = self.preset == "paper"
        repeats = self.repeats if self.repeats is not None else paper_repeats(high) if full else QUICK_REPEATS
        return Scoring(
            networks=tuple(dict.fromkeys(self.grid.networks if self.networks is None else self.networks)),
            protocol=self.protocol or (PAPER_PROTOCOL if full else "quick"),
            repeats=repeats,
            seed=self.seed,
            epochs=self.epochs,
            readings=self.readings,
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands beside one result of the paper, for each network that scores it.

    Attributes:
        problem: what is condensed.
        making: how.
        networks: that score the sets.
        jobs: the sets, one a seed; none where the data are not at hand.
        paper: the settings that the paper has for it; None for the training split itself and for missing data.
        trained: how the networks that score it are trained, here and in the paper; None for missing data.
        other_data: in what the data are not those of the paper, in words.
        missing: why there are no jobs.
    """

    problem: Problem
    making: Making
    networks: tuple[str, ...]
    jobs: list[Job] = field(default_factory=list)
    paper: Recipe | None = None
    trained: tuple[Protocol, Protocol] | None = None
    other_data: tuple[str, ...] = ()
    missing: str = ""

    @property
    def ipc(self) -> int | None:
        """Stored images per class; the whole training split has none."""
        return None if self.making.method == WHOLE else self.problem.ipc

    def published(self, network: str) -> Published | None:
        """Return what the paper reports of it; nothing of a method with settings of another experiment."""
        own = bool(self.jobs) and not self.jobs[0].variant
        if self.making.settings and not own:
            return None
        return published(self.problem.data, self.ipc, self.making.method, network)


def cells(asked: Asked, dataset_of: Callable[[str], ImageDataset]) -> list[Cell]:
    """Return the cells that are asked for, by data set.

    Args:
        asked: what is wanted.
        dataset_of: gives a data set by its name, or raises `UserError` where it is not at hand.

    Raises:
        UserError: for settings that cannot be used.
    """
    makings = chosen_makings(asked.grid, asked.methods)
    problems = chosen_problems(asked.grid, asked.only)
    order = list(dict.fromkeys(problem.data for problem in problems))
    found: list[Cell] = []
    for name in order:
        of_data = [problem for problem in problems if problem.data == name]
        try:
            dataset = dataset_of(name)
        except UserError as error:
            found += _without_data(asked, of_data, makings, str(error))
            continue
        asked.scoring(high=False).check(dataset)
        for problem, making in _pairs(of_data, makings):
            found += _cells(asked, dataset, problem, making)
    return found


def paper_repeats(high: bool) -> int:
    """Return how many networks the paper trains on a set: ten, or three of high resolution."""
    return 3 if high else 10


def _without_data(asked: Asked, problems: list[Problem], makings: Sequence[Making], why: str) -> list[Cell]:
    networks = asked.scoring(high=False).networks
    return [
        Cell(problem=problem, making=making, networks=networks, missing=why)
        for problem, making in _pairs(problems, makings)
    ]


def _pairs(problems: Sequence[Problem], makings: Sequence[Making]) -> list[tuple[Problem, Making]]:
    """Return what is made of a data set: every set of each problem, and at the end its training split, once."""
    sets = [(problem, making) for problem in problems for making in makings if making.method != WHOLE]
    return sets + [(problems[0], making) for making in makings if making.method == WHOLE]


def _cells(asked: Asked, dataset: ImageDataset, problem: Problem, making: Making) -> Iterator[Cell]:
    """Yield a cell, or one for each value of the axis where the grid has one."""
    scoring = asked.scoring(high=min(dataset.size) >= HIGH_RESOLUTION)
    common = {"problem": problem, "networks": scoring.networks, "other_data": _other_data(problem.data, dataset)}
    if making.method == WHOLE:
        whole = Job(data=problem.data, recipe=None, scoring=scoring)
        yield Cell(making=making, jobs=[whole], trained=_trained(dataset, whole, None), **common)  # type: ignore[arg-type]
        return
    plain = recipe_for(dataset, making.method, asked.preset, problem.ipc, {})
    axis = asked.grid.axis if plain.iterations > 0 else None
    steps = asked.iterations or recipe_for(dataset, "m3d", asked.preset, problem.ipc, {}).iterations
    paper = recipe_for(dataset, making.method, "paper", problem.ipc, {})
    base = _steps(asked, paper)
    for one in [making] if axis is None else axis.makings(making, steps):
        jobs = [_job(asked, dataset, problem, one, scoring, base, seed) for seed in _seeds(asked)]
        own = dataclasses.replace(paper, **one.settings)
        trained = _trained(dataset, jobs[0], own)
        yield Cell(making=one, jobs=jobs, paper=own, trained=trained, **common)  # type: ignore[arg-type]


def _other_data(name: str, dataset: ImageDataset) -> tuple[str, ...]:
    """Say in what a copy of a data set is not what was published under its name."""
    if name not in EXTENTS:
        return ()
    height, width = dataset.size
    found = {
        "training images": (len(dataset.train), EXTENTS[name].training_images),
        "test images": (len(dataset.test), EXTENTS[name].test_images),
        "classes": (dataset.num_classes, EXTENTS[name].classes),
        "pixels a side": (min(height, width), EXTENTS[name].side),
    }
    return tuple(
        f"{ours:,} {what} for {theirs:,}" for what, (ours, theirs) in found.items() if theirs not in (None, ours)
    )


def _trained(dataset: ImageDataset, job: Job, paper: Recipe | None) -> tuple[Protocol, Protocol]:
    """Return the protocol as it is run on a job's set, and the paper's on the paper's."""
    theirs = dataclasses.replace(job.scoring, protocol=PAPER_PROTOCOL, epochs=None)
    return job.scoring.protocol_on(dataset, job.recipe), theirs.protocol_on(dataset, paper)


def _seeds(asked: Asked) -> range:
    return range(asked.seed, asked.seed + asked.seeds)


def _steps(asked: Asked, paper: Recipe) -> dict[str, Any]:
    """Return the steps that are asked for; within a time limit those of the paper, of which as many fit as may."""
    if asked.iterations is not None:
        return {"iterations": asked.iterations}
    return {} if asked.time_limit is None else {"iterations": paper.iterations}


def _job(
    asked: Asked,
    dataset: ImageDataset,
    problem: Problem,
    making: Making,
    scoring: Scoring,
    base: dict[str, Any],
    seed: int,
) -> Job:
    """Return the job of a cell and a seed: a variant where its own settings are not those of its method."""

    def made(settings: dict[str, Any], variant: str) -> Job:
        return job_for(
            dataset,
            making.method,
            preset=asked.preset,
            ipc=problem.ipc,
            seed=seed,
            scoring=scoring,
            settings=settings,
            variant=variant,
        )

    plain, varied = made(base, ""), made(base | dict(making.settings), making.label)
    job = plain if varied.recipe == plain.recipe else varied
    return dataclasses.replace(job, data=problem.data, moments=asked.grid.moments)
