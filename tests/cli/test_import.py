from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import public_files
import pytest
import torch
from commands import SCORE, run
from condensed_sets import make
from refusals import said

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.values import CONSTANTS
from m3d_condense.tools.locks import alone

pytestmark = pytest.mark.usefixtures("own_folder")


def test_help_names_the_constants_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in CONSTANTS)


def test_an_imported_set_is_scored_like_the_one_it_was_made_of(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    condensed = CondensedSet.load(saved)
    constants = torch.tensor([0.1307]), torch.tensor([0.3081])
    images = public_files.normalised(condensed.images.float() / 255, constants)
    file = public_files.experiments(tmp_path, (images, condensed.labels))
    arguments = ["import", str(file), "--data", "digits", "--out", "two"]
    assert "--normalised mnist|" not in said(capsys, *arguments, "--normalised", "none")
    told = said(capsys, *arguments)
    assert "--normalised none" in told
    assert "--mean and --std" in told
    assert run(*arguments, "--normalised", "mnist") == 0
    printed = capsys.readouterr()
    assert printed.out == "two\n"
    assert "score with: m3d evaluate two" in printed.err
    again = CondensedSet.load("two")
    assert torch.equal(again.images, condensed.images)
    assert (again.class_names, again.mean, again.source) == (condensed.class_names, condensed.mean, condensed.source)
    assert run("evaluate", saved, "two", "--json", *SCORE) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert ours["accuracies"] == theirs["accuracies"]
    assert len(CondensedSet.load("two").scores) == 1


def test_an_imported_set_without_its_data_set_is_tested_on_what_is_named(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    condensed = CondensedSet.load(saved)
    file = str(public_files.two_files(tmp_path, condensed.images.float() / 255, condensed.labels))
    assert "--classes NAME… names them" in said(capsys, "import", file, "--out", "two")
    assert run("import", file, "--classes", *condensed.class_names, "--out", "two", "-q") == 0
    assert "was imported without its data set; say with --data" in said(capsys, "evaluate", "two", *SCORE)
    assert run("evaluate", "two", "--data", "digits", *SCORE) == 0


def test_whitened_images_are_turned_back_by_the_data_set(digits: ImageDataset, tmp_path: Path) -> None:
    real = digits.train.images.flatten(1).double().numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(real, rowvar=False))
    whitener = torch.from_numpy(vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T).float()
    images, labels = digits.train.images[:40], digits.train.labels[:40]
    assert len(labels.unique()) == 10
    whitened = (images.flatten(1).float() / 255 - torch.from_numpy(real.mean(0)).float()) @ whitener
    file = public_files.two_files(tmp_path, whitened.view(images.shape), labels)
    arguments = ["import", str(file), "--data", "digits", "--normalised", "zca", "--out", "two", "-q"]
    assert run(*arguments) == 0
    assert torch.equal(CondensedSet.load("two").images, images)


def test_the_data_set_is_read_at_the_size_of_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = public_files.pair(tmp_path, torch.rand(10, 1, 16, 16), torch.arange(10))
    assert run("import", str(file), "--data", "digits", "--factor", "2", "--out", "two") == 0
    assert "10 images, each of 2×2 tiles, of 10 classes" in capsys.readouterr().err
    assert CondensedSet.load("two").source["size"] == 16
    assert run("evaluate", "two", *SCORE) == 0


def test_imports_that_cannot_be_are_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(public_files.pair(tmp_path, torch.rand(10, 3, 8, 8), torch.arange(10)))
    to = ["--data", "digits", "--out", "two"]
    assert "no file given" in said(capsys, "import", *to)
    assert "nowhere.pt: no such file" in said(capsys, "import", "nowhere.pt", *to)
    Path("folder").mkdir()
    assert "folder is a folder; name a .pt file" in said(capsys, "import", "folder", *to)
    assert "--out: say where" in said(capsys, "import", file, "--data", "digits")
    assert "it is of another data set" in said(capsys, "import", file, "--factor", "1", *to)
    assert "--normalised zero: one of none" in said(capsys, "import", file, "--normalised", "zero", *to)
    assert "no class of the data, a, b" in said(capsys, "import", file, "--factor", "1", "--classes", "a", "b", *to)
    assert "--factor 2" in said(capsys, "import", file, "--classes", *"abcdefghij", "--out", "two")
    assert not Path("two").exists()


def test_the_classes_of_the_data_can_be_picked_and_ordered(tmp_path: Path) -> None:
    file = str(public_files.pair(tmp_path, torch.rand(3, 1, 8, 8), torch.arange(3)))
    to = ["--data", "digits", "--classes", "7", "1", "4", "--factor", "1", "--out", "two", "-q"]
    assert run("import", file, *to) == 0
    assert CondensedSet.load("two").class_names == ("7", "1", "4")
    assert run("evaluate", "two", "--epochs", "1", "--repeats", "1", "-q") == 0


def test_what_a_file_does_not_say_is_asked_before_the_data_set_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(public_files.pair(tmp_path, torch.rand(10, 3, 8, 8) * 3, torch.arange(10)))
    arguments = ["import", file, "--data", "nowhere.npz", "--out", "two"]
    assert "--factor 2" in said(capsys, *arguments)
    assert "--normalised none" in said(capsys, *arguments, "--factor", "1")
    assert "nowhere.npz" in said(capsys, *arguments, "--factor", "1", "--mean", *"000", "--std", *["0.3"] * 3)


def test_an_import_writes_over_a_set_only_when_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(public_files.two_files(tmp_path, torch.rand(3, 3, 8, 8), torch.arange(3)))
    arguments = ["import", file, "--classes", "a", "b", "c", "--out", "two"]
    make().save("two")
    assert "--overwrite" in said(capsys, *arguments)
    assert len(CondensedSet.load("two").images) == 6
    assert run(*arguments, "--overwrite", "-q") == 0
    assert len(CondensedSet.load("two").images) == 3
    Path("two", "notes.txt").write_text("mine")
    assert "holds other files" in said(capsys, *arguments, "--overwrite")


def test_two_imports_at_once_do_not_write_one_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(public_files.two_files(tmp_path, torch.rand(3, 3, 8, 8), torch.arange(3)))
    with alone(Path("two")):
        assert "another process is writing there" in said(
            capsys, "import", file, "--classes", "a", "b", "c", "--out", "two"
        )
    assert not Path("two").exists()


def test_an_imported_set_gives_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(public_files.two_files(tmp_path, torch.rand(3, 3, 8, 8), torch.arange(3)))
    assert run("import", file, "--classes", "a", "b", "c", "--out", "two", "-q") == 0
    assert "the recipe that made it is not known" in said(capsys, "condense", "--config", "two", "--out", "three")


def test_flags_that_contradict_an_export_are_refused(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", saved, "--to", "pt", "--stored", "--out", "set.pt", "-q") == 0
    arguments = ["import", "set.pt", "--out", "two"]
    assert "--factor 4: set.pt says that it holds" in said(capsys, *arguments, "--factor", "4")
    assert "leave --classes out" in said(capsys, *arguments, "--classes", *"9876543210")
    assert "leave --classes out" in said(capsys, *arguments, "--data", "digits", "--classes", *"9876543210")
    assert "--normalised mnist: set.pt says" in said(capsys, *arguments, "--normalised", "mnist")
    assert "--size 99: goes with --data DATA only" in said(capsys, *arguments, "--size", "99")
    assert "--split-seed 0: goes with --data DATA only" in said(capsys, *arguments, "--split-seed", "0")
    assert "--experiment 3: set.pt holds one set" in said(capsys, *arguments, "--experiment", "3")
    assert run(*arguments, "--classes", *"0123456789", "--normalised", "none", "-q") == 0
