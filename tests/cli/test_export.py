from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from condensed_sets import make
from refusals import said

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.sets.exporting import FORMS

pytestmark = pytest.mark.usefixtures("own_folder")


def test_help_names_the_forms_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--help") == 0
    shown = capsys.readouterr().out
    assert all(form in shown for form in FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_export_writes_each_form_and_says_where(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(factor=2).save("one")
    assert run("export", "one", "--to", form, "--out", "out") == 0
    printed = capsys.readouterr()
    assert printed.out == "out\n"
    assert printed.err == "24 images, decoded, of 3 classes\n"
    assert run("export", "one/condensed.json", "--to", form, "--out", "out", "--stored", "--overwrite") == 0
    assert capsys.readouterr().err == "6 images, as stored, of 3 classes\n"
    assert "--overwrite" in said(capsys, "export", "one", "--to", form, "--out", "out")


def test_exports_that_cannot_be_are_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make().save("one")
    before = sorted(tmp_path.rglob("*"))
    assert "no set given" in said(capsys, "export", "--to", "npz", "--out", "out")
    assert "--to: say which form: png (" in said(capsys, "export", "one", "--out", "out")
    assert "--to zip: one of png (" in said(capsys, "export", "one", "--to", "zip", "--out", "out")
    assert "--out: say where" in said(capsys, "export", "one", "--to", "npz")
    assert "one is there already, and is no npz" in said(capsys, "export", "one", "--to", "npz", "--out", "one")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_training_is_exported_as_a_script(capsys: pytest.CaptureFixture[str], digits: ImageDataset) -> None:
    condense(digits, ipc=1, method="random", out="one")
    capsys.readouterr()
    assert run("export", "one", "--to", "script", "--out", "train.py") == 0
    printed = capsys.readouterr()
    assert printed.out == "train.py\n"
    assert "run it with: python train.py" in printed.err
    assert Path("train-test.safetensors").exists()
    assert "--overwrite" in said(capsys, "export", "one", "--to", "script", "--out", "train.py")
    assert run("export", "one", "--to", "script", "--out", "train.py", "--overwrite", "--data", "digits", "-q") == 0
    other = ("export", "one", "--out", "other.py")
    assert "--stored: a script decodes" in said(capsys, *other, "--to", "script", "--stored")
    assert "--data digits: goes with a script" in said(capsys, *other, "--to", "npz", "--data", "digits")
    assert "nowhere" in said(capsys, *other, "--to", "script", "--data", "./nowhere")
    assert not Path("other.py").exists()
