"""What ``m3d paper`` prints: a table beside the paper's, or what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from m3d_condense.cli.streams import as_shown
from m3d_condense.studies.paper.grids import GRIDS, Grid

if TYPE_CHECKING:
    from m3d_condense.studies.paper.report import Reproduction

TEXTS = ("data", "method", "network", "differs in")


def print_grids(as_json: bool) -> None:
    """Print the tables and figures that there are."""
    lines = [_described(grid) for grid in GRIDS.values()]
    if as_json:
        print(json.dumps(lines, indent=2))
        return
    _print(lines, texts=tuple(lines[0]))


def print_reproduction(made: Reproduction, as_json: bool) -> None:
    """Print a table, and its notes."""
    if as_json:
        print(json.dumps(made.content(), indent=2))
        return
    Console().print(_cell(made.title), highlight=False)
    _print(made.table(), TEXTS)
    Console().print(*map(_cell, made.notes()), highlight=False, sep="\n")


def _described(grid: Grid) -> dict[str, str]:
    return {
        "name": grid.name,
        "shows": grid.title,
        "data": " ".join(map(str, grid.problems)),
        "methods": " ".join(dict.fromkeys(making.method for making in grid.makings)),
    }


def _print(lines: list[dict[str, str]], texts: tuple[str, ...]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in lines[0]:
        table.add_column(column, justify="left" if column in texts else "right")
    for line in lines:
        table.add_row(*map(_cell, line.values()))
    Console().print(table, highlight=False)


def _cell(text: str) -> str:
    return escape(as_shown(text))
