from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import commands

from m3d_condense.condensing import run


@pytest.fixture(autouse=True)
def _saved_at_every_step(monkeypatch: pytest.MonkeyPatch, own_folder: None) -> None:
    """Have a checkpoint written after every step, where the clock would leave most of these short runs without."""
    monkeypatch.setattr(run, "SAVE_EVERY", 0.0)


@pytest.fixture(autouse=True, scope="session")
def _warm(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> None:
    """Import all that commands import, which each forked process would do anew, for most of its time."""
    folder = tmp_path_factory.mktemp("warm")
    for method in commands.OF_METHOD:
        assert commands.condense(folder / method, method, iterations=1) == 0
    assert commands.evaluate(folder / "m3d") == 0
    assert commands.compare(folder / "study") == 0


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in its folder."""
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Show a line of counts, whatever is captured."""
    lines: list[str] = []
    yield lines.append
    with capsys.disabled():
        print("", *lines, sep="\n    ")
