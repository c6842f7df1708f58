"""A study: a list of jobs, done and lined up in one table; what was done before is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.group import current
from m3d_condense.studies.job import Job
from m3d_condense.studies.ledger import Ledger, check_target, is_study
from m3d_condense.studies.results import Results
from m3d_condense.studies.table import ORDERS
from m3d_condense.studies.worker import Worker
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.locks import alone

__all__ = ["open_ledger", "run_study"]


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
    save: Callable[[Results, Path], None] | None = None,
) -> Results:
    """Make and score what is missing of the jobs.

    Processes that work together (see `m3d_condense.machine.joining`) share the jobs; the first of them opens the
    folder and writes the tables.

    Args:
        jobs: each with a name of its own.
        dataset_of: gives a data set by the name that a job has for it.
        name: of the table's files in the folder: NAME.json, NAME.csv and NAME.md, written anew with every result. They
            hold what earlier calls have kept there, too.
        settings: what all the jobs share, beside the time limit and the engine's: a folder's study must agree with it.
        engine: what it runs on.
        time_limit: seconds for each set.
        folder: where the records, sets and tables are kept; None keeps nothing.
        overwrite: discard the study in the folder.
        sort: the order of the rows, a key of `ORDERS`.
        save: writes the table's files in a folder, in place of `Results.save`.

    Raises:
        UserError: the folder cannot be used, or what is finished in it is of other data or of other code of a user's
            network; nothing there has been changed.
        KeyboardInterrupt: after an interrupt; what is finished is kept.
    """
    assert len({job.name for job in jobs}) == len(jobs)
    if sort not in ORDERS:
        raise UserError(f"one of {', '.join(ORDERS)}", setting="sort", value=sort)
    group = current()

    def described() -> dict[str, Any]:
        asked = [dict(settings), time_limit, folder is not None, [job.identity() for job in jobs]]
        return {"settings or data": asked} | engine.execution.arithmetic()

    group.check_same(described)
    if folder is not None:
        group.by_first(partial(check_target, folder))
    with nullcontext() if folder is None else group.held_by_first(lambda: alone(folder)):
        opened = partial(open_ledger, jobs, settings, engine, time_limit, folder, overwrite=overwrite)
        ledger = group.by_first(opened)

        def kept() -> None:
            if folder is not None and group.leads:
                if group.size > 1:
                    ledger.take_up(jobs)
                if save is not None:
                    save(Results.of(ledger, jobs, sort), folder)
                else:
                    Results.of(ledger, ledger.known(jobs), sort).save(folder, name)

        worker = Worker(ledger, engine, dataset_of, time_limit=time_limit, kept=kept)
        worker.check(jobs)
        kept()
        worker.work(jobs)
        kept()
        return Results.of(ledger, jobs, sort)


def open_ledger(
    jobs: Sequence[Job],
    settings: Mapping[str, Any],
    engine: Engine,
    time_limit: float | None,
    folder: Path | None,
    *,
    overwrite: bool = False,
    begin: bool = True,
) -> Ledger:
    """Return what is known of the jobs of a study; the arguments are those of `run_study`.

    Args:
        jobs, settings, engine, time_limit, folder, overwrite: of the study.
        begin: whether a folder that holds no study yet becomes one; else it stays as it is.

    Raises:
        UserError: the folder cannot be used; nothing there has been changed.
        OSError: it cannot be written to.
    """
    machine = {key: value for key, value in asdict(engine.execution).items() if key != "memory"}
    shared = {**settings, "time_limit": time_limit, **machine}
    if folder is None or not (begin or is_study(folder)):
        return Ledger(shared)
    return Ledger.open(folder, shared, jobs, overwrite=overwrite)
