from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_grids import asked
from small_studies import PLAIN, WORK

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.studies import scores, worker
from m3d_condense.studies.paper import local
from m3d_condense.studies.paper.cells import cells
from m3d_condense.studies.paper.report import Reproduction
from m3d_condense.studies.paper.reproduction import reproduce
from m3d_condense.tools.errors import UserError

METHODS = ["random", "dm", "m3d", "whole"]


def made(name: str, out: Path | None, **changes: Any) -> Reproduction:
    return reproduce(asked(name, **changes), out=out, execution=PLAIN)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished table 2, to look at; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "paper"
    made("table2", folder, methods=METHODS, seeds=2)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "copied")


def stored(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return content


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("work that was done before is done again")


def test_a_table_has_a_row_for_each_method_and_says_in_what_it_differs(finished: Path) -> None:
    rows = {row["method"]: row for row in stored(finished, "table2")["rows"]}
    assert list(rows) == METHODS
    assert {name: row["n"] for name, row in rows.items()} == {"random": 4, "dm": 4, "m3d": 4, "whole": 2}
    assert all(row["mean"] > 10 and row["paper"] is None and not row["missing"] for row in rows.values())
    scored = ["protocol quick", "1 of 1,000 epochs", "scored by convnet1"]
    assert rows["random"]["differs"] == scored
    assert rows["m3d"]["differs"] == ["quick preset", "2 of 10,000 steps", *scored]
    assert rows["whole"]["differs"] == ["protocol quick", "1 of 100 epochs", "scored by convnet1"]
    assert rows["m3d"]["settings"]["optimizer"] == ["adam", "sgd"]
    assert rows["m3d"]["settings"]["iterations"] == [2, 10_000]
    assert "seed" not in rows["m3d"]["settings"]


def test_markdown_and_csv_say_the_same(finished: Path) -> None:
    rows = stored(finished, "table2")["rows"]
    lines = (finished / "table2.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    marked = [dict(zip(cells[0], line, strict=True)) for line in cells[2:]]
    with (finished / "table2.csv").open(newline="") as file:
        comma = list(csv.DictReader(file))
    assert lines[0] == "# Table 2: Selections and condensed sets of low resolution"
    for row, line, values in zip(rows, marked, comma, strict=True):
        assert line["ours"] == f"{row['mean']:.1f} ± {row['std']:.1f}"
        assert (line["method"], line["n"]) == (row["method"], str(row["n"])) == (values["method"], values["n"])
        assert line["differs in"] == ", ".join(row["differs"]) == values["differs"]
        assert float(values["mean"]) == row["mean"]
        assert values["paper_mean"] == ""
    text = "\n".join(lines)
    assert "The paper trains 10 networks" in text
    assert "torch" in text


def test_the_same_call_again_does_no_work(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(copied, "table2")
    for name in ("condense", "evaluate"):
        monkeypatch.setattr(WORK[name], name, refuse)
    again = made("table2", copied, methods=METHODS, seeds=2)
    assert json.loads(json.dumps(again.content())) == before == stored(copied, "table2")
    assert [row.n for row in made("table2", copied, methods=["dm"]).rows] == [2]


def test_tables_and_figures_share_their_sets(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 11 has the images that M3D starts from, and those of Table 2."""
    sets: list[str] = []
    original = worker.condense

    def counted(*arguments: Any, **settings: Any) -> Any:
        sets.append(settings["method"])
        return original(*arguments, **settings)

    monkeypatch.setattr(worker, "condense", counted)
    rows = made("figure11", copied).rows
    assert [row.method for row in rows] == ["initialisation of m3d", "m3d"]
    assert [row.iterations for row in rows] == [0, 2]
    assert sets == ["dm", "m3d"]  # the first warms up
    assert (copied / "table2.json").is_file()


def test_an_interrupted_table_goes_on(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = scores.evaluate

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        calls.append(settings["network"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(scores, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made("table2", tmp_path / "out", methods=METHODS, seeds=2)
    begun = stored(tmp_path / "out", "table2")["rows"]
    assert [row["missing"] for row in begun].count("not done yet") == 3
    resumed = made("table2", tmp_path / "out", methods=METHODS, seeds=2)
    expected = {row["method"]: row["mean"] for row in stored(finished, "table2")["rows"]}
    assert {row.method: row.mean for row in resumed.rows} == expected


def test_data_that_are_not_at_hand_are_labelled_empty_cells(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    wanted = asked("table2", only=["cifar10/10", "digits/1"], methods=["m3d", "dm"])
    found = reproduce(wanted, data_root=root, execution=PLAIN)
    assert [(row.data, row.mean is None) for row in found.rows] == [
        *[("cifar10", True)] * 2,
        *[("digits", False)] * 2,
    ]
    assert found.failed == 0
    empty = found.table()[0]
    assert (empty["ours"], empty["paper"], empty["differs in"]) == ("no data", "48.9 ± 0.6", "")
    assert f"cifar10/10 dm, cifar10/10 m3d: cifar10 is not at hand: no copy of it in {root}" in found.notes()


def test_a_table_with_scores_stays_as_it_is_where_its_data_are_not_at_hand(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8), np.arange(40) % 4
    copy = root / "svhn.npz"
    np.savez(copy, x_train=images[:24], y_train=labels[:24], x_test=images[24:], y_test=labels[24:])
    wanted = asked("table2", only=["svhn/1"], methods=["random"])
    (row,) = reproduce(wanted, data_root=root, out=out, execution=PLAIN).rows
    assert row.differs[:4] == (
        "24 training images for 73,257",
        "16 test images for 26,032",
        "4 classes for 10",
        "8 pixels a side for 32",
    )
    before = (out / "table2.md").read_bytes()
    copy.unlink()
    with pytest.raises(UserError, match="svhn is not at hand: no copy of it in .*; .* has scores of svhn, which the"):
        reproduce(wanted, data_root=root, out=out, execution=PLAIN)
    assert (out / "table2.md").read_bytes() == before
    found = reproduce(
        asked("table2", only=["svhn/2", "digits/1"], methods=["dm"]),
        out=tmp_path / "other",
        execution=PLAIN,
        data_root=root,
    )
    assert [line["ours"] == "no data" for line in found.table()] == [True, False]


def test_data_that_cannot_be_read_are_not_at_hand(tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").write_bytes(b"nothing of the kind")
    found = reproduce(asked("table2", only=["cifar10/10"], methods=["m3d"]), data_root=tmp_path, execution=PLAIN)
    assert [line["ours"] for line in found.table()] == ["no data"]
    assert "cifar10.npz" in found.notes()[-1]
    assert found.failed == 0


def test_nothing_at_hand_is_a_table_all_the_same(tmp_path: Path) -> None:
    found = reproduce(asked("figure6a", only=None), data_root=tmp_path, execution=PLAIN)
    assert [row.missing[:23] for row in found.rows] == ["cifar10 is not at hand:"]


def test_a_method_that_fails_loses_no_other() -> None:
    found = made("table2", None, methods=["dm", "random"], time_limit=1e-6, iterations=None)
    rows = {row.method: row for row in found.rows}
    assert found.failed == 1
    assert rows["dm"].missing.startswith("time_limit=1e-06s: too short")
    assert (rows["random"].n, rows["random"].missing) == (2, "")
    assert [line["ours"] for line in found.table() if line["method"] == "dm"] == ["failed"]
    assert "digits/1 dm: time_limit=1e-06s: too short" in "".join(found.notes())


def test_steps_within_a_budget_are_at_most_those_of_the_paper(digits: ImageDataset) -> None:
    (cell,) = cells(asked("table2", methods=["dm"], time_limit=60.0, iterations=None), lambda name: digits)
    assert cell.jobs[0].recipe is not None
    assert cell.jobs[0].recipe.iterations == 20_000
    (fewer,) = cells(asked("table2", methods=["dm"], time_limit=60.0, iterations=7), lambda name: digits)
    assert fewer.jobs[0].recipe is not None
    assert fewer.jobs[0].recipe.iterations == 7


def test_the_paper_preset_takes_the_papers_protocol_and_networks(digits: ImageDataset) -> None:
    wanted = asked("table2", methods=["m3d", "whole"], preset="paper", iterations=None, repeats=None, epochs=None)
    of_set, whole = cells(wanted, lambda name: digits)
    for cell in (of_set, whole):
        assert (cell.jobs[0].scoring.protocol, cell.jobs[0].scoring.repeats) == ("idc", 10)
    assert of_set.jobs[0].recipe == of_set.paper
    assert wanted.scoring(high=True).repeats == 3


def test_moments_stand_in_table_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made("table1", tmp_path / "out", methods=["dm", "m3d"])
    for row, line in zip(found.rows, found.table(), strict=True):
        assert row.moments is not None
        assert all(distance > 0 for distance in row.moments)
        assert line["skewness"] == f"{row.moments[2]:.2f}"
    monkeypatch.setattr(worker, "moment_distances", refuse)
    assert made("table1", tmp_path / "out", methods=["dm", "m3d"]).rows == found.rows


def test_moments_are_added_to_a_table_that_had_none(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "evaluate", refuse)
    (row,) = made("table1", copied, methods=["dm"]).rows
    assert row.moments is not None
    (same,) = made("table2", copied, methods=["dm"]).rows  # in one folder, and still no table of moments
    assert same.moments is None


@pytest.mark.parametrize(("name", "columns"), [("table1", {"mean", "variance", "skewness"}), ("table2", set())])
def test_the_paper_s_moments_stand_in_its_table_of_them_alone(name: str, columns: set[str], tmp_path: Path) -> None:
    wanted = asked(name, only=["cifar10/10"], methods=["dm"])
    found = reproduce(wanted, data_root=tmp_path, execution=PLAIN)
    (line,) = found.table()
    assert line["ours"] == "no data"
    assert line.keys() & {"mean", "variance", "skewness"} == columns
    assert ("In parentheses: the paper's distances" in found.notes()) == bool(columns)


def test_a_figure_over_steps_ends_at_the_steps_asked_for(tmp_path: Path) -> None:
    rows = made("figure3", None, iterations=4, methods=["m3d", "random"]).rows
    steps = [(row.value, row.iterations) for row in rows if row.method.startswith("m3d")]
    assert steps == [(0, 0), (1, 1), (2, 2), (4, 4)]
    assert [row.method for row in rows if row.value is None] == ["random"]


def test_a_run_of_fewer_steps_is_on_the_way_of_a_longer_one(tmp_path: Path) -> None:
    """What Figure 3 rests on: under its constant rate, a point is a state of the longest run."""
    from m3d_condense.condensing.condensation import condense

    settings = {"ipc": 1, "lr_schedule": "constant", "batch_real": 4, "execution": PLAIN}
    short = condense("digits", iterations=2, **settings)
    longer = tmp_path / "longer"
    stopped = condense("digits", iterations=4, out=longer, time_limit=0.0, **settings)
    assert stopped.steps == 1
    one = condense("digits", iterations=1, **settings)
    assert (stopped.images == one.images).all()
    assert not (short.images == one.images).all()


def test_a_folder_of_another_kind_is_refused(copied: Path) -> None:
    with pytest.raises(UserError, match="other time_limit"):
        made("table2", copied, methods=["dm"], time_limit=60.0)
    with pytest.raises(UserError, match="other recipe|other iterations"):
        made("table2", copied, methods=["dm"], iterations=3)


def test_the_orders_of_methods_are_compared(tmp_path: Path) -> None:
    from m3d_condense.studies.paper.beside import Beside, rank_orders
    from m3d_condense.studies.paper.published import published

    means = {"random": 30.0, "herding": 20.0, "dm": 50.0, "m3d": 40.0}
    rows = [
        Beside(
            data="cifar10",
            ipc=10,
            method=method,
            network="convnet",
            value=None,
            preset="quick",
            paper=published("cifar10", 10, method, "convnet"),
            mean=mean,
            n=1,
            settings={},
        )
        for method, mean in means.items()
    ]
    (said,) = rank_orders(rows)
    assert "0.60 over 4 methods" in said
    assert "here dm > m3d > random > herding; in the paper m3d > dm > herding > random" in said
    assert rank_orders(rows[:2]) == []
    level = [dataclasses.replace(row, mean=30.0) for row in rows]
    assert rank_orders(level) == []
    (said,) = rank_orders([*level[:3], rows[3]])
    assert "here m3d > random = herding = dm; in the paper" in said


def test_the_best_of_several_readings_is_told_beside_the_last_state(tmp_path: Path) -> None:
    read = made("table2", tmp_path / "read", methods=["random"], readings=2, epochs=3)
    (row,), (line,) = read.rows, read.table()
    assert row.best is not None
    assert row.mean is not None
    assert row.best >= row.mean
    assert line["best reading, %"] == f"{row.best:.1f}"
    assert any("best of 2, as public code reports" in note for note in read.notes())


def test_a_finished_table_of_other_data_is_refused(
    copied: Path, digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.read_bytes() for file in copied.glob("*.*")}
    other = dataclasses.replace(digits, train=dataclasses.replace(digits.train, images=255 - digits.train.images))
    monkeypatch.setattr(local, "load", lambda *_, **__: other)
    with pytest.raises(UserError, match="digits has changed since sets of it were scored; give another out"):
        made("table2", copied, methods=METHODS, seeds=2)
    assert {file: file.read_bytes() for file in copied.glob("*.*")} == before
