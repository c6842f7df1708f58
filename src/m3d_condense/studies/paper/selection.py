"""Which cells of a grid are asked for: data sets, images per class and methods, as the user names them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from m3d_condense.recipes.methods import METHODS
from m3d_condense.studies.paper.grids import Grid, Making, Problem
from m3d_condense.studies.paper.local import KNOWN
from m3d_condense.studies.paper.published import WHOLE
from m3d_condense.tools.errors import UserError

__all__ = ["chosen_makings", "chosen_problems"]


def chosen_problems(grid: Grid, only: Sequence[str] | None) -> list[Problem]:
    """Return the problems that are asked for, each once; those of the grid where nothing is asked.

    Args:
        grid: the table or figure.
        only: texts such as "cifar10/10", or "cifar10" for all that the grid has of it. They may name data sets and
            images per class that the grid, and the paper, do not have.

    Raises:
        UserError: for a text that names no problem.
    """
    if only is None:
        return list(grid.problems)
    if not only:
        raise UserError("name at least one, such as cifar10/10", setting="only")
    return list(dict.fromkeys(problem for text in only for problem in _named(grid, text)))


def chosen_makings(grid: Grid, methods: Sequence[str] | None) -> list[Making]:
    """Return how the sets are to be made, in the grid's order and then in the order asked for.

    Args:
        grid: the table or figure.
        methods: rows of `METHODS`, or "whole": those of the grid that have these methods; one that the grid does not
            have is added.

    Raises:
        UserError: for an unknown method.
    """
    if methods is None:
        return list(grid.makings)
    if not methods:
        raise UserError("name at least one", setting="methods")
    for name in methods:
        if name not in METHODS and name != WHOLE:
            near = difflib.get_close_matches(name.lower(), (*METHODS, WHOLE), n=1)
            advice = f"did you mean {near[0]}?" if near else f"some of {', '.join((*METHODS, WHOLE))}"
            raise UserError(f"unknown method; {advice}", setting="methods", value=name)
    of_grid = [making for making in grid.makings if making.method in methods]
    had = {making.method for making in of_grid}
    return of_grid + [Making(method=name, label=name) for name in dict.fromkeys(methods) if name not in had]


def _named(grid: Grid, text: str) -> list[Problem]:
    """Return the problems that one text names."""
    match = re.fullmatch(r"\s*([A-Za-z][\w-]*)\s*(?:/\s*(\d{1,7})\s*)?", text, re.ASCII)
    if match is None:
        raise UserError("expected DATA/IPC, such as cifar10/10, or DATA alone", setting="only", value=text)
    data = match[1].lower().replace("_", "-")
    if data not in KNOWN:
        near = difflib.get_close_matches(data, KNOWN, n=1)
        advice = f"did you mean {near[0]}?" if near else f"one of {', '.join(KNOWN)}"
        raise UserError(f"unknown data set {match[1]!r}; {advice}", setting="only", value=text)
    if match[2] is not None:
        if int(match[2]) < 1:
            raise UserError("at least 1 image per class", setting="only", value=text)
        return [Problem(data=data, ipc=int(match[2]))]
    own = [problem for problem in grid.problems if problem.data == data]
    return own or [Problem(data=data, ipc=ipc) for ipc in dict.fromkeys(problem.ipc for problem in grid.problems)]
