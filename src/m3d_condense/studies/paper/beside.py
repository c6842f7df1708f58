"""What we find beside what the paper reports: rows, and in which settings a row differs from the paper's."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from m3d_condense.recipes.recipe import Recipe
from m3d_condense.studies.job import Job
from m3d_condense.studies.paper.cells import Asked, Cell
from m3d_condense.studies.paper.grids import Grid
from m3d_condense.studies.paper.published import Published
from m3d_condense.studies.record import MOMENTS, Record
from m3d_condense.studies.table import Row, make_rows
from m3d_condense.tools.text import duration

__all__ = ["Beside", "make_beside", "rank_orders"]

NAMING = ("method", "preset", "ipc", "seed")  # fields of a recipe that tell which set it is, not how it is made


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One result of ours beside the paper's. What is not known, or not reported, is None.

    Attributes:
        data, ipc, method, network: what was made, and what scored it; the whole training split has no ipc.
        value: of the setting that the figure varies.
        preset: of the methods.
        paper: what the paper reports.
        mean, std, n: of our test accuracies, percent, over all seeds and networks.
        best: the mean of the best readings of the same networks, percent, where they were read more than once.
        seeds: how many sets were made.
        seconds: that condensing took, the median over the seeds.
        iterations: steps that were done.
        class_bytes: of the stored pixels, by class.
        moments: distances of the features' means, variances and skewnesses, averaged over the sets, in a table of them.
        differs: in what the row departs from the paper's settings, in words.
        settings: each setting that differs: ours, and the paper's.
        at_hand: whether the data are.
        missing: why there is no result, or not all of it.
    """

    data: str
    ipc: int | None
    method: str
    network: str
    value: int | None
    preset: str
    paper: Published | None
    mean: float | None = None
    std: float | None = None
    n: int = 0
    best: float | None = None
    seeds: int = 0
    seconds: float | None = None
    iterations: int | None = None
    class_bytes: float | None = None
    moments: tuple[float, float, float] | None = None
    differs: tuple[str, ...] = ()
    settings: Mapping[str, tuple[Any, Any]]
    at_hand: bool = True
    missing: str = ""

    @property
    def difference(self) -> float | None:
        """Our accuracy less the paper's, in points."""
        return None if self.mean is None or self.paper is None else self.mean - self.paper.mean


def make_beside(asked: Asked, cells: Iterable[Cell], records: Mapping[str, Record]) -> list[Beside]:
    """Return a row for each cell and each network that scores it.

    Args:
        asked: what the cells were made for.
        cells: in the order of the rows.
        records: what is known of each job, by its name; one that is missing has not been begun.
    """
    rows = []
    for cell in cells:
        known = [(job, records[job.name]) for job in cell.jobs if job.name in records]
        found = {row.network: row for row in make_rows(known)}
        rows += [_beside(asked, cell, network, known, found.get(network)) for network in cell.networks]
    return rows


def rank_orders(rows: Sequence[Beside]) -> list[str]:
    """Compare the order of the methods with the paper's, for each problem of which three or more are known."""
    from scipy.stats import spearmanr

    problems: dict[str, list[Beside]] = {}
    for row in rows:
        if row.difference is not None and row.ipc is not None:
            problems.setdefault(f"{row.data}/{row.ipc}, {row.network}", []).append(row)
    said = []
    for name, of_problem in problems.items():
        if len(of_problem) < 3:
            continue
        names = [row.method for row in of_problem]
        ours, theirs = [row.mean or 0.0 for row in of_problem], [_paper_mean(row) for row in of_problem]
        if 1 in (len(set(ours)), len(set(theirs))):  # which have no order
            continue
        correlation = float(spearmanr(ours, theirs).statistic)
        said.append(
            f"{name}: rank correlation with the paper (Spearman) {correlation:.2f} over {len(of_problem)} methods; "
            f"here {_order(names, ours)}; in the paper {_order(names, theirs)}"
        )
    return said


def _order(names: Sequence[str], accuracies: Sequence[float]) -> str:
    """Return the names from the highest accuracy to the lowest, with a = between those that print alike."""
    printed: dict[str, list[str]] = {}
    for name, value in sorted(zip(names, accuracies, strict=True), key=lambda pair: -pair[1]):
        printed.setdefault(f"{value:.1f}", []).append(name)
    return " > ".join(" = ".join(names) for names in printed.values())


def _paper_mean(row: Beside) -> float:
    return 0.0 if row.paper is None else row.paper.mean


def _beside(asked: Asked, cell: Cell, network: str, known: Sequence[tuple[Job, Record]], row: Row | None) -> Beside:
    done = [record for _, record in known if network in record.scores]
    settings, differs = ({}, ()) if cell.missing else _departures(asked, cell, network, done)
    paper, compared = cell.published(network), asked.grid.moments
    if paper is not None and not compared:
        paper = dataclasses.replace(paper, moments=None)
    return Beside(
        data=cell.problem.data,
        ipc=cell.ipc,
        method=cell.making.label,
        network=network,
        value=cell.making.value,
        preset=asked.preset,
        paper=paper,
        mean=None if row is None else row.mean,
        std=None if row is None else row.std,
        n=0 if row is None else row.n,
        best=None if row is None else row.best,
        seeds=len(done),
        seconds=None if row is None else row.seconds,
        iterations=None if row is None else row.iterations,
        class_bytes=None if row is None else row.class_bytes,
        moments=_moments(record for _, record in known) if compared else None,
        differs=differs,
        settings=settings,
        at_hand=not cell.missing,
        missing=_missing(cell, known, row),
    )


def _moments(records: Iterable[Record]) -> tuple[float, float, float] | None:
    found = [record.moments for record in records if record.moments is not None]
    if not found:
        return None
    mean = statistics.fmean
    return mean(m.mean for m in found), mean(m.variance for m in found), mean(m.skewness for m in found)


def _missing(cell: Cell, known: Sequence[tuple[Job, Record]], row: Row | None) -> str:
    """Say why a row has no accuracy, or what went wrong beside it."""
    if cell.missing:
        return cell.missing
    errors = [record.errors[MOMENTS] for _, record in known if MOMENTS in record.errors]
    if row is not None and row.error:
        errors.insert(0, row.error)
    if errors:
        return "; ".join(dict.fromkeys(errors))
    return "not done yet" if row is None or row.mean is None else ""


def _departures(
    asked: Asked, cell: Cell, network: str, done: Sequence[Record]
) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...]]:
    """Return the settings in which a row departs from the paper's, each with both values, and the same in words."""
    settings: dict[str, tuple[Any, Any]] = {}
    words = list(cell.other_data)
    if cell.paper is not None and cell.jobs and cell.jobs[0].recipe is not None:
        made = done[0].settings if done and done[0].settings else asdict(cell.jobs[0].recipe)
        settings |= _different(made, cell.paper)
    if asked.preset != "paper" and cell.paper is not None and cell.paper.iterations > 0:
        words.append(f"{asked.preset} preset")
    if "iterations" in settings:
        ours, theirs = settings["iterations"]
        words.append(f"{ours:,} of {theirs:,} steps")
    if asked.time_limit is not None and cell.paper is not None and cell.paper.iterations > 0:
        words.append(f"within {duration(asked.time_limit)}")
    for name, ours, theirs in _scored(cell):
        settings[name] = ours, theirs
        words.append(f"protocol {ours}" if name == "protocol" else f"{ours:,} of {theirs:,} epochs")
    if network not in asked.grid.networks:
        settings["network that scores"] = network, ", ".join(asked.grid.networks)
        words.append(f"scored by {network}")
    return settings, tuple(words)


def _different(made: Mapping[str, Any], paper: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the settings of a recipe that are not the paper's."""
    theirs = asdict(paper)
    return {
        name: (made[name], theirs[name])
        for name in theirs
        if name not in NAMING and name in made and made[name] != theirs[name]
    }


def _scored(cell: Cell) -> list[tuple[str, Any, Any]]:
    """Return in what the scoring departs from the paper's protocol: names, our values and the paper's."""
    assert cell.trained is not None  # of data that are at hand
    ours, theirs = cell.trained
    both = (("protocol", ours.name, theirs.name), ("epochs", ours.epochs, theirs.epochs))
    return [(name, one, other) for name, one, other in both if one != other]


def shown(grid: Grid) -> str:
    """Return the grid's name for a reader, such as "Table 2" or "Figure 6a"."""
    kind = "Table" if grid.name.startswith("table") else "Figure"
    return f"{kind} {grid.name.removeprefix(kind.lower())}"
