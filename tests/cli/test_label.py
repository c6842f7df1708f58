from __future__ import annotations

import json

import pytest

from m3d_condense.cli.main import main
from m3d_condense.sets.condensed import CondensedSet

pytestmark = pytest.mark.usefixtures("own_folder")

POOL = ["--method", "m3d-pool", "--network", "convnet1", "--iterations", "2", "--batch-real", "4", "--ipc", "1"]
POOL += ["--encoder-count", "2", "--encoder-steps", "3"]
SCORED = ["--networks", "convnet1", "--repeats", "2", "--epochs", "1"]


def run(*arguments: str) -> int:
    return main([*arguments, "--device", "cpu"])


def test_a_set_is_labelled_and_scored_with_both_labels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", *POOL, "--out", "set", "--soft-labels") == 0
    said = capsys.readouterr()
    assert said.out == "set\n"
    assert "soft labels of 10 decoded images by 2 networks at temperature 1: 0.195 KiB beside 0.625 KiB" in said.err
    assert run("evaluate", "set", "--random", *SCORED) == 0
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    rows = [row[2:5] for row in table if len(row) == 6]
    hard, soft = ["quick, 1 epoch", "0.0625", "2"], ["quick, 1 epoch, soft labels", "0.082", "2"]
    assert rows == [hard, soft, hard]
    assert [score.labels for score in CondensedSet.load("set").scores] == ["hard", "soft"]
    assert main(["info", "set"]) == 0
    told = capsys.readouterr().out
    assert "bytes    640 of pixels, 200 of soft labels, 840 in all, 0.082 KiB a class" in told
    assert "labels   a class an image; soft ones too, of 2 networks at temperature 1.0" in told
    assert "convnet1, quick, 1 epoch, soft labels: " in told


def test_hard_labels_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", *POOL, "--out", "set", "--soft-labels", "--quiet") == 0
    capsys.readouterr()
    for asked, labels in (("hard", ["hard"]), ("soft", ["hard", "soft"])):
        assert run("evaluate", "set", *SCORED, "--labels", asked, "--json") == 0
        assert [row["labels"] for row in json.loads(capsys.readouterr().out)] == labels
    common = ["--network", "convnet1", "--epochs", "1"]
    assert run("train", "set", *common, "--out", "soft.safetensors") == 0
    assert "1 epoch, soft labels; load it with" in capsys.readouterr().err
    assert run("train", "set", *common, "--labels", "hard", "--out", "hard.safetensors") == 0
    assert "1 epoch; load it with" in capsys.readouterr().err


def test_files_of_networks_label_any_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", "--method", "random", "--ipc", "1", "--out", "set") == 0
    for seed in ("0", "1"):
        common = ["--network", "convnet1", "--epochs", "1", "--seed", seed]
        assert run("train", "digits", *common, "--out", f"{seed}.safetensors") == 0
    capsys.readouterr()
    assert run("label", "set", "0.safetensors", "1.safetensors", "--temperature", "3") == 0
    assert "by 2 networks at temperature 3" in capsys.readouterr().err
    assert run("label", "set", "0.safetensors", "1.safetensors", "--temperature", "3") == 0
    assert capsys.readouterr().err == "set: has these soft labels already\n"
    for form in ("npz", "png"):
        assert main(["export", "set", "--to", form, "--out", f"as-{form}"]) == 0
        assert ("a png export has no place for soft labels" in capsys.readouterr().err) == (form == "png")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["label"], "m3d: no set given"),
        (["label", "set"], "m3d: no pool of networks is known of this set; name files"),
        (["label", "set", "missing.safetensors"], "m3d: missing.safetensors is missing"),
        (["label", "set", "--temperature", "0"], "m3d: --temperature 0.0: a number from 1e-06 to 1000000"),
        (["label", "set", "--temperature", "1e-300"], "m3d: --temperature 1e-300: a number from 1e-06 to 1000000"),
        (["label", "elsewhere"], "m3d: elsewhere: not a condensed set"),
        (["evaluate", "set", "--labels", "soft"], "m3d: --labels soft: what is trained on has no soft labels"),
        (["evaluate", "set", "--labels", "firm"], "m3d: --labels firm: one of hard, soft"),
        (["train", "digits", "--labels", "soft"], "m3d: --labels soft: what is trained on has no soft labels"),
        (["condense", "digits", "--soft-labels", "--out", "new"], "m3d: --soft-labels: goes with a method that has a"),
        (
            ["condense", "digits", "--method", "m3d-pool", "--class-groups", "2", "--soft-labels", "--out", "new"],
            "m3d: --soft-labels: each network of the pool would know one group of the classes alone",
        ),
        (
            ["condense", "digits", "--method", "m3d-pool", "--network", "own:Net", "--soft-labels", "--out", "new"],
            "m3d: --soft-labels: the pool's networks would be code, own:Net",
        ),
        (
            ["compare", "digits", "--methods", "m3d-pool", "--network", "own:Net", "--soft-labels"],
            "m3d: --soft-labels: the pool's networks would be code, own:Net",
        ),
        (["compare", "digits", "--methods", "dm", "--soft-labels"], "m3d: --soft-labels: goes with a method that has"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", "--method", "random", "--ipc", "1", "--out", "set", "--quiet") == 0
    capsys.readouterr()
    assert run(*arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(said)
