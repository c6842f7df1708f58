from __future__ import annotations

from pathlib import Path

import pytest
from condensed_sets import make

from m3d_condense.cli.main import main


@pytest.fixture
def one(tmp_path: Path) -> str:
    """A set whose source is not at hand."""
    return str(make(source={"name": "gone"}).save(tmp_path / "one"))


def test_a_set_without_its_source_gets_a_page_of_what_is_stored(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", one]) == 0
    said = capsys.readouterr()
    assert said.out == f"{one}/report.html\n"
    assert "the report shows what is stored" in said.err
    assert (Path(one) / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", one, "-q"]) == 0  # over its own page


def test_several_sets_get_a_page_in_the_current_folder(
    one: str, own_folder: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(make(source={"name": "gone"}, method="dm").save(tmp_path / "other"))
    assert main(["report", one, other]) == 0
    assert capsys.readouterr().err.count("the report shows what is stored") == 1
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gone, condensed by 2 methods" in html
    assert html.count("<article") == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no set given"),
        (["nothing"], "nothing: neither a condensed set nor a comparison"),
        (["ONE", "--out", "page.txt"], "end its name in .html"),
        (["ONE", "--protocol", "x"], "unknown protocol 'x'"),
        (["ONE", "--repeats", "0"], "--repeats 0: at least 1"),
        (["ONE", "--data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_said_in_one_line(
    one: str, own_folder: None, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *(one if flag == "ONE" else flag for flag in flags)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("report.html").exists()
