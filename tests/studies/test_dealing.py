"""Studies whose cells are dealt to processes that work together."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from small_studies import ASKED
from together import together

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.group import current
from m3d_condense.scoring import evaluate
from m3d_condense.studies.comparison import compare
from m3d_condense.studies.results import Results
from m3d_condense.studies.worker import Worker
from m3d_condense.tools.files import read_json
from m3d_condense.tools.progress import set_quiet

FEW = ASKED | {"ipc": [1]}

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(scope="module")
def alone(digits: ImageDataset) -> Results:
    set_quiet(True)
    return compare(digits, **FEW)


def accuracies(results: Results) -> dict[str, list[float]]:
    pairs = zip(results.jobs, results.records, strict=True)
    return {job.name: record.scores["convnet1"].accuracies for job, record in pairs}


def counted(monkeypatch: pytest.MonkeyPatch, folder: Path, die_at: int | None = None) -> None:
    """Write down which process finishes which cell; have one die in the middle of a cell."""
    original, taken = Worker.finish, [0]

    def finish(worker: Worker, job: Any) -> None:
        taken[0] += 1
        if worker.group.rank == 1 and taken[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        original(worker, job)
        with (folder / f"done-{job.name}").open("a") as file:
            file.write(f"{worker.group.rank}\n")

    monkeypatch.setattr(Worker, "finish", finish)


@pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_cells_are_dealt_and_every_process_knows_the_table(
    digits: ImageDataset, alone: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    counted(monkeypatch, tmp_path)
    out = tmp_path / "comparison" if kept else None
    for results in together(3, lambda: compare(digits, out=out, **FEW)):
        assert accuracies(results) == accuracies(alone)
    done = [path.read_text().split() for path in tmp_path.glob("done-*")]
    assert len(done) == len(alone.jobs)
    assert all(len(ranks) == 1 for ranks in done), "a cell is done by one process"
    if out is not None:
        rows = read_json(out / "comparison.json")["rows"]
        assert [row["mean"] for row in rows] == [row.mean for row in alone.rows]


def test_a_process_that_dies_ends_the_group_and_what_is_finished_stays(
    digits: ImageDataset, alone: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "comparison"
    with monkeypatch.context() as patch:
        counted(patch, tmp_path, die_at=2)
        ends = together(2, lambda: compare(digits, out=out, **FEW))
    assert ends[1] == -signal.SIGKILL
    assert isinstance(ends[0], ConnectionError)
    finished = {path.stem: path.read_bytes() for path in (out / "cells").glob("*.json")}
    assert 0 < len(finished) < len(alone.jobs)
    results = together(3, lambda: compare(digits, out=out, **FEW))[2]
    assert accuracies(results) == accuracies(alone)
    assert all((out / "cells" / f"{name}.json").exists() for name in finished)


@pytest.mark.slow
def test_a_trial_is_made_once_for_all_the_seeds_of_a_series(digits: ImageDataset, tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    asked = ASKED | {"ipc": 1, "iterations": 200, "seeds": 3, "whole": False, "random": False}
    results = together(3, lambda: compare(digits, out=out, time_limit=0.5, **asked))[1]
    assert len({record.iterations for record in results.records}) == 1
    assert len(list((out / "trials").iterdir())) == 1


def test_networks_that_score_are_dealt(digits: ImageDataset) -> None:
    asked: dict[str, Any] = {"network": "convnet1", "repeats": 4, "epochs": 1}
    alone = evaluate(digits, **asked).accuracies

    def work() -> tuple[list[float], bool]:
        return evaluate(digits, **asked).accuracies, current().size == 3

    assert together(3, work) == [(alone, True)] * 3
