from __future__ import annotations

import csv
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_studies import ASKED, PLAIN, SCORED, TINY, WORK, score

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.recipes.methods import METHODS
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.studies import scores, worker
from m3d_condense.studies.comparison import compare
from m3d_condense.studies.results import Results
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import recorded
from m3d_condense.tools.text import kib

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def finished(digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison, as `ASKED`, to look at; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "comparison"
    compare(digits, out=folder, **ASKED)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


def refuse(*arguments: object, **settings: object) -> None:
    raise AssertionError("work that was done before is done again")


def counted(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[int], object] = lambda number: None
) -> list[Any]:
    """Have `act` called with the number of each call of `condense` or `evaluate`; return the list of their settings."""
    calls: list[Any] = []
    original = getattr(WORK[name], name)

    def call(*arguments: Any, **settings: Any) -> Any:
        calls.append(settings)
        act(len(calls))
        return original(*arguments, **settings)

    monkeypatch.setattr(WORK[name], name, call)
    return calls


def figures(made: Results) -> list[tuple[Any, ...]]:
    """What of the rows does not depend on the clock or the machine's memory, in the order of the methods."""
    return sorted(
        (row.method, str(row.ipc), row.network, row.mean, row.std, row.n, row.size_bytes, row.iterations, row.error)
        for row in made.rows
    )


def stored(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "comparison.json").read_text())
    return content


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in (folder / "cells").iterdir()}


# What is computed


def test_rows_hold_every_accuracy_and_their_mean(digits: ImageDataset, finished: Path) -> None:
    rows = {(row["method"], row["ipc"]): row for row in stored(finished)["rows"]}
    assert set(rows) == {("random", 1), ("random", 2), ("dm", 1), ("dm", 2), ("whole", None)}
    for method, ipc in (("dm", 2), ("random", 1)):
        row, settings = rows[method, ipc], TINY if method == "dm" else {}
        sets = [condense(digits, method=method, ipc=ipc, seed=s, execution=PLAIN, **settings) for s in (0, 1)]
        expected = [evaluate(made, digits, network="convnet1", **SCORED).accuracies for made in sets]
        assert [one["accuracies"] for one in row["seeds"]] == expected
        assert [one["mean"] for one in row["seeds"]] == pytest.approx([statistics.fmean(part) for part in expected])
        assert row["n"] == 4
        assert row["mean"] == pytest.approx(statistics.fmean(sum(expected, [])))
        assert row["std"] == pytest.approx(statistics.stdev(sum(expected, [])))
        assert row["size_bytes"] == sets[0].nbytes == 640 * ipc
        assert row["iterations"] == (3 if method == "dm" else 0)
        assert row["seconds"] == pytest.approx(statistics.median(one["seconds"] for one in row["seeds"]))
        assert row["peak_bytes"] == max(one["peak_bytes"] for one in row["seeds"]) > 2**20
    whole = rows["whole", None]
    assert whole["seeds"][0]["accuracies"] == evaluate(digits, network="convnet1", **SCORED).accuracies
    assert (whole["n"], whole["size_bytes"]) == (2, digits.train.images.nbytes)
    assert whole["seconds"] is whole["iterations"] is whole["peak_bytes"] is None


def test_everything_to_repeat_it_is_stored(digits: ImageDataset, finished: Path) -> None:
    content = stored(finished)
    assert content["settings"]["fingerprint"] == digits.fingerprint
    assert (content["settings"]["iterations"], content["settings"]["repeats"]) == (3, 2)
    (ran_on,) = content["environments"]
    assert ran_on["versions"]["torch"]
    assert ran_on["hardware"]["cores"]
    one = cells(finished)["digits-dm-quick-ipc1-seed1"]
    made = CondensedSet.load(finished / "sets" / "digits-dm-quick-ipc1-seed1")
    assert one["settings"].items() <= made.settings.items()
    assert one["scores"]["convnet1"]["settings"]["hardware"]["used"].startswith("cpu")
    assert [score.accuracies for score in made.scores] == [one["scores"]["convnet1"]["accuracies"]]


def test_random_and_the_whole_are_there_unless_refused(digits: ImageDataset) -> None:
    def methods(**changes: Any) -> list[str]:
        return sorted(
            row.method for row in compare(digits, **ASKED | {"ipc": 1, "seeds": 1, "repeats": 1} | changes).rows
        )

    assert methods(methods=["random", "random"]) == ["random", "whole"]
    assert methods(random=False) == ["dm", "whole"]
    assert methods(whole=False) == ["dm", "random"]
    assert methods(random=False, whole=False, networks=["convnet1", "convnet2", "convnet1"]) == ["dm", "dm"]
    with pytest.raises(UserError, match="nothing is left"):
        methods(methods=["random"], random=False, whole=False)


def test_all_methods_are_the_default(digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def selected(data: ImageDataset, *, method: str, **settings: Any) -> CondensedSet:
        asked.append(method)
        return condense(data, ipc=1, method="random", execution=PLAIN)

    monkeypatch.setattr(worker, "condense", selected)
    monkeypatch.setattr(scores, "evaluate", lambda *_, network, **settings: score(50.0, network=network))
    made = compare(digits, ipc=1, seeds=1, whole=False)
    assert {row.method for row in made.rows} == set(asked) == set(METHODS)


# Going on


def test_the_same_call_again_does_no_work(digits: ImageDataset, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, known = stored(copied), cells(copied)
    with monkeypatch.context() as patch:
        for name in ("condense", "evaluate"):
            patch.setattr(WORK[name], name, refuse)
        again = compare(digits, out=copied, **ASKED)
        fewer = compare(digits, out=copied, **ASKED | {"ipc": 2, "seeds": 1})
    assert len(again.rows) == 5
    assert [row.n for row in fewer.rows] == [2, 2, 2]
    assert cells(copied) == known
    compare(digits, out=copied, **ASKED)
    assert stored(copied) == before


def test_what_is_added_is_all_that_is_done(digits: ImageDataset, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, scored = counted(monkeypatch, "condense"), counted(monkeypatch, "evaluate")
    more = compare(digits, out=copied, **ASKED | {"seeds": 3, "ipc": [1]})
    assert [settings["seed"] for settings in made[1:]] == [2, 2]
    assert len(scored) == 2
    assert [row.n for row in more.rows] == [2, 6, 6]
    scored.clear()
    both = compare(digits, out=copied, **ASKED | {"networks": ["convnet1", "convnet2"], "ipc": 1, "seeds": 1})
    assert [settings["network"] for settings in scored] == ["convnet2"] * 3
    assert sorted((line["method"], line["network"]) for line in both.table()) == [
        (method, network) for method in ("dm", "random", "whole") for network in ("convnet1", "convnet2")
    ]


def test_the_files_hold_what_earlier_calls_have_kept(digits: ImageDataset, copied: Path) -> None:
    before = {(row["method"], row["ipc"]): row for row in stored(copied)["rows"]}
    asked = ASKED | {"methods": ["datadam"], "ipc": 1, "seeds": 1, "networks": ["convnet2"]}
    made = compare(digits, out=copied, random=False, whole=False, **asked)
    assert [(row.method, row.network) for row in made.rows] == [("datadam", "convnet2")]
    rows = stored(copied)["rows"]
    assert {(row["method"], row["ipc"]): row for row in rows if row["network"] == "convnet1"} == before
    assert [row["method"] for row in rows if row["network"] == "convnet2"] == ["datadam"]
    more = compare(digits, out=copied, random=False, whole=False, **asked | {"seed": 0, "seeds": 2})
    assert [row.n for row in more.rows] == [4]
    assert sum(len(row["seeds"]) for row in stored(copied)["rows"] if row["method"] == "datadam") == 2
    (copied / "cells" / "digits-datadam-quick-ipc1-seed0.json").write_text("{}")
    compare(digits, out=copied, **ASKED)
    assert [len(row["seeds"]) for row in stored(copied)["rows"] if row["method"] == "datadam"] == [1]
    assert {(row["method"], row["ipc"]) for row in stored(copied)["rows"]} > before.keys()


def test_a_set_that_was_taken_away_is_told(digits: ImageDataset, copied: Path) -> None:
    shutil.rmtree(copied / "sets" / "digits-dm-quick-ipc1-seed0")
    with recorded() as notices:
        assert len(compare(digits, out=copied, **ASKED).rows) == 5
    assert "Of these only the scores are left: digits-dm-quick-ipc1-seed0" in notices


@pytest.mark.parametrize(("name", "number", "scored"), [("evaluate", 1, 0), ("evaluate", 2, 1), ("condense", 4, 2)])
def test_an_interrupted_comparison_goes_on(
    digits: ImageDataset,
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    scored: int,
) -> None:
    asked = ASKED | {"ipc": 1}

    def interrupt(calls: int) -> None:
        if calls == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        counted(patch, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            compare(digits, out=tmp_path / "out", **asked)
    rest = counted(monkeypatch, "evaluate")
    resumed = compare(digits, out=tmp_path / "out", **asked)
    assert len(rest) == 5 - scored
    uninterrupted = compare(digits, out=copied, **asked)
    assert figures(resumed) == figures(uninterrupted)
    assert all(row.peak_bytes for row in resumed.rows if row.ipc)


def test_sets_and_scores_whose_record_was_lost_are_found(
    digits: ImageDataset, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut between a set's last file and its record."""
    name = "digits-dm-quick-ipc1-seed1"
    lost = cells(copied)[name]
    (copied / "cells" / f"{name}.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(scores, "evaluate", refuse)
        compare(digits, out=copied, **ASKED)
    assert cells(copied)[name] == lost | {"peak_bytes": None, "peak_of": ""}


def test_other_settings_or_data_are_refused(digits: ImageDataset, copied: Path) -> None:
    before = stored(copied)
    fewer = load((digits.train.images[:300].numpy(), digits.train.labels[:300].numpy()))
    for data, changes, word in (
        (digits, {"lr": 0.5}, "other lr;"),
        (digits, {"epochs": 2, "repeats": 1}, "other repeats, epochs;"),
        (digits, {"time_limit": 1.0}, "other time_limit;"),
        (fewer, {}, "other data;"),
    ):
        with pytest.raises(UserError, match=f"{word}.*out, or overwrite=True"):
            compare(data, out=copied, **ASKED | changes)
    assert stored(copied) == before


def test_overwrite_discards_what_is_there(digits: ImageDataset, copied: Path) -> None:
    changes = {"ipc": 1, "seeds": 1, "lr": 0.5, "whole": False}
    compare(digits, out=copied, overwrite=True, **ASKED | changes)
    names = {"digits-random-quick-ipc1-seed0", "digits-dm-quick-ipc1-seed0"}
    assert set(cells(copied)) == {path.name for path in (copied / "sets").iterdir()} == names
    assert CondensedSet.load(copied / "sets" / "digits-dm-quick-ipc1-seed0").settings["lr"] == 0.5
    (copied / "sets" / "mine").mkdir()
    (copied / "sets" / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="mine is not of this study"):
        compare(digits, out=copied, overwrite=True, **ASKED)
    assert (copied / "sets" / "mine" / "notes.txt").read_text() == "mine"
    assert set(cells(copied)) == names


def test_overwrite_discards_a_set_that_was_begun(digits: ImageDataset, copied: Path) -> None:
    begun = copied / "sets" / "begun"
    condense(digits, method="dm", ipc=1, out=begun, time_limit=0.0, execution=PLAIN, **TINY)
    assert begun.with_name("begun.checkpoint").is_file()
    compare(digits, out=copied, overwrite=True, **ASKED | {"ipc": 1, "seeds": 1, "whole": False})
    assert list((copied / "sets").glob("begun*")) == []


def test_a_time_limit_sets_the_iterations(digits: ImageDataset, tmp_path: Path) -> None:
    asked = ASKED | {"ipc": 1, "seeds": 1, "repeats": 1, "whole": False}
    made = compare(digits, out=tmp_path / "out", time_limit=60.0, **asked)
    assert {row.method: row.iterations for row in made.rows} == {"dm": 3, "random": 0}  # the preset's at most
    refused = compare(digits, time_limit=1e-6, **asked)
    assert [row.error[:24] for row in refused.rows if row.method == "dm"] == ["time_limit=1e-06s: too s"]


@pytest.mark.parametrize("wrong", [{"methods": ["m4d"]}, {"method": "dm"}, {"sort": "speed"}, {"rate": 1}])
def test_mistakes_in_python_are_user_errors(digits: ImageDataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=str(*wrong) if "methods" not in wrong else "m4d"):
        compare(digits, **wrong)


# Soft labels


def test_sets_with_a_pool_are_scored_with_soft_labels_too(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled = {"methods": ["m3d-pool", "dm"], "ipc": 1, "seeds": 1, "networks": ["convnet1"], "whole": False}
    asked: dict[str, Any] = {**pooled, **TINY, **SCORED, "encoder_count": 2, "encoder_steps": 3, "out": tmp_path / "c"}
    alone = compare(digits, **asked)
    both = compare(digits, soft_labels=True, **asked)
    rows = {(row.method, row.network): row for row in both.rows}
    softly = rows.pop(("m3d-pool", "convnet1, soft labels"))
    assert rows.keys() == {(name, "convnet1") for name in ("random", "m3d-pool", "dm")}
    assert rows == {(row.method, row.network): row for row in alone.rows}  # hard scores are mixed with no others
    assert (rows["m3d-pool", "convnet1"].size_bytes, softly.size_bytes) == (640, 840)
    assert (rows["m3d-pool", "convnet1"].class_bytes, softly.class_bytes) == (64, 84)
    held = CondensedSet.load(tmp_path / "c" / "sets" / "digits-m3d-pool-quick-ipc1-seed0")
    assert [score.labels for score in held.scores] == ["hard", "soft"]
    assert (held.scores[0].mean, held.scores[1].mean) == (rows["m3d-pool", "convnet1"].mean, softly.mean)
    assert [line["KiB a class"] for line in both.table() if "soft" in line["network"]] == ["0.082"]

    def train(*given: Any, **settings: Any) -> None:
        raise AssertionError("was scored before")

    monkeypatch.setattr(scores, "evaluate", train)
    assert compare(digits, soft_labels=True, **asked).rows == both.rows
    for cell in (tmp_path / "c" / "cells").glob("*m3d-pool*"):
        cell.unlink()  # the scores are found in the set, each under its labels
    again = {(row.method, row.network): row.mean for row in compare(digits, soft_labels=True, **asked).rows}
    assert again["m3d-pool", "convnet1"] == rows["m3d-pool", "convnet1"].mean
    assert again["m3d-pool", "convnet1, soft labels"] == softly.mean


# The table


def test_json_csv_and_markdown_agree(finished: Path) -> None:
    rows = stored(finished)["rows"]
    with (finished / "comparison.csv").open(newline="") as file:
        comma = list(csv.DictReader(file))
    text = (finished / "comparison.md").read_text()
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    marked = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    assert len(rows) == len(comma) == len(marked) == 5
    for row, values, cells in zip(rows, comma, marked, strict=True):
        assert {name: str(row[name] if row[name] is not None else "") for name in values} == values
        assert cells["method"] == row["method"]
        assert cells["ipc"] == values["ipc"]
        assert cells["accuracy, %"] == f"{row['mean']:.1f} ± {row['std']:.1f}"
        assert (cells["n"], cells["iterations"]) == (values["n"], values["iterations"])
        assert cells["KiB a class"] == kib(row["size_bytes"] / 10)
    for word in ("sample standard deviation", "protocol quick, 1 epoch", "preset quick", "torch"):
        assert word in text


def test_the_best_readings_have_a_column_of_their_own(digits: ImageDataset, finished: Path, tmp_path: Path) -> None:
    read = compare(digits, out=tmp_path / "read", readings=2, **ASKED | {"epochs": 4})
    for row, line in zip(read.rows, read.table(), strict=True):
        assert row.best is not None
        assert row.mean is not None
        assert row.best >= row.mean
        assert line["best reading, %"] == f"{row.best:.1f}"
    assert any("best of 2" in note for note in read.notes())
    assert stored(tmp_path / "read")["rows"][0]["best"] == read.rows[0].best
    assert "best reading" not in (finished / "comparison.md").read_text()
    again = compare(digits, out=tmp_path / "read", readings=2, **ASKED | {"epochs": 4})
    assert again.rows == read.rows
    with pytest.raises(UserError, match="with other readings"):
        compare(digits, out=tmp_path / "read", readings=3, **ASKED | {"epochs": 4})


def test_rows_are_in_the_order_asked_for(digits: ImageDataset, copied: Path) -> None:
    made = compare(digits, out=copied, sort="method", **ASKED)
    order = [("dm", 1), ("dm", 2), ("random", 1), ("random", 2), ("whole", None)]
    assert [(row.method, row.ipc) for row in made.rows] == order
    assert [line["method"] for line in made.table()] == [method for method, _ in order]
    assert [(row["method"], row["ipc"]) for row in stored(copied)["rows"]] == order
