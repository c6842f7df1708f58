"""The examples run as they stand, draw, and have a page; `make examples` runs them at their own settings."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("photographs", "replay", "choosing")
SMALL = {
    "photographs": ["--iterations", "2", "--epochs", "1", "--ipc", "1"],
    "replay": ["digits", "--iterations", "2", "--steps", "2", "--seeds", "1", "--ipc", "1"],
    "choosing": ["digits", "--iterations", "2", "--epochs", "1", "--whole-epochs", "1", "--repeats", "1", "--ipc", "1"],
}
PICTURES = {"photographs": "photographs-digits.png", "replay": "replay.png", "choosing": "choosing.png"}


def example(name: str) -> Any:
    return importlib.import_module(f"examples.{name}")


def test_every_example_is_tested() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"examples/{name}.py" in makefile
        assert f"examples/{name}.py" in page
        assert callable(example(name).main)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_draws(name: str, tmp_path: Path) -> None:
    found = example(name).main([*SMALL[name], "--out", str(tmp_path)])
    assert found
    assert (tmp_path / PICTURES[name]).read_bytes().startswith(b"\x89PNG")
