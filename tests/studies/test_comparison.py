from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from m3d_condense.cli.main import main
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine import memory
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.studies import comparison
from m3d_condense.studies.comparison import compare
from m3d_condense.studies.ledger import Comparison
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

pytestmark = pytest.mark.usefixtures("own_folder")
TINY: dict[str, Any] = {"iterations": 3, "batch_real": 4, "network": "convnet1"}
PLAIN = Execution(device="cpu", precision="float32", compile="no")
SCORING: dict[str, Any] = {"repeats": 2, "epochs": 1, "execution": PLAIN}
ASKED: dict[str, Any] = {"methods": ["dm"], "ipc": [1, 2], "seeds": 2, "networks": ["convnet1"]} | TINY | SCORING
FLAGS = ["--ipc", "1", "--seeds", "1", "--repeats", "1", "--epochs", "1", "--networks", "convnet1"]
FLAGS += ["--iterations", "2", "--batch-real", "4", "--network", "convnet1", "--device", "cpu"]
FLAGS += ["--precision", "float32", "--compile", "no"]


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(scope="module", autouse=True)
def _uncollected() -> Iterator[None]:
    """Do without the collection of garbage before every set: it takes half a second with all tests loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.gc, "collect", lambda: 0)
        yield


@pytest.fixture(scope="module")
def finished(digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison, as `ASKED`, to look at; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "comparison"
    set_quiet(True)
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
    original = getattr(comparison, name)

    def call(*arguments: Any, **settings: Any) -> Any:
        calls.append(settings)
        act(len(calls))
        return original(*arguments, **settings)

    monkeypatch.setattr(comparison, name, call)
    return calls


def figures(made: Comparison) -> list[tuple[Any, ...]]:
    """What of the rows does not depend on the clock or the machine's memory, in the order of the methods."""
    return sorted(
        (row.method, str(row.ipc), row.network, row.mean, row.std, row.n, row.size_bytes, row.iterations, row.error)
        for row in made.rows
    )


def stored(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "comparison.json").read_text())
    return content


# What is computed


def test_rows_hold_every_accuracy_and_their_mean(digits: ImageDataset, finished: Path) -> None:
    rows = {(row["method"], row["ipc"]): row for row in stored(finished)["rows"]}
    assert set(rows) == {("random", 1), ("random", 2), ("dm", 1), ("dm", 2), ("whole", None)}
    for method, ipc in (("dm", 2), ("random", 1)):
        row, settings = rows[method, ipc], TINY if method == "dm" else {}
        sets = [condense(digits, method=method, ipc=ipc, seed=s, execution=PLAIN, **settings) for s in (0, 1)]
        expected = [evaluate(made, digits, network="convnet1", **SCORING).accuracies for made in sets]
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
    assert whole["seeds"][0]["accuracies"] == evaluate(digits, network="convnet1", **SCORING).accuracies
    assert (whole["n"], whole["size_bytes"]) == (2, digits.train.images.nbytes)
    assert whole["seconds"] is whole["iterations"] is whole["peak_bytes"] is None


def test_the_whole_is_trained_for_no_more_epochs_than_its_protocol_has(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def scored(subject: object, *given: object, epochs: int | None, **named: object) -> Score:
        asked.append((isinstance(subject, ImageDataset), epochs))
        return Score.of("convnet1", "quick", [50.0], {})

    monkeypatch.setattr(comparison, "evaluate", scored)
    for epochs in (7, 100, None):
        compare(digits, methods=["random"], ipc=1, seeds=1, networks=["convnet1"], epochs=epochs, execution=PLAIN)
    assert asked == [(False, 7), (True, 7), (False, 100), (True, 10), (False, None), (True, None)]


def test_everything_to_repeat_it_is_stored(digits: ImageDataset, finished: Path) -> None:
    content = stored(finished)
    assert content["settings"]["fingerprint"] == digits.fingerprint
    assert (content["settings"]["iterations"], content["settings"]["repeats"]) == (3, 2)
    assert content["versions"]["torch"]
    assert content["hardware"]["cores"]
    one = content["sets"]["dm-ipc1-seed1"]
    made = CondensedSet.load(finished / "sets" / "dm-ipc1-seed1")
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


def test_all_methods_are_the_default_and_selections_stay_selections(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(comparison._Worker, "work", lambda worker: asked.extend(worker.comparison.jobs))
    settings = {"iterations": 7, "initialisation": "noise", "factor": 2, "selection_features": "pixels"}
    compare(digits, ipc=1, seeds=1, whole=False, **settings)
    assert {job.method for job in asked} == set(METHODS)
    for job in asked:
        alone = recipe(job.method, "quick", ipc=1, side=8, mirrored=False, overrides={"selection_features": "pixels"})
        assert job.selection_features == "pixels"
        if alone.iterations == 0:
            assert job == alone
        else:
            assert (job.iterations, job.initialisation, job.factor) == (7, "noise", 2)


# Going on


def test_the_same_call_again_does_no_work(digits: ImageDataset, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(copied)
    with monkeypatch.context() as patch:
        for name in ("condense", "evaluate"):
            patch.setattr(comparison, name, refuse)
        again = compare(digits, out=copied, **ASKED)
        fewer = compare(digits, out=copied, **ASKED | {"ipc": 2, "seeds": 1})
    assert len(again.rows) == 5
    assert [row.n for row in fewer.rows] == [2, 2, 2]
    assert stored(copied)["sets"] == before["sets"]
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
    whole = compare(digits, out=copied, **asked)
    assert figures(resumed) == figures(whole)
    assert all(row.peak_bytes for row in resumed.rows if row.ipc)


def test_sets_and_scores_whose_record_was_lost_are_found(
    digits: ImageDataset, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut between a set's last file and the comparison's."""
    content = stored(copied)
    lost = content["sets"].pop("dm-ipc1-seed1")
    (copied / "comparison.json").write_text(json.dumps(content))
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "evaluate", refuse)
        compare(digits, out=copied, **ASKED)
    found = stored(copied)["sets"]["dm-ipc1-seed1"]
    assert "peak_bytes" not in found
    assert found == {name: value for name, value in lost.items() if not name.startswith("peak")}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_scoring_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, sent: signal.Signals
) -> None:
    handler = signal.getsignal(sent)
    with monkeypatch.context() as patch:
        counted(patch, "evaluate", lambda number: os.kill(os.getpid(), sent) if number == 2 else None)
        assert main(["compare", "digits", *FLAGS, "--methods", "dm", "--out", "out"]) == 130
    assert signal.getsignal(sent) is handler
    err = capsys.readouterr().err
    assert "1 of 3 sets are scored; the same command goes on" in err
    assert err.endswith("m3d: interrupted\n")
    assert [row["method"] for row in stored(tmp_path / "out")["rows"]] == ["random"]
    assert main(["compare", "digits", *FLAGS, "--methods", "dm", "--out", "out"]) == 0
    assert "1 of 3 sets were scored before" in capsys.readouterr().err


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
    assert set(stored(copied)["sets"]) == {"random-ipc1-seed0", "dm-ipc1-seed0"}
    assert sorted(path.name for path in (copied / "sets").iterdir()) == ["dm-ipc1-seed0", "random-ipc1-seed0"]
    assert CondensedSet.load(copied / "sets" / "dm-ipc1-seed0").settings["lr"] == 0.5
    (copied / "sets" / "mine").mkdir()
    (copied / "sets" / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="mine holds other files"):
        compare(digits, out=copied, overwrite=True, **ASKED)
    assert (copied / "sets" / "mine" / "notes.txt").read_text() == "mine"


def test_a_folder_of_other_things_is_refused(digits: ImageDataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="other files"):
            compare(digits, out=tmp_path, overwrite=overwrite, **ASKED)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": {}}'])
def test_a_damaged_state_is_said(digits: ImageDataset, tmp_path: Path, content: str) -> None:
    (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(UserError, match="comparison.json"):
        compare(digits, out=tmp_path, **ASKED)


# The time limit


def test_the_iterations_that_fit_are_found_once_and_kept(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials: list[str] = []

    def fitting(dataset: ImageDataset, settings: Any, engine: Engine, limit: float) -> tuple[int, float, float, bool]:
        trials.append(settings.method)
        return 2, 0.1, 0.5, False

    monkeypatch.setattr(comparison, "fitting_iterations", fitting)
    asked = ASKED | {"time_limit": 1.0, "ipc": 1, "whole": False}
    made = compare(digits, out=tmp_path / "out", **asked)
    assert trials == ["dm"]  # neither random nor the second seed
    assert {row.method: row.iterations for row in made.rows} == {"dm": 2, "random": 0}
    for seed in (0, 1):
        kept = CondensedSet.load(tmp_path / "out" / "sets" / f"dm-ipc1-seed{seed}")
        assert (kept.settings["iterations"], kept.steps) == (2, 2)
        assert kept.settings["compile"] == "no"  # as the trial was
    again = compare(digits, out=tmp_path / "out", **asked | {"seeds": 3})
    assert trials == ["dm"]
    assert {row.method: (row.iterations, row.n) for row in again.rows} == {"dm": (2, 6), "random": (0, 6)}


def test_a_method_whose_start_takes_too_long_is_a_failed_row(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "fitting_iterations", lambda *_: (1, 700.0, 0.5, True))
    made = compare(digits, out=tmp_path / "out", **ASKED | {"time_limit": 480.0, "ipc": 1, "whole": False})
    assert made.failed == 2
    errors = {row.method: row.error for row in made.rows}
    assert errors == {"random": "", "dm": "time_limit=480s: too short: 700 s pass before the first step"}


# Failures


def test_a_method_that_fails_loses_no_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["compare", "digits", *FLAGS, "--methods", "dm", "--factor", "9", "--out", "out"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "m3d: 1 of 3 sets failed" in printed.err
    assert "dm, ipc 1: --factor 9: larger than the images of 8×8" in printed.out
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["dm", "1", "failed", "0"] in lines
    rows = {row["method"]: row for row in stored(tmp_path / "out")["rows"]}
    assert "larger than the images" in rows["dm"]["error"]
    assert rows["dm"]["mean"] is None
    assert rows["random"]["mean"] > 0
    assert rows["whole"]["error"] == ""
    assert main([*command, "-q"]) == 1  # tried again, and no other with it
    assert capsys.readouterr().err == "m3d: 1 of 3 sets failed, as said below the table\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_one_set_too_large_for_the_memory_loses_no_other(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def exhausted(number: int) -> None:
        if number == 2:
            raise error

    counted(monkeypatch, "evaluate", exhausted)
    made = compare(digits, **ASKED | {"ipc": 1, "repeats": 1})
    assert {row.method: row.error[:13] for row in made.rows} == {"whole": "", "random": "", "dm": "out of memory"}
    assert {row.method: row.n for row in made.rows} == {"whole": 1, "random": 2, "dm": 1}
    assert made.failed == 1


def test_a_fault_of_the_program_is_not_hidden(digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(number: int) -> None:
        raise RuntimeError("shapes differ")

    counted(monkeypatch, "evaluate", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        compare(digits, **ASKED)


MISTAKES: dict[str, tuple[Sequence[str], str]] = {
    "method": (["--methods", "m3d", "m4d"], "m4d"),
    "kernel": (["--kernel", "laplace"], "--kernel laplace: one of gaussian"),
    "ipc": (["--ipc", "1", "0"], "--ipc 0: at least 1"),
    "seeds": (["--seeds", "0"], "--seeds 0: at least 1"),
    "repeats": (["--repeats", "0"], "--repeats 0: at least 1"),
    "epochs": (["--epochs", "0"], "--epochs 0: at least 1"),
    "protocol": (["--protocol", "x"], "unknown protocol 'x'"),
    "networks": (["--networks", "resnet"], "unknown network"),
    "preset": (["--preset", "best"], "unknown preset 'best'"),
    "sort": (["--sort", "speed"], "--sort speed"),
    "time limit": (["--time-limit", "soon"], "--time-limit soon"),
    "nothing": (["--methods", "random", "--no-random", "--no-whole"], "nothing is left to compare"),
}


@pytest.mark.parametrize(("arguments", "word"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_said_before_any_work(
    arguments: Sequence[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["compare", "digits", "-q", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("m3d: ")
    assert err.count("\n") == 1
    assert word in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"methods": ["m4d"]}, {"method": "dm"}, {"sort": "speed"}, {"rate": 1}])
def test_mistakes_in_python_are_user_errors(digits: ImageDataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=str(*wrong) if "methods" not in wrong else "m4d"):
        compare(digits, **wrong)


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
        assert cells["size"] == memory.readable(row["size_bytes"])
    for word in ("sample standard deviation", "protocol quick, 1 epochs", "preset quick", "torch"):
        assert word in text


def test_rows_are_sorted(digits: ImageDataset, copied: Path) -> None:
    def order(sort: str) -> list[Any]:
        made = compare(digits, out=copied, sort=sort, **ASKED)
        assert [line["method"] for line in made.table()] == [row.method for row in made.rows]
        return made.rows

    means = [row.mean for row in order("accuracy")]
    assert means == sorted(means, reverse=True)
    assert [(row.method, row.ipc) for row in order("method")] == [
        ("dm", 1),
        ("dm", 2),
        ("random", 1),
        ("random", 2),
        ("whole", None),
    ]
    sizes = [row.size_bytes for row in order("bytes")]
    assert sizes == sorted(sizes)
    *seconds, last = [row.seconds for row in order("seconds")]
    assert seconds == sorted(seconds)
    assert last is None


def test_the_command_prints_one_table_or_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data: digits\nmethods: dm\nno-whole: true\n")
    command = ["compare", "--config", "run.yaml", *FLAGS]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines() if line.split()][:1] == ["method"]
    assert "[1/2] random, 1 per class, seed 0" in printed.err
    assert "[2/2] dm, 1 per class, seed 0" in printed.err
    assert "runs/compare-digits" in printed.err
    assert main([*command, "--json", "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {row["method"] for row in json.loads(printed.out)} == {"dm", "random"}
    assert json.loads(printed.out) == stored(tmp_path / "runs" / "compare-digits")["rows"]


def test_help_needs_no_torch() -> None:
    program = (
        "import sys\n"
        "from m3d_condense.cli.main import main\n"
        "try: main(['compare', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'datasets', 'sklearn'} & sys.modules.keys(), 'help imports too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("--methods", "--time-limit", "--no-whole", "--batch-real", "--sort", "k-center"):
        assert word in done.stdout
    assert "--method " not in done.stdout
