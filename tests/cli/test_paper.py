from __future__ import annotations

import json
from pathlib import Path

import pytest

from m3d_condense.cli.main import main
from m3d_condense.studies.paper.grids import GRIDS

pytestmark = pytest.mark.usefixtures("own_folder")

SMALL = ["--only", "digits/1", "--iterations", "2", "--repeats", "1", "--epochs", "1", "--networks", "convnet1"]
SMALL += ["--device", "cpu", "--precision", "float32", "--compile", "no"]


def test_a_table_is_printed_and_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["paper", "table2", *SMALL, "--methods", "random", "dm"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Table 2: Selections and condensed sets of low resolution\n")
    assert [line.split()[2] for line in printed.out.splitlines() if line.startswith("digits ")] == ["random", "dm"]
    assert "quick preset, 2 of 20,000 steps" in printed.out
    assert "runs/paper-quick" in printed.err
    folder = tmp_path / "runs" / "paper-quick"
    assert {"table2.md", "table2.csv", "table2.json"} <= {path.name for path in folder.iterdir()}
    assert main([*command, "--json", "-q"]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert json.loads(again.out) == json.loads((folder / "table2.json").read_text())


def test_the_list_has_every_table_and_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "list"]) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [name for name in named if name in GRIDS] == list(GRIDS)
    assert main(["paper", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1]["data"].startswith("mnist/1 mnist/10")
    assert {f"table{n}" for n in range(1, 6)} | {"figure6a", "figure6b"} <= {one["name"] for one in listed}


def test_a_set_that_fails_is_said_and_is_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "table5", *SMALL, "--methods", "dm", "--budget", "0.000001s"]) == 1
    printed = capsys.readouterr()
    assert "digits/1 dm: --time-limit 1e-06s: too short" in printed.out
    assert "m3d: 1 of 1 sets failed, as said below the table" in printed.err


def test_an_estimate_is_printed_and_nothing_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["paper", "table2", *SMALL, "--methods", "random", "dm", "--estimate"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert [line.split()[2] for line in printed.splitlines() if line.startswith("digits ")] == ["random", "dm"]
    assert "in all on this machine (cpu, 1 threads)" in printed
    assert main([*command, "--json", "--seeds", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [cost["sets"] for cost in told["costs"]] == [2, 2]
    assert told["total"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "name a table or figure: table1,"),
        (["table6"], "unknown table or figure 'table6'"),
        (["table2", "--only", "cifar10/x"], "--only cifar10/x: expected DATA/IPC"),
        (["table2", "--only"], "--only"),
        (["table2", "--methods", "dmm"], "--methods dmm: unknown method; did you mean dm?"),
        (["table2", "--preset", "fast"], "--preset fast: one of quick, paper"),
        (["table2", "--seeds", "0"], "--seeds 0: at least 1"),
        (["table2", "--iterations", "0"], "--iterations 0: at least 1"),
        (["table2", "--repeats", "0"], "--repeats 0: at least 1"),
        (["table2", "--protocol", "x"], "unknown protocol 'x'"),
        (["table2", "--budget", "soon"], "--time-limit soon"),
        (["figure3", "--budget", "10m"], "figure3 is over steps"),
        (["table2", "--data-root", "nowhere"], "--data-root nowhere: no such folder"),
        (["table2", "--only", "digits/1", "--networks", "conv"], "unknown network 'conv'"),
        (["table2", "--only", "digits/1", "--networks", "convnet9"], "convnet9"),
        (["table2", "--only", "digits/1", "--out", "."], ". is the working folder"),
    ],
)
def test_mistakes_are_said_in_one_line_and_write_nothing(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["paper", *arguments]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("m3d: ")]
    assert len(said) == 1
    assert word in said[0]
    assert list(tmp_path.iterdir()) == []
