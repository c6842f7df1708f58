"""m3d-condense: a few synthetic images per class in place of a whole labelled image data set.

`load` reads a data set, `condense` makes a condensed set of it, `evaluate` scores one, `compare` does
both with several methods. Importing this package is cheap; torch is imported with the first of its names that is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3d_condense.comparison import compare
    from m3d_condense.condensation import condense
    from m3d_condense.condensed import CondensedSet, Score
    from m3d_condense.data import ImageDataset, load
    from m3d_condense.engine import Execution
    from m3d_condense.errors import UserError
    from m3d_condense.scoring import evaluate, random_selections

__all__ = [
    "CondensedSet",
    "Execution",
    "ImageDataset",
    "Score",
    "UserError",
    "compare",
    "condense",
    "evaluate",
    "load",
    "random_selections",
]

_HOMES = {
    "CondensedSet": "condensed",
    "Execution": "engine",
    "ImageDataset": "data",
    "Score": "condensed",
    "UserError": "errors",
    "compare": "comparison",
    "condense": "condensation",
    "evaluate": "scoring",
    "load": "data",
    "random_selections": "scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
