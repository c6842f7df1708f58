"""`reproduce`: make a table or figure of the paper, going on where an earlier call stopped."""

from __future__ import annotations

from pathlib import Path

from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.studies.job import Job
from m3d_condense.studies.ledger import data_scored
from m3d_condense.studies.paper.beside import make_beside
from m3d_condense.studies.paper.cells import Asked, Cell, cells
from m3d_condense.studies.paper.local import DataSets
from m3d_condense.studies.paper.pictures import draw
from m3d_condense.studies.paper.report import Reproduction
from m3d_condense.studies.results import Results
from m3d_condense.studies.study import run_study
from m3d_condense.tools.errors import UserError

__all__ = ["jobs_of", "reproduce"]


def reproduce(
    asked: Asked,
    *,
    data_root: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    execution: Execution | None = None,
) -> Reproduction:
    """Make and score what is missing of a table or figure, and line it up beside the paper's.

    One folder may hold several tables and figures: they share the sets that they have in common.

    Args:
        asked: what is wanted.
        data_root: a folder of local copies of the data; None takes them from the hub.
        out: where the records, sets, tables and figures are kept; None keeps nothing.
        overwrite: discard what `out` holds.
        execution: device, precision, compilation, memory.

    Returns:
        The table; a figure's pictures are in `out`.

    Raises:
        UserError: for settings that cannot be used, before any work; an `out` of another study, or with scores of data
            that are not at hand now.
        KeyboardInterrupt: after an interrupt; what is finished is kept.
    """
    data = DataSets(data_root)
    planned = cells(asked, data.of)
    if out is not None and not overwrite:
        _check_at_hand(planned, out)

    def lined_up(results: Results) -> Reproduction:
        records = {job.name: record for job, record in zip(results.jobs, results.records, strict=True)}
        rows = make_beside(asked, planned, records)
        return Reproduction(asked=asked, rows=rows, records=results.records, settings=results.settings)

    made = run_study(
        jobs_of(planned),
        data.of,
        name=asked.grid.name,
        settings={},
        engine=Engine(execution),
        time_limit=asked.time_limit,
        folder=out,
        overwrite=overwrite,
        save=lambda results, folder: lined_up(results).save(folder),
    )
    found = lined_up(made)
    if out is not None:
        draw(asked.grid, planned, found.rows, out)
    return found


def _check_at_hand(planned: list[Cell], out: Path) -> None:
    """Raise `UserError` where a folder has scores of data that are not at hand: the table in it would lose them."""
    kept = data_scored(out)
    for cell in planned:
        if cell.missing and cell.problem.data in kept:
            raise UserError(f"{cell.missing}; {out} has scores of {cell.problem.data}, which the table would lose")


def jobs_of(planned: list[Cell]) -> list[Job]:
    """Return the jobs of all cells, each once."""
    return list({job.name: job for cell in planned for job in cell.jobs}.values())
