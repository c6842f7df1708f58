"""The files by which our own results are known, and places where an output would become a part of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m3d_condense.tools.errors import UserError

CONDENSED = "condensed.json"  # in the folder of a condensed set
STUDIES = {"comparison.json", "study.json"}  # in the folders of comparisons and studies


def check_outside_sets(path: Path) -> None:
    """Raise `UserError` for a path within a condensed set, whose folder holds the set's own files alone."""
    within = next((folder for folder in path.resolve().parents if (folder / CONDENSED).is_file()), None)
    if within is not None:
        raise UserError(f"{path} lies in the condensed set {within}; choose another place")


def check_outside_data(path: Path, data: Any) -> None:
    """Raise `UserError` for a path within a folder of data, which would be read with them.

    Args:
        path: where images are to be written.
        data: what the data are read from, as the source of a set or data set says; what is no folder does not count.
    """
    for given in data if isinstance(data, list) else [data]:
        if isinstance(given, str) and Path(given).is_dir() and path.resolve().is_relative_to(Path(given).resolve()):
            raise UserError(f"{path} lies among the data of {given}, and would be read with them; choose another place")
