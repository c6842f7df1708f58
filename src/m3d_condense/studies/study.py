"""A study: a list of jobs, done and lined up in one table; what was done before is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.studies.job import Job
from m3d_condense.studies.ledger import Ledger, check_target
from m3d_condense.studies.results import Results
from m3d_condense.studies.worker import Worker
from m3d_condense.tools.locks import alone

__all__ = ["run_study"]


def run_study(
    jobs: Sequence[Job],
    dataset_of: Callable[[str], ImageDataset],
    *,
    name: str,
    settings: Mapping[str, Any],
    engine: Engine,
    time_limit: float | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
    sort: str = "accuracy",
) -> Results:
    """Make and score what is missing of the jobs.

    Args:
        jobs: each with a name of its own.
        dataset_of: gives a data set by the name that a job has for it.
        name: of the table's files in the folder: NAME.json, NAME.csv and NAME.md, written anew with every result.
        settings: what all the jobs share, beside the time limit and the engine's: a folder's study must agree with it.
        engine: what it runs on.
        time_limit: seconds for each set.
        folder: where the records, sets and tables are kept; None keeps nothing.
        overwrite: discard the study in the folder.
        sort: the order of the rows, a key of `ORDERS`.

    Raises:
        UserError: the folder cannot be used, or another process is writing there; nothing has been changed.
        KeyboardInterrupt: after an interrupt; what is finished is kept.
    """
    assert len({job.name for job in jobs}) == len(jobs)
    machine = {key: value for key, value in asdict(engine.execution).items() if key != "memory"}
    shared = {**settings, "time_limit": time_limit, **machine}
    if folder is not None:
        check_target(folder)
    with nullcontext() if folder is None else alone(folder):
        ledger = Ledger(shared) if folder is None else Ledger.open(folder, shared, jobs, overwrite=overwrite)

        def save() -> None:
            if folder is not None:
                Results.of(ledger, jobs, sort).save(folder, name)

        save()
        Worker(ledger, engine, dataset_of, time_limit=time_limit, kept=save).work(jobs)
        return Results.of(ledger, jobs, sort)
