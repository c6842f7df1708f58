from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small_studies import job, record

from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.results import Results

JOBS = [job("random"), job("dm"), job("dm", seed=1), job(None)]


@pytest.fixture
def results() -> Results:
    ledger = Ledger({"data": "digits", "lr": None})
    machine = {"versions": {"torch": "2.1"}, "hardware": {"cores": 64}}
    ledger.keep(JOBS[0], record(JOBS[0], 40.0, 44.0, **machine))
    ledger.keep(JOBS[1], record(JOBS[1], 60.0, 61.0, **machine))
    ledger.keep(JOBS[2], record(JOBS[2], errors={"convnet1": "out of memory", "convnet9": "is not asked for"}))
    return Results.of(ledger, JOBS, "method")


def test_results_are_of_the_jobs_asked_for(results: Results) -> None:
    assert [(row.method, row.n) for row in results.rows] == [("dm", 2), ("random", 2)]
    assert [line["method"] for line in results.table()] == ["dm", "random"]
    assert results.notes()[1:] == ["dm, ipc 1: out of memory"]


def test_a_set_fails_by_the_networks_asked_for(results: Results) -> None:
    assert results.failed == 1
    ledger = Ledger({})
    ledger.keep(JOBS[0], record(JOBS[0], 40.0, errors={"convnet9": "is not asked for"}))
    assert Results.of(ledger, JOBS).failed == 0


def test_they_are_saved_as_json_csv_and_markdown(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "out", "table")
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    assert content["settings"] == {"data": "digits", "lr": None}
    assert content["environments"] == [{"versions": {"torch": "2.1"}, "hardware": {"cores": 64}}]
    assert [(row["method"], row["mean"]) for row in content["rows"]] == [("dm", 60.5), ("random", 42.0)]
    assert [seed["accuracies"] for seed in content["rows"][0]["seeds"]] == [[60.0, 61.0], []]
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        assert [row["mean"] for row in csv.DictReader(file)] == ["60.5", "42.0"]
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| dm | 1 | 60.5 ± 0.7 |" in text
    assert "dm, ipc 1: out of memory" in text
    assert "torch 2.1; cores 64" in text
