"""How long a table or figure will take on this machine, from a few steps of each kind of set."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.estimate import image_seconds, prepared, try_steps
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.costs import FORWARD
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.moments import REPEATS
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.scoring import evaluate
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.studies.job import Job
from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.paper.cells import Asked, cells
from m3d_condense.studies.paper.local import DataSets
from m3d_condense.studies.paper.reproduction import jobs_of
from m3d_condense.studies.study import open_ledger
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

__all__ = ["Cost", "Estimate", "estimate"]

TRAINED = 2_000  # images that a network is trained on to time it
TESTED = 100  # images that it is tested on meanwhile


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What is left to do of the sets that differ in their seed alone.

    Attributes:
        data, ipc, method: what they are; the whole training split has no ipc.
        sets: how many are not finished.
        condensing: seconds to make those of them that are not made.
        scoring: seconds to score all of them, and to compare their moments.
        problem: why it is not known; empty where it is.
    """

    data: str
    ipc: int | None
    method: str
    sets: int
    condensing: float = 0.0
    scoring: float = 0.0
    problem: str = ""

    @property
    def total(self) -> float:
        """Seconds of all that is left."""
        return self.condensing + self.scoring


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long what is asked for will take.

    Attributes:
        costs: of what is left to do, in its order.
        finished: how many sets are finished, and left out.
        missing: why there are cells without data.
        machine: what it was tried on.
    """

    costs: list[Cost]
    finished: int
    missing: list[str]
    machine: str

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(cost.total for cost in self.costs)


def estimate(
    asked: Asked, *, data_root: Path | None = None, out: Path | None = None, execution: Execution | None = None
) -> Estimate:
    """Try a few steps of each kind of set that is not finished, and of the networks that score them.

    Nothing is written to `out`. The arguments are those of `reproduce`.

    Raises:
        UserError: as `reproduce`.
    """
    data, engine = DataSets(data_root), Engine(execution)
    planned = cells(asked, data.of)
    jobs = jobs_of(planned)
    ledger = open_ledger(jobs, {}, engine, asked.time_limit, out, begin=False)
    left: dict[str, list[Job]] = {}
    for job in jobs:
        if not ledger.finished(job):
            left.setdefault(job.series, []).append(job)
    trial = _Trial(ledger, engine, data.of, asked.time_limit)
    return Estimate(
        costs=[trial.cost(series) for series in left.values()],
        finished=len(jobs) - sum(map(len, left.values())),
        missing=list(dict.fromkeys(cell.missing for cell in planned if cell.missing)),
        machine=engine.describe(),
    )


class _Trial:
    """Tries sets and networks out. What all sets of a data set share is counted with the first that needs it.

    Args:
        ledger: what is known; it is not changed.
        engine: what is timed.
        dataset_of: gives a data set by its name.
        time_limit: seconds for each set.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        dataset_of: Callable[[str], ImageDataset],
        time_limit: float | None,
    ) -> None:
        self.ledger, self.engine, self.dataset_of, self.time_limit = ledger, engine, dataset_of, time_limit
        self.scoring_seconds = lru_cache(maxsize=None)(self._scoring_seconds)
        self.training_seconds = lru_cache(maxsize=None)(self._training_seconds)
        self._shared: set[tuple[object, ...]] = set()

    def cost(self, series: list[Job]) -> Cost:
        """Return what is left to do of jobs that differ in their seed alone."""
        first = series[0]
        notice(f"Trying {first.title}")
        named = {"data": first.data, "ipc": first.ipc, "method": first.label, "sets": len(series)}
        try:
            condensing, scoring = self._condensing(series), sum(map(self._scoring, series))
        except UserError as error:
            return Cost(problem=str(error), **named)  # type: ignore[arg-type]
        return Cost(condensing=condensing, scoring=scoring, **named)  # type: ignore[arg-type]

    def _condensing(self, series: list[Job]) -> float:
        """Return the seconds to make those sets of a series that are not made."""
        unmade = [job for job in series if job.recipe is not None and not self._made(job)]
        if not unmade:
            return 0.0
        recipe = unmade[0].recipe
        assert recipe is not None
        takes_steps = recipe.iterations > 0
        total = sum(self._prepared(job) for job in unmade)
        if takes_steps:
            total += len(unmade) * self._steps(unmade[0], recipe)
        if takes_steps and self.time_limit is not None:
            return min(total, len(unmade) * self.time_limit)
        return total

    def _made(self, job: Job) -> bool:
        folder = self.ledger.set_folder(job)
        return folder is not None and is_condensed_set(folder)

    def _steps(self, job: Job, recipe: Recipe) -> float:
        """Return the seconds of a set's steps, without the networks that are trained before them."""
        trial = try_steps(self.dataset_of(job.data), recipe, self.engine)
        return trial.start + trial.each * recipe.iterations

    def _prepared(self, job: Job) -> float:
        """Return the seconds of training the networks that a set needs before its steps, if no other set had them."""
        recipe = job.recipe
        assert recipe is not None
        needed = prepared(self.dataset_of(job.data), recipe)
        key = (job.data, recipe.network, recipe.seed, needed)
        if needed.training is None or (needed.shared and key in self._shared):
            return 0.0
        self._shared.add(key)
        return needed.images * self.training_seconds(job.data, recipe.network, needed.training)

    def _scoring(self, job: Job) -> float:
        """Return the seconds to score a set by the networks that have not, and to compare its moments."""
        dataset, scoring = self.dataset_of(job.data), job.scoring
        recipe = job.recipe
        count = len(dataset.train) if recipe is None else dataset.num_classes * recipe.decoded
        images = scoring.protocol_on(dataset, recipe).epochs * count
        seen = scoring.repeats * (images + scoring.readings * FORWARD * len(dataset.test))

        def each(network: str) -> float:
            return self.scoring_seconds(job.data, network, scoring.protocol, scoring.repeats)

        total = sum(seen * each(network) for network in self.ledger.missing(job))
        compared = (job.data, "moments")
        if job.moments and self.ledger.record(job).moments is None and compared not in self._shared:
            self._shared.add(compared)
            total += REPEATS * len(dataset.train) * FORWARD * each("convnet")
        return total

    def _training_seconds(self, data: str, network: str, training: Training) -> float:
        """Return the seconds that a network is trained on a real image."""
        return image_seconds(self.dataset_of(data), network, training, self.engine)

    def _scoring_seconds(self, data: str, network: str, protocol: str, repeats: int) -> float:
        """Return the seconds that a network is trained on an image of a set, one of several trained as one."""
        dataset = self.dataset_of(data)
        few = dataclasses.replace(dataset, test=dataset.test[torch.arange(min(TESTED, len(dataset.test)))])
        made = condense(dataset, ipc=10, method="random", execution=self.engine.execution)
        together = repeats if self.engine.stacks else 1
        more = max(1, round(TRAINED / len(made.images)))

        def seconds(epochs: int) -> float:
            begun = time.monotonic()
            asked = {"network": network, "protocol": protocol, "repeats": together, "epochs": epochs}
            evaluate(made, few, execution=self.engine.execution, **asked)  # type: ignore[arg-type]
            return time.monotonic() - begun

        seconds(1)  # what the first run has to load is no network's
        short = min(seconds(1) for _ in range(2))
        return max(seconds(1 + more) - short, 0.0) / (more * len(made.images) * together)
