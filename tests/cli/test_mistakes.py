from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from condensed_sets import make

from m3d_condense.sets.exporting import export

pytestmark = pytest.mark.usefixtures("own_folder")
TINY = ["--ipc", "1", "--iterations", "2", "--batch-real", "4", "--precision", "float32", "--compile", "no"]


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
    "back from no folder": (["condense", "digits", "--out", "no/../a", *TINY], "there is no folder no to go back from"),
    "working folder of a comparison": (["compare", "digits", "--out", "."], "--out .: name a file or folder of its"),
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
    "large split seed": (["condense", "digits", "--split-seed", str(2**63)], "at most 9223372036854775807"),
    "many epochs": (["evaluate", "digits", "--random", "--epochs", str(10**20)], "--epochs 100000000000000000000"),
    "many networks": (["evaluate", "digits", "--random", "--repeats", str(10**20)], "--repeats 100000000000000000000"),
    "deep value": (["condense", "digits", "--ipc", "[" * 900 + "]" * 900], "--ipc [[["),
}


B = str(10**9)
LONG = "n" * 300
SLOW = ["--method", "idc", *TINY]
MORE: dict[str, tuple[list[str], str]] = {
    # Counts that no memory could hold.
    "images beyond memory": (["condense", "digits", "--ipc", B], f"--ipc {B}: this takes"),
    "real images beyond memory": (["condense", "digits", "--batch-real", B], f"--batch-real {B}: this takes"),
    "a factor beyond the images": (["condense", "digits", "--factor", B], f"--factor {B}: larger than the images"),
    "a factor that leaves tiles outside": (
        ["condense", "digits", "--factor", "7"],
        "--factor 7: some of so many tiles would lie outside the images of 8×8; the next that fits is 4",
    ),
    "a queue beyond memory": (["condense", "digits", "--method", "idm", "--encoder-count", B, *TINY], "encoder-count"),
    "a pool beyond memory": (["condense", "digits", "--method", "m3d-pool", "--encoder-count", B, *TINY], "count"),
    "training steps without end": (
        ["condense", "digits", *SLOW, "--encoder-steps", B],
        f"--encoder-steps {B}: at most",
    ),
    "warm-up of dc": (
        ["condense", "digits", "--method", "dc", "--encoder-warmup", B],
        f"--encoder-warmup {B}: at most",
    ),
    "warm-up without end": (["condense", "digits", *SLOW, "--encoder-warmup", B], f"--encoder-warmup {B}: at most"),
    "a size beyond memory": (["condense", "digits", "--size", "60000", *TINY], "are free; --size N with a smaller N"),
    "a width beyond memory": (["condense", "digits", "--network", f"convnet-width{B}", *TINY], "this takes"),
    "a width of a ResNet": (["condense", "digits", "--network", f"resnet10-width{B}", *TINY], "this takes"),
    "a growth beyond memory": (["condense", "digits", "--network", f"densenet121-growth{B}", *TINY], "this takes"),
    "a width without end": (["condense", "digits", "--network", f"convnet-width{'9' * 20}", *TINY], "this takes"),
    "a depth beyond the images": (["condense", "digits", "--network", "convnet100000", *TINY], "too small"),
    "a depth without end": (["condense", "digits", "--network", f"convnet{'9' * 5000}", *TINY], "--network convnet999"),
    "a comparison beyond memory": (["compare", "digits", "--ipc", B, "--no-whole"], f"--ipc {B}: this takes"),
    "sets without end": (["compare", "digits", "--seeds", B], f"--seeds {B}: at most 100000"),
    "networks of a comparison": (["compare", "digits", "--repeats", B], f"--repeats {B}: at most 100000"),
    "selections beyond memory": (["evaluate", "digits", "--random", "--ipc", B], f"--ipc {B}: this takes"),
    "networks without end": (["evaluate", "digits", "--random", "--repeats", B], f"--repeats {B}: at most 100000"),
    "a wide scorer": (["evaluate", "digits", "--random", "--networks", f"convnet-width{B}"], "this takes"),
    # Numbers that are none, or out of range.
    "a seed below all": (["condense", "digits", "--seed", str(-(2**70))], "at least -9223372036854775808"),
    "a seed above all": (["condense", "digits", "--seed", str(2**70)], "at most 9223372036854775807"),
    "no ipc to compare": (["compare", "digits", "--ipc", "0"], "--ipc 0: at least 1"),
    "ipc below 0": (["compare", "digits", "--ipc", "1", "-1"], "--ipc -1: at least 1"),
    "no seeds": (["compare", "digits", "--seeds", "0"], "--seeds 0: at least 1"),
    "momentum": (["condense", "digits", "--momentum", "nan"], "--momentum nan: expected a number"),
    "a rate that is no number": (["condense", "digits", "--lr", "nan"], "--lr nan: expected a number"),
    "a rate without end": (["condense", "digits", "--lr", "inf"], "--lr inf: expected a number"),
    "no rate": (["condense", "digits", "--lr", "0"], "--lr 0.0: a number above 0"),
    "cutmix": (["condense", "digits", "--encoder-cutmix", "nan"], "--encoder-cutmix nan: expected a number"),
    "memory that is no number": (["condense", "digits", "--memory", "nan"], "--memory nan: expected a number"),
    "weight": (["condense", "digits", "--cross-entropy", "nan"], "--cross-entropy nan: expected a number"),
    "time below 0": (["condense", "digits", "--time-limit", "-1"], "--time-limit -1: a number with s"),
    "time that is no number": (["condense", "digits", "--time-limit", "nan"], "--time-limit nan: a number with s"),
    "time with an exponent": (["condense", "digits", "--time-limit", "1e5"], "--time-limit 1e5: a number with s"),
    "time of a comparison": (["compare", "digits", "--time-limit", "x"], "--time-limit x: a number with s"),
    "no size": (["condense", "digits", "--size", "0"], "--size 0: at least 1"),
    "size below 0": (["condense", "digits", "--size", "-5"], "--size -5: at least 1"),
    "size of a sheet": (["inspect", "digits", "--size", "-1"], "--size -1: at least 1"),
    "images of a pixel": (["condense", "digits", "--size", "1", *TINY], "too small for a ConvNet"),
    "epochs below 0": (["evaluate", "digits", "--random", "--epochs", "-1"], "--epochs -1: at least 1"),
    "half an image": (["condense", "digits", "--ipc", "1.5"], "--ipc 1.5: expected a whole number"),
    "an exponent": (["condense", "digits", "--ipc", "1e3"], "--ipc 1000.0: expected a whole number"),
    "null": (["condense", "digits", "--ipc", "null"], "expected a whole number"),
    "a list": (["condense", "digits", "--ipc", "[1]"], "--ipc [1]: expected a whole number"),
    "an object": (["condense", "digits", "--ipc", "{}"], "--ipc {}: expected a whole number"),
    "two equal signs": (["condense", "digits", "--ipc=1=2"], "--ipc 1=2: expected a whole number"),
    "neither true nor false": (["condense", "digits", "--flip", "perhaps"], "--flip perhaps: expected true or false"),
    "two for true": (["condense", "digits", "--native", "2"], "--native 2: expected true or false"),
    "flip of a score": (["evaluate", "digits", "--random", "--flip", "x"], "--flip x: expected true or false"),
    # What a variable of the shell that is not set leaves.
    "no data": (["condense", "", *TINY], "m3d: an empty value; is a variable of the shell not set?"),
    "no data to look at": (["inspect", " "], "m3d: an empty value"),
    "no set": (["evaluate", ""], "m3d: an empty value"),
    "no data to score on": (["evaluate", "digits", "--data", ""], "--data: an empty value"),
    "no out": (["condense", "digits", "--out", "", *TINY], "--out: an empty value"),
    "no out, joined": (["condense", "digits", "--out=", *TINY], "--out: an empty value"),
    "no kernel": (["condense", "digits", "--kernel", ""], "--kernel: an empty value"),
    "no second method": (["compare", "digits", "--methods", "dm", ""], "m3d: an empty value"),
    "no command": ([""], "m3d: an empty value"),
    # Names of what there is.
    "a GPU that is not there": (["condense", "digits", "--device", "cuda:99", *TINY], "--device cuda:99"),
    "a device of another build": (["condense", "digits", "--device", "xla", *TINY], "--device xla"),
    "a device of a Mac": (["condense", "digits", "--device", "vulkan", *TINY], "--device vulkan"),
    "device of info": (["info", "--device", "toaster"], "--device toaster"),
    "preset": (["condense", "digits", "--preset", "slow"], "unknown preset 'slow'"),
    "operation": (["condense", "digits", "--augmentation", "flip_flip_blur"], "no 'blur' among"),
    "no module": (["condense", "digits", "--network", ":"], "--network :: cannot be imported"),
    "a function of the system": (["condense", "digits", "--network", "os:getcwd", *TINY], "--network os:getcwd: on"),
    "a number for a network": (["condense", "digits", "--network", "sys:maxsize", *TINY], "maxsize is not callable"),
    "networks left out": (["evaluate", "digits", "--random", "--networks"], "--networks: expected at least one"),
    "an unknown scorer": (["evaluate", "digits", "--random", "--networks", "x"], "unknown network 'x'"),
    "order": (["compare", "digits", "--sort", "colour"], "--sort colour: expected one of 'accuracy'"),
    "methods left out": (["compare", "digits", "--methods"], "--methods: expected at least one"),
    "an unknown method": (["compare", "digits", "--methods", "x"], "--methods: invalid choice: 'x'"),
    "layout": (["inspect", "digits", "--layout", "HWN"], "--layout HWN: expected one of 'NHW'"),
    "a column of arrays": (["condense", "digits", "--image-column", "x"], "goes with tables"),
    # Places.
    "a null byte": (["condense", "\0"], "no such file or folder: �"),
    "a null byte in a name": (["condense", "a\0b"], "no such file or folder: a�b"),
    "a circle of links": (["condense", "loop"], "no such file or folder: loop"),
    "a device without end": (["condense", "/dev/zero"], "it is no regular file"),
    "a pipe": (["condense", "fifo"], "it is no regular file"),
    "a pipe of arrays": (["condense", "fifo.npz"], "it is no regular file"),
    "a pipe of a table": (["condense", "fifo.parquet"], "it is no regular file"),
    "a long name": (["condense", LONG * 10], "no such file or folder: nnn"),
    "nobody's home": (["condense", "~nobodyhere/x"], "its home is unknown"),
    "a pipe to score": (["evaluate", "fifo"], "fifo: not a condensed set"),
    "a null byte to score": (["evaluate", "\0"], "not a condensed set"),
    "a circle to score": (["evaluate", "loop"], "loop: not a condensed set"),
    "a long name to score": (["evaluate", LONG * 10], "not a condensed set"),
    "data to score": (["evaluate", "digits"], "digits: not a condensed set; --whole or --random"),
    "out of a null byte": (["condense", "digits", "--out", "a\0b", *TINY], "a�b: nothing can be written there"),
    "out of everything": (["condense", "digits", "--out", "/", *TINY], "/ holds other files"),
    "out in a circle": (["condense", "digits", "--out", "loop/x", *TINY], "loop/x: nothing can be written there"),
    "out of a device": (["condense", "digits", "--out", "/dev/null", *TINY], "/dev/null is a file; name a folder"),
    "out below a device": (["condense", "digits", "--out", "/dev/null/x", *TINY], "/dev/null is a file, not a folder"),
    "out of a long name": (
        ["condense", "digits", "--out", LONG, *TINY],
        "nnn: nothing can be written",
    ),
    "out of nearly too long a name": (["condense", "digits", "--out", "n" * 240, *TINY], "File name too long"),
    "table at a device": (["compare", "digits", "--out", "/dev/null"], "/dev/null is a file; name a folder"),
    "a home folder that no shell wrote out": (
        ["condense", "digits", "--out=~/set", *TINY],
        "~ stands for no home folder",
    ),
    "a network in it": (["train", "digits", "--out=~"], "~ stands for no home folder"),
    "table at a null byte": (["compare", "digits", "--out", "\0"], "nothing can be written there"),
    "table in a circle": (["compare", "digits", "--out", "loop"], "loop: nothing can be written there"),
    "table at a long name": (["compare", "digits", "--out", LONG], "nothing can be written there"),
    "a sheet that is no picture": (["inspect", "digits", "--out", "x.txt"], "the sheet is a PNG"),
    "a sheet of a null byte": (
        ["inspect", "digits", "--out", "\0.png"],
        "�.png: nothing can be",
    ),
    "a sheet of a long name": (["inspect", "digits", "--out", f"new/{'n' * 240}.png"], "File name too long"),
    "a config in a circle": (["condense", "digits", "--config", "loop"], "--config loop: no such file"),
    "a config of a null byte": (["condense", "digits", "--config", "\0"], "no such file"),
    "a config without end": (["condense", "digits", "--config", "/dev/zero"], "/dev/zero: no regular file"),
    "a config from a pipe": (["condense", "digits", "--config", "fifo"], "fifo: no regular file"),
    "a config of a folder": (["condense", "digits", "--config", "."], "a folder, but no condensed set"),
    "a config of a long name": (["condense", "digits", "--config", LONG * 10], "--config nnn"),
    "a network at a null byte": (["train", "digits", "--out", "\0"], "nothing can be written there"),
    "a network in a circle": (["train", "digits", "--out", "loop"], "loop: nothing can be written there"),
    "a network of a long name": (["train", "digits", "--out", LONG], "File name too long"),
    "a network below a device": (["train", "digits", "--out", "/dev/null/x"], "/dev/null is a file, not a folder"),
    "a network at a device": (["train", "digits", "--out", "/dev/null"], "/dev/null is another file"),
    "a wide network": (["train", "digits", "--network", f"convnet-width{B}"], "this takes"),
    "a pipe to export": (["export", "fifo", "--to", "npz", "--out", "y"], "fifo"),
    "a pipe to import": (["import", "fifo", "--out", "y"], "fifo: no such file"),
    "a device to import": (["import", "/dev/zero", "--out", "y"], "/dev/zero: no such file"),
    # Words too many or too few.
    "data twice": (["condense", "digits", "digits"], "unrecognized arguments: digits"),
    "a set behind flags": (
        ["info", "one", "--json", "two"],
        "arguments: two; what has no flag stands together, before",
    ),
    "a number twice": (["condense", "digits", "--ipc", "1", "2"], "unrecognized arguments: 2"),
    "a number left out": (["condense", "digits", "--ipc"], "--ipc: expected one argument"),
    "no data to inspect": (["inspect"], "no data given"),
    "no data to compare": (["compare"], "no data given"),
    "words for info that name no set": (["info", "extra"], "extra: not a condensed set"),
    "a flag without a command": (["--quiet"], "unrecognized arguments: --quiet"),
    "a flag that is none": (["condense", "-x"], "unrecognized arguments: -x"),
    "an unknown action": (["cache", "burn"], "m3d: burn: expected one of"),
    "a name to list": (["cache", "list", "x"], "takes no names"),
    "nothing to remove": (["cache", "remove"], "name what to remove"),
    "a path to remove": (["cache", "remove", "../.."], "nothing of the name ../.."),
}


@pytest.mark.parametrize(("arguments", "word"), MORE.values(), ids=MORE)
def test_what_nobody_should_give_is_said_in_one_line_and_changes_nothing(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "fifo.npz", "fifo.parquet"):
        os.mkfifo(tmp_path / name)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run(*arguments) == 2
    one_line(capsys.readouterr(), word)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["condense", "digits", "--out", "one/inner", *TINY],
        ["condense", "digits", "--out", "one/data/inner", *TINY],
        ["compare", "digits", "--out", "one/inner"],
        ["study", "digits", "--vary", "lr=1,2", "--out", "one/inner"],
        ["import", "theirs.pt", "--data", "digits", "--out", "one/inner"],
        ["export", "one", "--to", "png", "--out", "one/inner"],
        ["export", "two", "--to", "npz", "--out", "one/inner"],
        ["export", "one", "--to", "script", "--out", "one/inner.py"],
        ["train", "one", "--out", "one/inner.safetensors"],
        ["inspect", "digits", "--out", "one/inner.png"],
        ["report", "one", "--out", "one/inner.html"],
    ],
)
def test_nothing_is_written_in_a_condensed_set(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        make().save(name)
    export(make(), "theirs.pt", "pt")
    before = sorted(tmp_path.rglob("*"))
    assert run(*arguments) == 2
    assert f"lies in the condensed set {tmp_path / 'one'}; choose another place" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


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
    said = (
        f"No space left on device: '{tmp_path / 'one.metrics.jsonl'}'; free some space and run the same command again"
    )
    one_line(capsys.readouterr(), said)
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
    def __init__(self, channels, num_classes, size):
        super().__init__()
        self.head = nn.Linear(channels * size[0] * size[1], num_classes)
    def forward(self, images):
        if len(images) > 2:  # more than it is tried on
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
