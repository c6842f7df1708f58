from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import folder
from PIL import Image

from m3d_condense.cli.main import main
from m3d_condense.data import kept

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_folder_is_shown_as_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "photos", classes=("ant", "bee"), count=10, shape=(6, 8))
    (root / "bee" / "notes.txt").touch()
    assert main(["inspect", str(root)]) == 0
    shown = capsys.readouterr().out
    for line in (
        "name         photos",
        "images       16 to train on, 4 to test on, of 2 classes",
        "size         8×6 pixels, grey, 960 B in memory",
        "levels       train: grey 0 to 255 (mean ",
        "class        ant         8        2",
        f"notice       Not used in {root}: 1 .txt",
        "notice       photos has no test split: 20% of each class is held out, with seed 0",
        "sheet        photos-contact-sheet.png",
    ):
        assert line in shown
    with Image.open(tmp_path / "photos-contact-sheet.png") as sheet:
        assert sheet.width > 8 * 64  # eight images a row, enlarged
        assert sheet.height > 2 * 64


def test_notices_are_shown_though_they_come_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept, "WORTH", 0.0)
    root = str(folder(tmp_path / "photos"))
    assert main(["inspect", root, "-q"]) == 0
    first = capsys.readouterr()
    assert main(["inspect", root, "-q"]) == 0
    assert capsys.readouterr() == first
    assert "is held out" in first.out
    assert "cache" not in first.out
    assert first.err == ""


def test_json_holds_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "digits", "--json", "--size", "4", "--out", "deep/d.png"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["classes"], seen["height"], seen["mirrored"]) == (list("0123456789"), 4, False)
    assert sum(seen["counts"]["train"]) + sum(seen["counts"]["test"]) == 1797
    assert seen["levels"]["train"][0]["channel"] == "grey"
    assert (tmp_path / seen["sheet"]).is_file()


def test_many_classes_and_odd_names_stay_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"class {number:03}" for number in range(45)]
    folder(tmp_path / "photos", classes=("\x1b[31m red", "a" * 200, *names), count=2)
    assert main(["inspect", "photos"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "and 7 more classes, of which --json tells all" in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("class ")) < 80


def test_the_sheet_does_not_lie_among_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "photos")
    monkeypatch.chdir(root)
    assert main(["inspect", "."]) == 0
    assert (tmp_path / "photos-contact-sheet.png").is_file()
    assert sorted(path.name for path in root.iterdir()) == ["ant", "bee"]


def test_a_sheet_is_not_drawn_among_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "photos")
    (tmp_path / "link").symlink_to(root / "ant")
    before = sorted(root.rglob("*"))
    for out in ("photos/ant/sheet.png", "photos/sheet.png", "link/sheet.png", "photos/new/sheet.png"):
        assert main(["inspect", "photos", "--out", out]) == 2
        said = f"m3d: {out} lies among the data of {root}, and would be read with them; choose another place"
        assert said in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


def test_a_sheet_takes_the_place_of_a_sheet_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["inspect", "digits", "--out", "sheet.png"]) == 0
    for name in ("mine.png", "text.png"):
        file = tmp_path / name
        if name == "mine.png":
            Image.new("L", (3, 3)).save(file)
        else:
            file.write_text("mine")
        before = file.read_bytes()
        assert main(["inspect", "digits", "--out", name]) == 2
        assert f"{name} is another file, which would be lost; choose another name" in capsys.readouterr().err
        assert file.read_bytes() == before
    assert main(["inspect", "digits", "--out", "sheet.jpg"]) == 2
    assert "--out sheet.jpg: the sheet is a PNG: end its name in .png" in capsys.readouterr().err
    assert main(["inspect"]) == 2
    assert "no data given; the data set digits is embedded" in capsys.readouterr().err
