"""Tables and figures of the paper on digits, in seconds."""

from __future__ import annotations

from typing import Any

from m3d_condense.studies.paper.cells import Asked
from m3d_condense.studies.paper.grids import GRIDS

SMALL: dict[str, Any] = {"only": ["digits/1"], "networks": ["convnet1"], "iterations": 2, "repeats": 2, "epochs": 1}


def asked(name: str, **changes: Any) -> Asked:
    return Asked(grid=GRIDS[name], **SMALL | changes)
