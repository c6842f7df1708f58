from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_grids import asked
from small_studies import PLAIN

from m3d_condense.studies.paper import estimate as module
from m3d_condense.studies.paper.estimate import Estimate, estimate
from m3d_condense.studies.paper.reproduction import reproduce
from m3d_condense.tools.errors import UserError


def estimated(out: Path | None = None, name: str = "table2", **changes: Any) -> Estimate:
    return estimate(asked(name, **changes), out=out, execution=PLAIN)


def test_what_is_left_is_told_by_kind_and_nothing_is_written(tmp_path: Path) -> None:
    found = estimated(tmp_path / "out", methods=["random", "dm", "whole"], seeds=2, only=["digits/1", "digits/2"])
    assert [(cost.method, cost.ipc, cost.sets) for cost in found.costs] == [
        ("random", 1, 2),
        ("dm", 1, 2),
        ("random", 2, 2),
        ("dm", 2, 2),
        ("whole", None, 1),
    ]
    assert not (tmp_path / "out").exists()
    for cost in found.costs:
        assert cost.problem == ""
        assert (cost.condensing > 0) == (cost.method == "dm")
        assert cost.scoring > 0
    assert found.total == pytest.approx(sum(cost.condensing + cost.scoring for cost in found.costs))
    assert (found.finished, found.missing) == (0, [])
    assert found.machine.startswith("cpu")


def test_more_steps_sets_and_epochs_take_longer() -> None:
    """Of the same trial, so that a busy machine does not matter: a set of many steps is that much dearer."""
    few, many = (estimated(methods=["dm"], iterations=steps, epochs=1).costs[0] for steps in (10, 10_000))
    assert many.condensing > 20 * few.condensing
    short, long = (estimated(methods=["random"], epochs=epochs).costs[0] for epochs in (1, 10_000))
    assert long.scoring > 20 * short.scoring


def test_a_budget_is_the_most_that_a_set_takes() -> None:
    (cost,) = estimated(methods=["dm"], iterations=10**6, time_limit=7.0, seeds=3).costs
    assert cost.condensing == 21.0
    assert cost.sets == 3


def test_finished_sets_are_left_out(tmp_path: Path) -> None:
    reproduce(asked("table2", methods=["random", "dm"]), out=tmp_path / "out", execution=PLAIN)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    found = estimated(tmp_path / "out", methods=["random", "dm"], seeds=2)
    assert [(cost.method, cost.sets) for cost in found.costs] == [("random", 1), ("dm", 1)]
    assert found.finished == 2
    done = estimated(tmp_path / "out", methods=["random", "dm"])
    assert (done.costs, done.total, done.finished) == ([], 0.0, 2)
    more = estimated(tmp_path / "out", methods=["dm"], networks=["convnet1", "convnet1-width8"]).costs[0]
    assert more.condensing == 0.0  # it is made, and not scored by the second network
    assert more.scoring > 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_what_several_sets_need_is_counted_once() -> None:
    herding, k_center, random = estimated(methods=["herding", "k-center", "random"]).costs
    assert max(herding.condensing, k_center.condensing) > 0
    assert min(herding.condensing, k_center.condensing) == random.condensing == 0.0


def test_a_pool_is_counted_without_being_trained() -> None:
    (plain,) = estimated(methods=["m3d"]).costs
    (pooled,) = estimated(methods=["m3d-pool"]).costs
    assert pooled.condensing > plain.condensing + 1  # five networks of 400 steps with 256 images


def test_moments_are_part_of_table_1() -> None:
    (without,) = estimated(methods=["dm"]).costs
    (compared,) = estimated(name="table1", methods=["dm"]).costs
    assert compared.scoring > without.scoring


def test_data_that_are_not_at_hand_are_said(tmp_path: Path) -> None:
    wanted = asked("table2", only=["cifar10/10", "digits/1"], methods=["random"])
    found = estimate(wanted, data_root=tmp_path, execution=PLAIN)
    assert [cost.data for cost in found.costs] == ["digits"]
    assert found.missing == [f"cifar10 is not at hand: no copy of it in {tmp_path}"]


def test_what_cannot_be_tried_is_said_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise UserError("no such encoder")

    monkeypatch.setattr(module, "try_steps", refused)
    right, wrong = estimated(methods=["dm", "random"]).costs
    assert (wrong.problem, wrong.total) == ("no such encoder", 0.0)
    assert right.problem == ""
    assert right.total > 0


def test_another_study_is_refused(tmp_path: Path) -> None:
    reproduce(asked("table2", methods=["random"]), out=tmp_path / "out", execution=PLAIN)
    with pytest.raises(UserError, match="other epochs"):
        estimated(tmp_path / "out", methods=["random"], epochs=2)
