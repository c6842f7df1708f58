"""Recipes and objectives to test with."""

from __future__ import annotations

from typing import Any

from m3d_condense.condensing import objectives
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import Recipe


def recipe_with(**changes: Any) -> Recipe:
    """Return DM's quick recipe for digits, with these settings in place of its own."""
    return methods.recipe("dm", "quick", Problem(ipc=2, side=8, mirrored=False), changes)


def objective_named(name: str, **changes: Any) -> Objective:
    """Build an objective by name; `changes` are settings such as the kernel."""
    return objectives.build(recipe_with(objective=name, **changes))
