from __future__ import annotations

import sys
from pathlib import Path

import pictures
import pytest

from m3d_condense.cli.main import main
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.training.trained import load_network

pytestmark = pytest.mark.usefixtures("own_folder")
QUICK = ["--epochs", "1", "--network", "convnet1", "--native", "false", "--precision", "float32", "--compile", "no"]


def train(*arguments: str) -> int:
    return main(["train", *arguments, *QUICK])


@pytest.fixture
def chosen(digits: ImageDataset) -> str:
    condense(digits, ipc=1, method="random", out="runs/set")
    return "runs/set"


def test_a_set_is_trained_on(chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(chosen) == 0
    printed = capsys.readouterr()
    assert printed.out == "runs/set-convnet1.safetensors\n"  # the file alone: for a script to use
    made = load_network("runs/set-convnet1.safetensors")
    assert f"{made.accuracy:.1f} % of 359 test images right" in printed.err
    assert 'load_network("runs/set-convnet1.safetensors")' in printed.err
    assert train(chosen, "--seed", "1") == 2
    assert "holds a trained network; choose another name, or give --overwrite" in capsys.readouterr().err
    assert train(chosen, "--seed", "1", "--overwrite", "-q") == 0
    assert load_network("runs/set-convnet1.safetensors").settings["seed"] == 1
    assert train(f"{chosen}/condensed.json", "--out", "other.safetensors", "--protocol", "dm", "-q") == 0
    assert load_network("other.safetensors").protocol == "dm"


def test_all_of_a_data_set_is_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    pictures.folder(Path("photographs"))
    assert train("photographs", "--size", "6") == 0
    assert capsys.readouterr().out == "runs/photographs-convnet1.safetensors\n"
    made = load_network("runs/photographs-convnet1.safetensors")
    assert (made.size, made.trained_on["name"]) == ((6, 6), "photographs")


def test_a_set_is_tested_on_other_data(chosen: str, digits: ImageDataset) -> None:
    import numpy as np

    np.savez("other.npz", images=digits.test.images[:200, 0].numpy(), labels=digits.test.labels[:200].numpy())
    assert train(chosen, "--data", "other.npz", "-q") == 0
    assert load_network("runs/set-convnet1.safetensors").tested_on["name"] == "other"


def test_flags_of_data_are_refused_where_a_set_is_read_with_its_own(
    chosen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["--size", "999"], ["--classes", "nosuch"], ["--split-seed", "0"]):
        assert train(chosen, *flags) == 2
        message = f"{' '.join(flags)}: goes with --data DATA, or a data set to train on, only"
        assert message in capsys.readouterr().err


def test_settings_come_from_a_file(chosen: str) -> None:
    Path("train.yaml").write_text(f"subject: {chosen}\nseed: 4\nprotocol: dm\nout: kept.safetensors\n")
    assert train("--config", "train.yaml", "-q") == 0
    assert (load_network("kept.safetensors").settings["seed"], load_network("kept.safetensors").protocol) == (4, "dm")


OWN = "from torch import nn\ndef small(channels, num_classes, size):\n"
OWN += "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], num_classes))\n"


def test_a_network_of_ones_own(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("networks_of_mine.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["train", chosen, "--epochs", "1", "--network", "networks_of_mine:small", "-q"]) == 0
    kept = load_network("runs/set-networks-of-mine-small.safetensors", network="networks_of_mine:small")
    assert kept.accuracy > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing given to train on"),
        (["nowhere"], "nowhere"),
        (["digits", "--data", "digits"], "takes no other data"),
        (["digits", "--out", "mine.txt"], "mine.txt is another file"),
        (["digits", "--out", "."], "is a folder"),
        (["digits", "--protocol", "x"], "unknown protocol 'x'"),
        (["digits", "--seed", "-1e3"], "--seed"),
        (["digits", "--device", "toaster"], "--device toaster"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.txt").write_text("mine")
    assert train(*arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert words in said[0]
    assert [path.name for path in Path().iterdir()] == ["mine.txt"]
