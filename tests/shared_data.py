"""Real data for tests: beside the checkout, or where M3D_DATA says; tests that need a set absent there skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("M3D_DATA", Path(__file__).parents[2] / "shared" / "data"))


def folder(name: str) -> Path:
    """Return the folder of a data set, or skip the test."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {name} in {SHARED}; M3D_DATA says where real data are")
    return SHARED / name
