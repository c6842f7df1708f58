"""Folders that the package has exported are read by the file that names their classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pictures import folder

from m3d_condense.data.exported import CLASSES, written
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    root = folder(tmp_path / "exported", classes=("test", "train"))
    (root / CLASSES).write_bytes(written(["train", "test"], ["train", "test"]))
    return root


def test_classes_are_those_of_the_file_in_its_order(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (exported / "train" / "notes.txt").write_text("mine")
    (exported / ".checkpoints").mkdir()
    shutil.copy(exported / "train" / "0.png", exported / ".checkpoints" / "0.png")
    data = load(exported)
    assert data.class_names == ("train", "test")
    assert len(data.train) + len(data.test) == 10
    told = capsys.readouterr().err
    assert f"Not used in {exported}: 1 .txt, 1 images within other folders" in told
    assert load(exported, classes=["test", "train"]).class_names == ("test", "train")


@pytest.mark.parametrize("change", ["more", "fewer", "beside", "twice"])
def test_folders_that_came_or_went_are_refused(exported: Path, change: str) -> None:
    if change == "more":
        folder(exported, classes=("cat",))
    elif change == "fewer":
        shutil.rmtree(exported / "test")
    elif change == "beside":
        shutil.copy(exported / "test" / "0.png", exported / "0.png")
    else:
        (exported / CLASSES).write_bytes(written(["train", "test", "test"], ["a", "b", "c"]))
    with pytest.raises(UserError, match=r"m3d-classes.json tells the classes of other folders .*remove that file"):
        load(exported)


def test_exported_folders_within_another_are_refused(exported: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(exported, tmp_path / "both" / split)
    with pytest.raises(UserError, match=r"holds folders that were exported \(test, train\), whose m3d-classes.json"):
        load(tmp_path / "both")


@pytest.mark.parametrize("text", ["", "[", "{}", json.dumps(["train", "test"]), "[" * 10_000])
def test_a_damaged_file_is_refused_in_one_line(exported: Path, text: str) -> None:
    (exported / CLASSES).write_text(text)
    with pytest.raises(UserError, match=r"cannot read .*m3d-classes.json: .*export the set again, or remove"):
        load(exported)
