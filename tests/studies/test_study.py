from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_studies import PLAIN, job, score

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.studies import scores
from m3d_condense.studies.results import Results
from m3d_condense.studies.study import run_study
from m3d_condense.tools.errors import UserError

GRID = [job(method, data=data) for data in ("digits", "others") for method in ("random", "dm")]
GRID += [job("dm", preset="paper"), job("dm", variant="dm, lr 0.5", lr=0.5)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every score be 50 %, at no cost; return the networks that scored."""
    networks: list[str] = []

    def evaluate(*_: object, network: str, **settings: Any) -> object:
        networks.append(network)
        return score(50.0, network=network)

    monkeypatch.setattr(scores, "evaluate", evaluate)
    return networks


def run(digits: ImageDataset, folder: Path | None = None, **changes: Any) -> Results:
    jobs, engine = changes.pop("jobs", GRID), Engine(changes.pop("execution", PLAIN))
    values: dict[str, Any] = {"name": "grid", "settings": {"version": 1}, "engine": engine, "folder": folder}
    return run_study(jobs, lambda name: digits, **values | changes)


def test_a_grid_over_data_sets_presets_and_variants_is_one_table(
    digits: ImageDataset, asked: list[str], tmp_path: Path
) -> None:
    made = run(digits, tmp_path, sort="method")
    keys = ("data", "method", "preset")
    assert sorted(tuple(line[key] for key in keys) for line in made.table()) == [
        ("digits", "dm", "paper"),
        ("digits", "dm", "quick"),
        ("digits", "dm, lr 0.5", "quick"),
        ("digits", "random", "quick"),
        ("others", "dm", "quick"),
        ("others", "random", "quick"),
    ]
    assert sorted(path.stem for path in (tmp_path / "cells").iterdir()) == sorted(one.name for one in GRID)
    assert sorted(path.name for path in (tmp_path / "sets").iterdir()) == sorted(one.name for one in GRID)
    assert {path.name for path in tmp_path.glob("grid.*")} == {"grid.json", "grid.csv", "grid.md"}
    assert len(asked) == 6


def test_jobs_may_be_added_and_left_out(digits: ImageDataset, asked: list[str], tmp_path: Path) -> None:
    run(digits, tmp_path, jobs=GRID[:2])
    assert len(run(digits, tmp_path, jobs=GRID[1:3]).rows) == 2
    assert len(asked) == 3
    rows = json.loads((tmp_path / "grid.json").read_text())["rows"]  # what is kept there, whoever asked for it
    assert {(row["data"], row["method"]) for row in rows} == {(one.data, one.label) for one in GRID[:3]}


def test_the_table_is_written_before_the_work_is_done(digits: ImageDataset, asked: list[str], tmp_path: Path) -> None:
    seen: list[int] = []

    def dataset_of(name: str) -> ImageDataset:
        seen.append(len(json.loads((tmp_path / "grid.json").read_text())["rows"]))
        return digits

    run_study(GRID[:3], dataset_of, name="grid", settings={}, engine=Engine(PLAIN), folder=tmp_path)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"settings": {"version": 2}}, "version"),
        ({"time_limit": 1.0}, "time_limit"),
        ({"execution": Execution(device="cpu", precision="bfloat16", compile="no")}, "precision"),
    ],
)
def test_a_folder_takes_no_other_settings_limit_or_machine(
    digits: ImageDataset, asked: list[str], tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    run(digits, tmp_path, jobs=GRID[:1])
    with pytest.raises(UserError, match=f"other {word};"):
        run(digits, tmp_path, jobs=GRID[:1], **changes)
    run(digits, tmp_path, jobs=GRID[:1], **changes, overwrite=True)
    assert len(asked) == 2


def test_without_a_folder_nothing_is_kept(
    digits: ImageDataset, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(run(digits, jobs=GRID[:2]).rows) == 2
    assert list(tmp_path.iterdir()) == []
