from __future__ import annotations

import errno
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from condensed_sets import make
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from m3d_condense.data.load import load
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import export
from m3d_condense.tools.errors import UserError

FORMS = {"png": "folder", "npz": "set.npz", "parquet": "set.parquet", "webdataset": "set.tar", "pt": "set.pt"}
both = pytest.mark.parametrize("stored", [False, True])


def expected(condensed: CondensedSet, stored: bool) -> tuple[Tensor, Tensor]:
    """The images, N×H×W×C uint8, and labels that every form holds."""
    images, labels = (condensed.images, condensed.labels) if stored else condensed.decode()
    eight_bit = images if stored else (images * 255).round().byte()
    return eight_bit.permute(0, 2, 3, 1), labels


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


@both
def test_png_is_an_image_folder(tmp_path: Path, stored: bool) -> None:
    condensed = make()
    folder = export(condensed, tmp_path / "folder", "png", stored=stored)
    images, labels = expected(condensed, stored)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        file = folder / condensed.class_names[label] / f"{number:06}.png"
        assert np.array_equal(pixels(file.read_bytes()), image.numpy())
    assert sum(1 for file in folder.rglob("*.png")) == len(images)


def test_an_image_folder_can_be_condensed_again(tmp_path: Path) -> None:
    data = load(str(export(make(ipc=5), tmp_path / "folder", "png", stored=True)))
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert len(data.train) + len(data.test) == 15


def test_folders_of_classes_have_names_that_every_system_takes(tmp_path: Path) -> None:
    names = ("../up", "a/b\\c:d", "\x1b\n", "", "汉" * 300, " . ", "caf\udce9")
    folder = export(make(num_classes=7, ipc=1, class_names=names), tmp_path / "folder", "png", stored=True)
    found = sorted(entry.name for entry in folder.iterdir())
    assert found == sorted(["_up", "a_b_c_d", "�", "class 3", "汉" * 60, "class 5", "caf�"])
    assert all(len(list(entry.iterdir())) == 1 for entry in folder.iterdir())
    alike = export(make(num_classes=2, ipc=1, class_names=("Cat", "cat")), tmp_path / "alike", "png", stored=True)
    assert sorted(entry.name for entry in alike.iterdir()) == ["0 Cat", "1 cat"]


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_npz_is_read_without_pickle(tmp_path: Path, stored: bool, channels: int) -> None:
    condensed = make(shape=(channels, 8, 8))
    images, labels = expected(condensed, stored)
    with np.load(export(condensed, tmp_path / "set.npz", "npz", stored=stored), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], images.squeeze(3).numpy())
        assert np.array_equal(arrays["labels"], labels.numpy())
        assert arrays["class_names"].tolist() == list(condensed.class_names)


@both
def test_parquet_is_the_table_of_the_set(tmp_path: Path, stored: bool) -> None:
    condensed = make()
    file = export(condensed, tmp_path / "set.parquet", "parquet", stored=stored)
    folder = condensed.save(tmp_path / "set") / ("stored" if stored else "data")
    assert parquet.read_table(file).equals(parquet.read_table(folder / "train-00000-of-00001.parquet"))


@both
def test_webdataset_holds_a_picture_a_label_and_a_name_each(tmp_path: Path, stored: bool) -> None:
    condensed = make()
    images, labels = expected(condensed, stored)
    with tarfile.open(export(condensed, tmp_path / "set.tar", "webdataset", stored=stored)) as archive:
        entries = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    assert list(entries)[:4] == ["000000.png", "000000.cls", "000000.json", "000001.png"]
    assert len(entries) == 3 * len(images)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        assert np.array_equal(pixels(entries[f"{number:06}.png"]), image.numpy())
        assert int(entries[f"{number:06}.cls"]) == label
        said = json.loads(entries[f"{number:06}.json"])
        assert said == {"label": label, "class_name": condensed.class_names[label]}


@both
def test_pt_is_read_without_unpickling_and_is_not_rounded(tmp_path: Path, stored: bool) -> None:
    condensed = make()
    content = torch.load(export(condensed, tmp_path / "set.pt", "pt", stored=stored), weights_only=True)
    images, labels = (condensed.images, condensed.labels) if stored else condensed.decode()
    assert torch.equal(content["images"], images)
    assert torch.equal(content["labels"], labels)
    assert content["factor"] == (condensed.factor if stored else 1)
    assert tuple(content["class_names"]) == condensed.class_names
    assert (tuple(content["mean"]), tuple(content["std"])) == (condensed.mean, condensed.std)


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_what_is_there_already_stays(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="there already|is a file"):
        export(make(), tmp_path / name, form)
    assert (tmp_path / name).read_text() == "mine"
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="there already|other files"):
        export(make(), folder, form)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_an_export_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        export(make(), tmp_path / name, form)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="form=zip: one of png, npz, parquet, webdataset, pt"):
        export(make(), tmp_path / "set.zip", "zip")
