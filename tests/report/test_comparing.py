from __future__ import annotations

from pathlib import Path

import pytest

from m3d_condense.cli.main import main
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.report.comparing import Compared, comparison, of_folder
from m3d_condense.studies.comparison import compare
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

NETWORK = "convnet1-width8"


def line(name: str, accuracy: float | None, nbytes: int | None = 640, seconds: float | None = 2.0) -> Compared:
    return Compared(
        name=name,
        ipc=1,
        network="convnet",
        accuracy=accuracy,
        spread=1.0,
        n=3,
        nbytes=nbytes,
        class_bytes=None if nbytes is None else nbytes / 10,
        seconds=seconds,
    )


def test_the_best_comes_first_and_what_is_not_known_last() -> None:
    found = comparison([line("b", 50.0), line("unknown", None), line("a", 60.0)], "")
    assert [row[0].text for row in found.rows] == ["a", "b", "unknown"]
    assert [row[3].text for row in found.rows] == ["60.0 ± 1.0", "50.0 ± 1.0", ""]
    assert [cell.value for cell in found.rows[0]] == [None, 1, None, 60.0, 64, 2.0]
    assert found.rows[0][4].text == "0.0625"


def test_accuracy_is_drawn_against_size_and_time_where_they_are_known() -> None:
    rows = [line("one", 50.0), line("whole", 90.0, nbytes=None, seconds=None)]
    drawn = comparison(rows, "").charts
    assert ["against bytes" in drawn[0], "seconds of condensing" in drawn[1]] == [True, True]
    assert all("one" in chart and "whole" not in chart for chart in drawn)
    assert comparison([line("one", None)], "").charts == []


@pytest.fixture(scope="module")
def compared(digits: ImageDataset, plain: Execution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    set_quiet(True)
    folder = tmp_path_factory.mktemp("compared") / "study"
    compare(
        digits,
        methods=["random"],
        ipc=[1, 2],
        seeds=1,
        networks=[NETWORK],
        epochs=2,
        repeats=1,
        out=folder,
        execution=plain,
    )
    return folder


def test_a_comparison_is_read_from_its_folder(compared: Path) -> None:
    assert sorted((row.name, row.ipc) for row in of_folder(compared) if row.ipc) == [("random", 1), ("random", 2)]
    assert [row.seconds for row in of_folder(compared) if row.name == "whole"] == [None]


def test_the_page_of_a_comparison_shows_its_table_and_its_best_set(compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared.html"
    assert (
        main(["report", str(compared), "--no-training", "--network", "convnet1-width8", "--out", str(out), "-q"]) == 0
    )
    html = out.read_text(encoding="utf-8")
    assert "The comparison" in html
    assert html.count("<tr><td>random</td>") == 2
    assert html.count("<tr><td>whole</td>") == 1
    assert "a class," in html


def test_a_damaged_comparison_is_said(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"rows": [{"data": 1}]}')
    with pytest.raises(UserError, match=r"comparison\.json is damaged"):
        of_folder(tmp_path)
