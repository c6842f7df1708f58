from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from m3d_condense.cli.main import main

pytestmark = pytest.mark.usefixtures("own_folder")
TINY = ["--ipc", "1", "--iterations", "2", "--batch-real", "4", "--precision", "float32", "--compile", "no"]


def run(*arguments: str) -> int:
    return main(arguments)


MISTAKES: dict[str, tuple[list[str], str]] = {
    "unknown command": (["condens"], "condens"),
    "unknown flag": (["condense", "digits", "--rate", "1"], "--rate"),
    "unknown method": (["condense", "digits", "--method", "m4d"], "method"),
    "word for a number": (["condense", "digits", "--ipc", "ten"], "ipc"),
    "ipc": (["condense", "digits", "--ipc", "0"], "--ipc 0: at least 1"),
    "lr": (["condense", "digits", "--lr", "-1"], "--lr -1.0"),
    "kernel": (["condense", "digits", "--kernel", "laplace"], "one of gaussian"),
    "augmentation": (["condense", "digits", "--augmentation", "blur"], "blur"),
    "factor": (["condense", "digits", "--factor", "9", *TINY], "factor"),
    "network": (["condense", "digits", "--network", "resnet"], "unknown network"),
    "depth": (["condense", "digits", "--network", "convnet0", *TINY], "convnet0"),
    "time limit": (["condense", "digits", "--time-limit", "soon"], "--time-limit soon"),
    "memory": (["condense", "digits", "--memory", "-1"], "--memory -1"),
    "device": (["condense", "digits", "--device", "toaster"], "--device toaster"),
    "no data": (["condense"], "no data given"),
    "missing data": (["condense", "./nowhere", "--size", "8"], "nowhere"),
    "missing npz": (["condense", "nowhere.npz"], "nowhere.npz"),
    "missing config": (["condense", "--config", "nowhere.yaml"], "nowhere.yaml"),
    "config without a value": (["condense", "digits", "--config"], "config"),
    "missing set": (["evaluate", "runs/none"], "runs/none"),
    "repeats": (["evaluate", "digits", "--random", "--repeats", "0"], "--repeats 0"),
    "epochs": (["evaluate", "digits", "--random", "--epochs", "0"], "--epochs 0"),
    "ipc of random": (["evaluate", "digits", "--random", "--ipc", "0"], "--ipc 0"),
    "protocol": (["evaluate", "digits", "--random", "--protocol", "x"], "protocol"),
    "no set": (["evaluate"], "no set given"),
    "abbreviated flag": (["condense", "digits", "--iter", "3"], "unrecognized arguments: --iter 3"),
    "abbreviated config": (["condense", "digits", "--conf", "c.yaml"], "unrecognized arguments: --conf c.yaml"),
    "working folder": (["condense", "digits", "--out", ".", *TINY], ". is the working folder"),
    "above the working folder": (["condense", "digits", "--out", "no/../..", *TINY], "is the working folder"),
    "working folder of a comparison": (["compare", "digits", "--out", "."], ". is the working folder"),
    "meta device": (["condense", "digits", "--device", "meta", *TINY], "--device meta"),
    "device that is not built in": (["condense", "digits", "--device", "hpu", *TINY], "--device hpu"),
    "endless time limit": (["condense", "digits", "--time-limit", "9" * 400], "--time-limit 999"),
    "many images": (["condense", "digits", "--ipc", str(10**400)], "--ipc 1000"),
    "many steps": (["condense", "digits", "--iterations", str(2**31)], "--iterations 2147483648: at most 2147483647"),
    "large rate": (["condense", "digits", "--lr", "1e300"], "--lr 1e+300: a number above 0, at most 1000000"),
    "rate beyond floats": (["condense", "digits", "--lr", str(10**400)], "a number is too large"),
    "large weight": (["condense", "digits", "--cross-entropy", "1e300"], "--cross-entropy 1e+300"),
    "large memory": (["condense", "digits", "--memory", "1e300"], "--memory 1e+300: GiB, from 0 to 1048576"),
    "large size": (["condense", "digits", "--size", str(10**18)], "--size 1000000000000000000"),
    "large size of a side": (["condense", "digits", "--size", str(10**6)], "--size 1000000: at most 65536"),
    "large split seed": (["condense", "digits", "--split-seed", str(2**64)], "at most 18446744073709551615"),
    "many epochs": (["evaluate", "digits", "--random", "--epochs", str(10**20)], "--epochs 100000000000000000000"),
    "many networks": (["evaluate", "digits", "--random", "--repeats", str(10**20)], "--repeats 100000000000000000000"),
    "deep value": (["condense", "digits", "--ipc", "[" * 900 + "]" * 900], "--ipc [[["),
}


def one_line(printed: Any, *words: str) -> None:
    lines = [line for line in printed.err.splitlines() if line]
    assert lines, "nothing was said"
    assert lines[-1].startswith("m3d: ")
    assert len(lines) == 1, printed.err
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(("arguments", "word"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_said_in_one_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    quiet = [] if arguments in (["condense"], ["condens"]) or arguments[-1] == "--config" else ["-q"]
    assert run(*arguments, *quiet) == 2
    one_line(capsys.readouterr(), word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("rate: 1\n", ["run.yaml", "unknown setting 'rate'"]),
        ("ipc: ten\n", ["run.yaml", "ipc"]),
        ("kernel: [1, 2]\n", ["run.yaml", "kernel"]),
        ("ipc: [\n", ["run.yaml", "cannot be read"]),
        ("just text\n", ["run.yaml", "holds no settings"]),
        ("", ["run.yaml", "holds no settings"]),
        ("\x00", ["run.yaml"]),
    ],
)
def test_mistakes_in_a_config_are_said_in_one_line(
    content: str, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(content)
    assert run("condense", "digits", "--config", "run.yaml") == 2
    one_line(capsys.readouterr(), *words)


def test_a_folder_of_other_things_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert run("condense", "digits", "--out", "mine", *TINY, "--overwrite") == 2
    one_line(capsys.readouterr(), "mine holds other files")


def test_a_full_disk_is_the_systems_fault(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert run("condense", "digits", *TINY, "--out", "one", "-q") == 1
    one_line(capsys.readouterr(), "No space left on device; free some space and run the same command again")
    assert list(tmp_path.iterdir()) == []
    assert run("condense", "digits", *TINY, "--out", "one", "-q") == 0


def test_memory_that_runs_out_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object, **settings: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sys.modules["m3d_condense.condensing.condensation"], "condense", exhausted)
    assert run("condense", "digits", *TINY, "-q") == 1
    one_line(capsys.readouterr(), "out of memory")


LEAVING = """
import sys
from torch import nn

class Leaving(nn.Module):
    calls = 0
    def __init__(self, channels, num_classes, size):
        super().__init__()
        self.head = nn.Linear(channels * size[0] * size[1], num_classes)
    def forward(self, images):
        Leaving.calls += 1
        if Leaving.calls > 6:
            sys.exit(0)
        return self.head(images.flatten(1))
"""


def test_a_network_that_leaves_the_program_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "walkout.py").write_text(LEAVING)
    assert run("condense", "digits", *TINY, "--iterations", "9", "--network", "walkout:Leaving", "-q") == 2
    one_line(capsys.readouterr(), "code that was imported ended the program: sys.exit(0)")


def test_torchs_own_word_for_too_little_memory_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*arguments: object, **settings: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)  # what a CPU allocation that fails raises

    monkeypatch.setattr(sys.modules["m3d_condense.condensing.condensation"], "condense", exhausted)
    assert run("condense", "digits", *TINY, "-q") == 1
    one_line(capsys.readouterr(), "memory")
