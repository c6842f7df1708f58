"""The table of methods: each row is a composition of settings, with its paper's values and a quick preset.

To add a method, write its values in `presets.py` and its row here; the loop knows none of them. Every value can be
overridden one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from m3d_condense.recipes import papers, presets
from m3d_condense.recipes.given import converted, given_settings
from m3d_condense.recipes.names import SELECTIONS
from m3d_condense.recipes.presets import Preset
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError

PRESETS = ("quick", "paper")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: what it is, where it comes from, and its values as functions of the problem."""

    title: str
    citation: str
    quick: Preset
    paper: Preset


def _row(title: str, citation: str, quick: Preset, paper: Preset, **changes: Any) -> Method:
    """Make a row out of another's values and what it changes."""
    return Method(
        title=title,
        citation=citation,
        quick=lambda problem: quick(problem) | changes,
        paper=lambda problem: paper(problem) | changes,
    )


def _coreset(title: str, citation: str, initialisation: str) -> Method:
    values = {"iterations": 0, "batch_real": 1, "augmentation": "none", "optimizer": "sgd", "lr": 1.0}
    return _row(title, citation, lambda _: values, lambda _: values, initialisation=initialisation)


_m3d = presets.quick_of(presets.m3d), presets.m3d_paper
_dm = presets.quick_of(presets.dm), presets.dm_paper
_cafe = presets.cafe_quick, presets.cafe_paper
_idm = presets.idm_quick, presets.idm_paper
_dc = presets.dc_quick, presets.dc_paper

METHODS: Mapping[str, Method] = {
    "m3d": _row("M3D: minimizing maximum mean discrepancy", papers.M3D, *_m3d),
    "m3d-linear": _row("M3D with the linear kernel", papers.M3D, *_m3d, kernel="linear"),
    "m3d-polynomial": _row("M3D with the polynomial kernel", papers.M3D, *_m3d, kernel="polynomial"),
    "m3d-no-factor": _row("M3D without the factor", papers.M3D, *_m3d, factor=1),
    "m3d-pool": _row(
        "M3D on encoders out of a trained pool, with cross-entropy",
        papers.POOL,
        presets.pool_quick,
        presets.pool_paper,
    ),
    "m3d-plus": _row(
        "M3D on encoders out of a pool trained longer, with cross-entropy under their trained ends",
        papers.POOL,
        presets.plus_quick,
        presets.plus_paper,
    ),
    "dm": _row("DM: distribution matching by class means", papers.DM, *_dm),
    "dm-2nd": _row("DM with variances", papers.TABLE_1, *_dm, objective="moments2"),
    "dm-3rd": _row("DM with variances and third moments", papers.TABLE_1, *_dm, objective="moments3"),
    "dm-m3d": _row("DM with M3D's loss", papers.TABLE_5, *_dm, objective="mmd"),
    "cafe": _row("CAFE: aligning the features of every layer", papers.CAFE, *_cafe),
    "cafe-dsa": _row("CAFE with Siamese augmentation", papers.CAFE, *_cafe, augmentation=presets.DSA),
    "datadam": _row(
        "DataDAM: matching spatial attention",
        papers.DATADAM,
        presets.quick_of(presets.datadam),
        presets.datadam_paper,
    ),
    "idm": _row("IDM: a queue of trained encoders, and cross-entropy", papers.IDM, *_idm),
    # M3D's loss is bounded: IDM's weight of the cross-entropy would rule it. The paper does not say which it used.
    "idm-m3d": _row("IDM with M3D's loss", papers.TABLE_5, *_idm, objective="mmd", cross_entropy=0.05),
    "dc": _row("DC: matching gradients", papers.DC, *_dc),
    "dsa": _row(
        "DSA: matching gradients under Siamese augmentation",
        papers.DSA,
        *_dc,
        augmentation=presets.DSA,
        initialisation="random",
    ),
    "idc": _row(
        "IDC: matching gradients of tiled images on networks in training",
        papers.IDC,
        presets.idc_quick,
        presets.idc_paper,
    ),
    "random": _coreset("Random: real images drawn at random", papers.TABLE_2, "random"),
    **{name: _coreset(chosen.title, chosen.citation, name) for name, chosen in SELECTIONS.items()},
}


def recipe(method: str, preset: str, problem: Problem, overrides: Mapping[str, Any]) -> Recipe:
    """Resolve a method and a preset into the settings of a run.

    Args:
        method: a key of `METHODS`.
        preset: one of `PRESETS`.
        problem: what is to be condensed, and into how much; its `mirrored` is the default of ``flip``.
        overrides: settings that take precedence; those that are None do not count.

    Raises:
        UserError: for an unknown method, preset or setting, a value out of range, or iterations of a method that takes
            no steps.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"unknown method {method!r}: one of {', '.join(METHODS)}")
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}: one of {', '.join(PRESETS)}")
    given = given_settings(overrides)
    problem = replace(problem, ipc=converted("ipc", problem.ipc), mirrored=given.get("flip", problem.mirrored))
    row = METHODS[method]
    own = presets.COMMON | (row.quick if preset == "quick" else row.paper)(problem)
    steps = given.get("iterations", 0)
    if own["iterations"] == 0 and steps > 0:
        said = f"{method} takes no steps; name a method that does, which may start from such images"
        raise UserError(said, setting="iterations", value=steps)
    return Recipe(**own | given | {"method": method, "preset": preset, "ipc": problem.ipc, "flip": problem.mirrored})
