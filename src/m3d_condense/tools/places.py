"""Places where an output would become a part of something else."""

from __future__ import annotations

from pathlib import Path

from m3d_condense.tools.errors import UserError

CONDENSED = "condensed.json"  # in the folder of a condensed set


def check_outside_sets(path: Path) -> None:
    """Raise `UserError` for a path within a condensed set, whose folder holds the set's own files alone."""
    within = next((folder for folder in path.resolve().parents if (folder / CONDENSED).is_file()), None)
    if within is not None:
        raise UserError(f"{path} lies in the condensed set {within}; choose another place")
