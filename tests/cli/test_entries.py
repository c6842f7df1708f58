"""Of ``m3d evaluate``: what is scored, in which order, and what becomes of scores when something goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3d_condense import scoring
from m3d_condense.cli.main import main
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.sets.condensed import CondensedSet, Score

pytestmark = pytest.mark.usefixtures("own_folder")
QUICK = ["--networks", "convnet1", "--epochs", "1", "--repeats", "1", "--compile", "no", "-q"]


@pytest.fixture
def one(digits: ImageDataset, own_folder: None) -> str:
    condense(digits, ipc=1, method="random", out="one")
    return "one"


def scores(folder: str) -> list[Score]:
    return CondensedSet.load(folder).scores


def test_sets_and_data_sets_are_scored_together(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", one, "digits", "--ipc", "2", "--random", "--whole", "--json", *QUICK]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = ["one", "random, 1 per class of digits", "whole digits", "random, 2 per class of digits"]
    assert [row["set"] for row in rows] == names
    assert scores(one)[0].accuracies == rows[0]["accuracies"]


def test_data_sets_of_one_name_are_told_apart(digits: ImageDataset, capsys: pytest.CaptureFixture[str]) -> None:
    rng, labels = np.random.default_rng(0), np.arange(20) % 2
    for folder, side in (("a", 8), ("b", 12), ("c", 12)):
        Path(folder).mkdir()
        np.savez(f"{folder}/my.npz", images=rng.integers(0, 256, (20, side, side), dtype=np.uint8), labels=labels)
    named = {}
    for folders in ("ab", "abc"):
        sets = [f"{folder}/my.npz" for folder in folders]
        assert main(["evaluate", *sets, "--whole", "--json", *QUICK]) == 0
        named[folders] = [row["set"] for row in json.loads(capsys.readouterr().out)]
    assert named["ab"] == ["whole my, 8×8 pixels", "whole my, 12×12 pixels"]
    assert named["abc"][0] == "whole my, 8×8 pixels"
    assert len(set(named["abc"])) == 3
    assert all(name.startswith("whole my, sha256:") for name in named["abc"][1:])


def test_scores_on_other_data_are_shown_as_such(
    one: str, digits: ImageDataset, own_folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = digits.train.images[:300, 0].numpy(), digits.train.labels[:300].numpy()
    np.savez("few.npz", images=images, labels=labels)
    assert main(["evaluate", one, *QUICK]) == 0
    assert main(["evaluate", one, "--data", "few.npz", *QUICK, "--repeats", "2"]) == 0
    own, other = scores(one)
    assert [score.settings["data"] for score in (own, other)] == ["digits", "few"]
    capsys.readouterr()
    assert main(["info", one, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["set"], told["method"], len(told["class_names"])) == (one, "random", 10)
    assert main(["info", one]) == 0
    shown = capsys.readouterr().out
    marked = f"quick, 1 epoch, on few in place of the source: {other.mean:.2f} ± {other.std:.2f} % (n = 2)"
    assert f"score    convnet1, quick, 1 epoch: {own.mean:.2f} % (n = 1)" in shown
    assert marked in shown
    card = Path(one, "README.md").read_text(encoding="utf-8")
    assert f"| convnet1 | quick, 1 epoch | 1 | {own.mean:.2f} |" in card
    assert (
        f"| convnet1 | quick, 1 epoch, on few in place of the source | 2 | {other.mean:.2f} ± {other.std:.2f} |" in card
    )


def test_what_is_named_twice_is_scored_once(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [one, f"{one}/", f"./{one}/condensed.json", one]
    for _ in range(2):
        assert main(["evaluate", *sets, *QUICK, "--networks", "convnet1", "convnet1", "--json"]) == 0
        assert [row["set"] for row in json.loads(capsys.readouterr().out)] == [one]
    assert len(scores(one)) == 1


def test_what_is_not_the_protocols_own_is_said(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    for epochs in ("1", "2", "1000"):  # the last are those that the protocol has for ten images
        assert main(["evaluate", one, *QUICK, "--epochs", epochs]) == 0
        assert ("quick, " in capsys.readouterr().out) == (epochs != "1000")
    assert main(["evaluate", one, *QUICK, "--flip", "true"]) == 0
    assert main(["evaluate", one, *QUICK, "--seed", "3"]) == 0
    assert main(["evaluate", one, *QUICK, "--readings", "2", "--epochs", "2"]) == 0
    capsys.readouterr()
    assert main(["info", one]) == 0
    shown = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("score")]
    told = ["quick, 1 epoch", "quick, 2 epochs", "quick", "quick, 1 epoch, mirrored", "quick, 1 epoch, seed 3"]
    told.append("quick, 2 epochs, 2 readings")
    assert shown == [f"score    convnet1, {one_told}" for one_told in told]
    card = Path(one, "README.md").read_text(encoding="utf-8")
    assert all(f"| convnet1 | {one_told} | 1 |" in card for one_told in told)


@pytest.mark.parametrize(
    ("sets", "flags", "word"),
    [
        (["one", "nowhere"], [], "nowhere"),
        (["one", "digits"], [], "not a condensed set"),
        (["one"], ["--networks", "convnet1", "resnet"], "unknown network 'resnet'"),
        (["one"], ["--networks", "convnet1", "no_such_module:net"], "no_such_module:net"),
        (["one"], ["--protocol", "x"], "unknown protocol 'x'"),
        (["one"], ["--epochs", "0"], "--epochs 0"),
        (["one"], ["--data", "digits", "--size", "4"], "do not fit"),
        (["one"], ["--classes", "a", "b"], "--classes a b: goes with --data DATA, or with data sets among those that"),
        (["one"], ["--split-seed", "0"], "--split-seed 0: goes with --data DATA, or"),
        (["one"], ["--random", "--whole", "--size", "4"], "--size 4: goes with --data DATA, or"),
        (["one"], ["--layout", "NHW"], "--layout NHW: goes with"),
        (["one"], ["--label-column", "x"], "--label-column x: goes with"),
        (["one", "digits"], ["--random", "--ipc", "0"], "--ipc 0"),
        (
            ["one"],
            ["--random", "--ipc", "5"],
            "--ipc 5: goes with --random and a data set; a condensed set has its own",
        ),
        (["one", "digits"], ["--whole", "--ipc", "10"], "--ipc 10: goes with --random and a data set"),
    ],
)
def test_nothing_is_trained_before_everything_is_checked(
    one: str, sets: list[str], flags: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *sets, *QUICK, *flags]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert word in printed.err
    assert printed.err.count("\n") == 1
    assert scores(one) == []


def test_scores_that_cannot_be_stored_are_printed(
    one: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert main(["evaluate", one, "--random", *QUICK, "--networks", "convnet1", "convnet2"]) == 1
    printed = capsys.readouterr()
    shown = printed.out.splitlines()
    assert sum("convnet1" in line for line in shown) == sum("convnet2" in line for line in shown) == 2
    full_at = Path(one, "condensed.json").resolve()
    said = (
        f"m3d: one: its scores, printed above, could not be stored: [Errno 28] No space left on device: '{full_at}'\n"
    )
    assert printed.err == said
    assert scores(one) == []


def test_scores_are_printed_when_a_later_one_is_interrupted(
    one: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, left = scoring.evaluate, [1]

    def interrupted(*arguments: Any, **settings: Any) -> Score:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(scoring, "evaluate", interrupted)
    assert main(["evaluate", one, "--random", "--json", *QUICK]) == 130
    printed = capsys.readouterr()
    assert [row["set"] for row in json.loads(printed.out)] == ["one"]
    assert printed.err == "m3d: interrupted\n"
    assert len(scores(one)) == 1
