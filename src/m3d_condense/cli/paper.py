"""What ``m3d paper`` prints: a table beside the paper's, or what there is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from m3d_condense.cli.tables import cell, plain_console, print_lines
from m3d_condense.studies.paper.grids import GRIDS, Grid
from m3d_condense.tools.text import duration

if TYPE_CHECKING:
    from m3d_condense.studies.paper.estimate import Estimate
    from m3d_condense.studies.paper.report import Reproduction

DIFFERS = "differs in"
NARROW = {
    DIFFERS: "note",
    "difference": "diff.",
    "best reading, %": "best",
    "variance": "var.",
    "skewness": "skew.",
    "condensed in": "time",
    "condensed in, paper": "time, paper",
}
WRAPPED = ("data", "shows", "methods", "mean", "var.", "skew.")
TEXTS = ("data", "method", "network", "shows", "methods", "name", "note")


def print_grids(as_json: bool) -> None:
    """Print the tables and figures that there are."""
    lines = [_described(grid) for grid in GRIDS.values()]
    if as_json:
        print(json.dumps(lines, indent=2))
        return
    _print(lines)


def print_reproduction(made: Reproduction, as_json: bool) -> None:
    """Print a table and its notes; what a row differs in stands below the table, under a number."""
    if as_json:
        print(json.dumps(made.content(), indent=2))
        return
    lines = made.table()
    differing = list(dict.fromkeys(line[DIFFERS] for line in lines if line.get(DIFFERS)))
    numbered = {text: str(number) for number, text in enumerate(differing, 1)}
    for line in lines:
        if DIFFERS in line:
            line[DIFFERS] = numbered.get(line[DIFFERS], "")
    plain_console().print(cell(made.title), highlight=False)
    _print([{NARROW.get(name, name): text for name, text in line.items()} for line in lines])
    below = [f"note {number}: {text}" for text, number in numbered.items()]
    plain_console().print(*map(cell, [*below, *made.notes()]), highlight=False, sep="\n")


def print_estimate(found: Estimate, as_json: bool) -> None:
    """Print what is left to do, and how long it will take."""
    if as_json:
        print(json.dumps(asdict(found) | {"total": found.total}, indent=2))
        return
    lines = [
        {
            "data": cost.data,
            "ipc": "" if cost.ipc is None else str(cost.ipc),
            "method": cost.method,
            "sets left": str(cost.sets),
            "condensing": cost.problem or duration(cost.condensing),
            "scoring": duration(cost.scoring),
            "in all": duration(cost.total),
        }
        for cost in found.costs
    ]
    if lines:
        _print(lines)
    whole = f"About {duration(found.total)} in all on this machine ({found.machine})"
    finished = f"; {found.finished} sets are finished and left out" if found.finished else ""
    plain_console().print(*map(cell, [whole + finished, *found.missing]), highlight=False, sep="\n")


def _described(grid: Grid) -> dict[str, str]:
    return {
        "name": grid.name,
        "shows": grid.title,
        "data": " ".join(map(str, grid.problems)),
        "methods": " ".join(dict.fromkeys(making.method for making in grid.makings)),
    }


def _print(lines: list[dict[str, str]]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    print_lines(lines, table, left=TEXTS, wrapped=WRAPPED)
    print()
