"""m3d-condense: a few synthetic images per class in place of a whole labelled image data set.

`load` reads a data set, `condense` makes a condensed set of it, `evaluate` scores one, `compare` does both with several
methods, `study` with several settings of one, and `train` keeps a network that was trained on either. Importing this
package is cheap; torch is imported with the first of its names that is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3d_condense.condensing.condensation import condense, random_selections
    from m3d_condense.data.dataset import ImageDataset
    from m3d_condense.data.load import load
    from m3d_condense.fitting import train
    from m3d_condense.labelling import label
    from m3d_condense.machine.execution import Execution
    from m3d_condense.moments import MomentDistances, moment_distances
    from m3d_condense.scoring import evaluate
    from m3d_condense.sets.condensed import CondensedSet, Score
    from m3d_condense.studies.comparison import compare
    from m3d_condense.studies.variants import study
    from m3d_condense.tools.errors import UserError
    from m3d_condense.tools.progress import set_quiet
    from m3d_condense.tools.versions import __version__ as __version__
    from m3d_condense.training.trained import TrainedNetwork, load_network

__all__ = [
    "CondensedSet",
    "Execution",
    "ImageDataset",
    "MomentDistances",
    "Score",
    "TrainedNetwork",
    "UserError",
    "compare",
    "condense",
    "evaluate",
    "label",
    "load",
    "load_network",
    "moment_distances",
    "random_selections",
    "set_quiet",
    "study",
    "train",
]

_HOMES = {
    "CondensedSet": "sets.condensed",
    "Execution": "machine.execution",
    "ImageDataset": "data.dataset",
    "MomentDistances": "moments",
    "Score": "sets.condensed",
    "TrainedNetwork": "training.trained",
    "UserError": "tools.errors",
    "__version__": "tools.versions",
    "compare": "studies.comparison",
    "condense": "condensing.condensation",
    "evaluate": "scoring",
    "label": "labelling",
    "load": "data.load",
    "load_network": "training.trained",
    "moment_distances": "moments",
    "random_selections": "condensing.condensation",
    "set_quiet": "tools.progress",
    "study": "studies.variants",
    "train": "fitting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
