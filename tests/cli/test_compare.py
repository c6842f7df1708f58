from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_studies import FLAGS

from m3d_condense.__main__ import main
from m3d_condense.sets.condensed import Score
from m3d_condense.studies import scores

pytestmark = pytest.mark.usefixtures("own_folder")


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "comparison.json").read_text())["rows"]
    return found


def test_the_command_prints_one_table_or_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data: digits\nmethods: dm\nno-whole: true\n")
    command = ["compare", "--config", "run.yaml", *FLAGS]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines() if line.split()][:1] == ["method"]
    assert "[1/2] digits: random, 1 per class, seed 0" in printed.err
    assert "[2/2] digits: dm, 1 per class, seed 0" in printed.err
    assert "runs/compare-digits" in printed.err
    assert main([*command, "--json", "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {row["method"] for row in json.loads(printed.out)} == {"dm", "random"}
    assert json.loads(printed.out) == rows(tmp_path / "runs" / "compare-digits")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_scoring_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, sent: signal.Signals
) -> None:
    handler = signal.getsignal(sent)
    evaluate, numbers = scores.evaluate, iter(range(1, 4))

    def stopped(*arguments: Any, **settings: Any) -> Score:
        if next(numbers) == 2:
            os.kill(os.getpid(), sent)
        return evaluate(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(scores, "evaluate", stopped)
        assert main(["compare", "digits", *FLAGS, "--methods", "dm", "--out", "out"]) == 130
    assert signal.getsignal(sent) is handler
    err = capsys.readouterr().err
    assert "1 of 3 sets are scored; the same command goes on" in err
    assert err.endswith("m3d: interrupted\n")
    assert [row["method"] for row in rows(tmp_path / "out")] == ["random"]
    assert main(["compare", "digits", *FLAGS, "--methods", "dm", "--out", "out"]) == 0
    assert "1 of 3 sets were scored before" in capsys.readouterr().err


def test_a_method_that_fails_loses_no_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["compare", "digits", *FLAGS, "--methods", "dm", "--factor", "9", "--out", "out"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "m3d: 1 of 3 sets failed" in printed.err
    assert "dm, ipc 1: --factor 9: larger than the images of 8×8" in printed.out
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["dm", "1", "failed", "0"] in lines
    made = {row["method"]: row for row in rows(tmp_path / "out")}
    assert "larger than the images" in made["dm"]["error"]
    assert made["dm"]["mean"] is None
    assert made["random"]["mean"] > 0
    assert made["whole"]["error"] == ""
    assert main([*command, "-q"]) == 1  # tried again, and no other with it
    assert capsys.readouterr().err == "m3d: 1 of 3 sets failed, as said below the table\n"


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
