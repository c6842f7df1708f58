from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.table import Table

from m3d_condense.cli.tables import Scored, print_lines, print_scores
from m3d_condense.sets.score import Score
from m3d_condense.tools.progress import set_quiet, tell

SCORE = Score.of("convnet3-width64", "quick", [45.12, 46.5, 44.2], {"labels": "hard"})
LINES = [
    {"method": "m3d-pool", "images a class": "10", "accuracy, %": "45.1 ± 0.3", "seconds": "1,234", "n": "3"},
    {"method": "猫 [all]", "images a class": "1", "accuracy, %": "5.1 ± 10.3", "seconds": "12,345", "n": "30"},
]


@pytest.mark.parametrize("columns", [20, 40, 60, 100])
def test_figures_are_whole_however_narrow_the_terminal_is(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_lines(LINES, Table(), left=("method",), wrapped=("method",))
    print_scores([Scored(name="runs/digits-ipc10", score=SCORE, class_bytes=12345.0, own_epochs=1000)], as_json=False)
    told = capsys.readouterr().out
    assert "…" not in told
    for figure in (*LINES[0].values(), *list(LINES[1].values())[1:], "45.3 ± 1.2", "12.1", "convnet3-width64"):
        assert figure in told
    heads = " ".join(line for line in told.splitlines() if "┃" in line)
    assert {"images", "accuracy,", "%", "seconds", "trained", "protocol"} <= set(heads.replace("┃", " ").split())


@pytest.mark.parametrize("columns", [60, 70, 100])
def test_tables_keep_to_the_terminal_where_that_is_wide_enough(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_lines(LINES, Table(), left=("method",), wrapped=("method",))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert len({cell_len(line) for line in lines}) == 1


def test_text_between_colons_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([{"method": "runs/x:x:y", "n": "1"}], Table(), left=("method",), wrapped=("method",))
    set_quiet(False)
    tell("--network convnet:x: cannot be imported")
    found = capsys.readouterr()
    assert "runs/x:x:y" in found.out
    assert "convnet:x: cannot" in found.err
