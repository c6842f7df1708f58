from __future__ import annotations

import errno
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from condensed_sets import make, make_soft
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
    assert folders(folder) == {"_up", "a_b_c_d", "�", "class 3", "汉" * 60, "class 5", "caf�"}
    assert len(list(folder.rglob("*.png"))) == 7
    for alike in (("Cat", "cat"), ("é", "e\u0301")):
        pair = export(make(num_classes=2, ipc=1, class_names=alike), tmp_path / alike[0], "png", stored=True)
        assert folders(pair) == {f"0 {alike[0]}", f"1 {alike[1]}"}
    system = export(make(num_classes=3, ipc=1, class_names=("con", "NUL.x", "icon")), tmp_path / "system", "png")
    assert folders(system) == {"class 0", "class 1", "icon"}


def folders(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir() if entry.is_dir()}


AWKWARD = [
    ("train", "test"),
    ("Train", "train"),
    ("valid", "cat", "ant"),
    ("7", "1", "4"),
    ("cat", "cat"),
    ("cat", "cat copy"),
    ("part 1", "part 2"),
    ("images", "labels"),
    ("a/b", "a:b", "..", ""),
    ("x" * 80, "x" * 81),
    ("__MACOSX", "cat"),
    ("0 train", "1 test", "con"),
    ("é", "e\u0301"),
    ("\x1b\n", "m3d-classes.json"),
]


@pytest.mark.parametrize("names", AWKWARD, ids=str)
def test_an_image_folder_is_read_as_the_same_classes_whatever_they_are_called(
    tmp_path: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    condensed = make(num_classes=len(names), ipc=5, factor=1, class_names=names)
    folder = export(condensed, tmp_path / "folder", "png")
    assert "m3d-classes.json beside them does" in capsys.readouterr().err
    data = load(str(folder))
    assert "Not used" not in capsys.readouterr().err
    assert data.class_names == names
    images, labels = expected(condensed, stored=True)
    read = [torch.cat([getattr(split, name) for split in (data.train, data.test)]) for name in ("images", "labels")]
    assert pairs(read[0].permute(0, 2, 3, 1), read[1]) == pairs(images, labels)
    export(condensed, folder, "png", overwrite=True)
    (folder / "m3d-classes.json").rename(folder / "other.json")
    with pytest.raises(UserError, match="there already, and holds other.json beside an export"):
        export(condensed, folder, "png", overwrite=True)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_does_not_lie_among_the_data_of_its_set(form: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / "ant").mkdir(parents=True)
    condensed = make(source={"data": str(tmp_path / "photos"), "name": "photos"})
    with pytest.raises(UserError, match="ant/out lies among the data of .*photos, and would be read with them"):
        export(condensed, tmp_path / "photos" / "ant" / "out", form)
    assert not list((tmp_path / "photos" / "ant").iterdir())


def test_an_image_folder_that_needs_no_file_of_names_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export(make(), tmp_path / "folder", "png")
    assert sorted(entry.name for entry in folder.iterdir()) == ["class 0", "class 1", "class 2"]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("offline")
def test_datasets_passes_over_the_file_of_names(tmp_path: Path) -> None:
    folder = export(make(class_names=("7", "1", "4")), tmp_path / "folder", "png")
    table = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert (len(table), table.features["label"].names) == (24, ["1", "4", "7"])


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
    for overwrite in (False, True):
        with pytest.raises(UserError, match="there already, and is no"):
            export(make(), tmp_path / name, form, overwrite=overwrite)
    assert (tmp_path / name).read_text() == "mine"
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="there already, and is no"):
            export(make(), folder, form, overwrite=overwrite)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_an_older_export_gives_way_when_that_is_asked(tmp_path: Path, form: str, name: str) -> None:
    target, expected = tmp_path / name, tmp_path / "expected"
    export(make(ipc=1), target, form)
    with pytest.raises(UserError, match="overwrite=True"):
        export(make(ipc=3), target, form)
    export(make(ipc=3), target, form, overwrite=True)
    export(make(ipc=3), expected, form)
    assert size(target) == size(expected)


def size(path: Path) -> int:
    files = path.rglob("*.png") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("form", FORMS)
def test_files_of_the_same_kind_that_others_made_stay(tmp_path: Path, form: str) -> None:
    target = tmp_path / "other"
    pixels = np.zeros((2, 8, 8), np.uint8)
    if form == "png":
        (target / "ant").mkdir(parents=True)
        Image.fromarray(pixels[0]).save(target / "ant" / "0.png")
    elif form == "npz":
        np.savez(target.open("wb"), images=pixels)
    elif form == "parquet":
        datasets.Dataset.from_dict({"label": [0]}).to_parquet(target)
    elif form == "webdataset":
        tarfile.open(target, "w").close()
    else:
        torch.save({"images": torch.zeros(2)}, target)
    with pytest.raises(UserError, match=f"there already, and is no {form} export"):
        export(make(), target, form, overwrite=True)


def test_an_export_with_something_of_the_users_stays(tmp_path: Path) -> None:
    folder = export(make(), tmp_path / "folder", "png")
    (folder / "class 0" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="there already, and holds class 0/notes.txt beside an export; move that away"):
        export(make(), folder, "png", overwrite=True)
    assert (folder / "class 0" / "notes.txt").read_text() == "mine"


def pairs(images: Any, labels: Any) -> list[tuple[int, bytes]]:
    return sorted((int(label), np.asarray(image).tobytes()) for image, label in zip(images, labels, strict=True))


@both
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["png", "npz", "parquet"])
def test_what_is_exported_loads_as_the_same_images(
    tmp_path: Path, form: str, stored: bool, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    condensed = make(ipc=5, shape=(channels, 8, 8))
    images, labels = expected(condensed, stored)
    target = tmp_path / (FORMS[form] if form != "png" else "folder")
    data = load(str(export(condensed, target, form, stored=stored)))
    assert data.class_names == condensed.class_names
    both_splits = [
        torch.cat([getattr(split, name) for split in (data.train, data.test)]) for name in ("images", "labels")
    ]
    assert pairs(both_splits[0].permute(0, 2, 3, 1), both_splits[1]) == pairs(images, labels)
    assert "Not used" not in capsys.readouterr().err


@pytest.mark.usefixtures("offline")
@both
@pytest.mark.parametrize("form", ["png", "parquet", "webdataset"])
def test_datasets_opens_what_is_exported(tmp_path: Path, form: str, stored: bool) -> None:
    condensed = make()
    images, labels = expected(condensed, stored)
    target = str(export(condensed, tmp_path / FORMS[form], form, stored=stored))
    if form == "png":
        table = datasets.load_dataset("imagefolder", data_dir=target, split="train")
    else:
        table = datasets.load_dataset(form, data_files=target, split="train")
    column, label = ("png", "cls") if form == "webdataset" else ("image", "label")
    assert pairs(table[column], table[label]) == pairs(images, labels)
    if form != "webdataset":
        assert table.features["label"].names == list(condensed.class_names)


@both
def test_webdataset_reads_its_tar(tmp_path: Path, stored: bool) -> None:
    webdataset = pytest.importorskip("webdataset")
    condensed = make()
    images, labels = expected(condensed, stored)
    target = export(condensed, tmp_path / "set.tar", "webdataset", stored=stored)
    samples = list(webdataset.WebDataset(str(target), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{number:06}" for number in range(len(images))]
    assert pairs([sample["png"] for sample in samples], [sample["cls"] for sample in samples]) == pairs(images, labels)
    assert [sample["json"]["class_name"] for sample in samples] == [condensed.class_names[k] for k in labels]


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


# Soft labels


def test_soft_labels_go_with_the_decoded_images(tmp_path: Path) -> None:
    condensed = make_soft(factor=2)
    expected = condensed.decoded_labels("soft")
    with np.load(export(condensed, tmp_path / "set.npz", "npz"), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["soft_labels"], expected.numpy())
        assert np.array_equal(arrays["labels"], condensed.decode()[1].numpy())
    table = parquet.read_table(export(condensed, tmp_path / "set.parquet", "parquet"))
    assert torch.equal(torch.tensor(table["probabilities"].to_pylist()), expected)
    with tarfile.open(export(condensed, tmp_path / "set.tar", "webdataset")) as archive:
        said = [json.loads(archive.extractfile(name).read()) for name in archive.getnames() if name.endswith(".json")]  # type: ignore[union-attr]
    assert torch.equal(torch.tensor([one["probabilities"] for one in said]), expected)
    content = torch.load(export(condensed, tmp_path / "set.pt", "pt"), weights_only=True)
    assert condensed.soft_labels is not None
    assert torch.equal(content["soft_labels"], condensed.soft_labels.probabilities)


@pytest.mark.usefixtures("offline")
def test_datasets_reads_the_probabilities_of_a_table(tmp_path: Path) -> None:
    condensed = make_soft()
    file = export(condensed, tmp_path / "set.parquet", "parquet")
    rows = datasets.load_dataset("parquet", data_files=str(file), split="train")
    assert torch.equal(torch.tensor(rows["probabilities"]), condensed.decoded_labels("soft"))
    assert rows["label"] == condensed.decode()[1].tolist()


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_images_with_soft_labels_can_be_condensed_again(tmp_path: Path, form: str) -> None:
    data = load(str(export(make_soft(ipc=5), tmp_path / FORMS[form], form)))
    assert data.class_names == ("class 0", "class 1", "class 2")


def test_an_export_without_soft_labels_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    condensed, single = make_soft(factor=2), make_soft(factor=1)
    told = {"png": "a png export has no place for soft labels", "npz": "holds no soft labels: each stored image is"}
    told |= {"parquet": told["npz"], "webdataset": told["npz"], "pt": ""}
    for form, message in told.items():
        export(condensed, tmp_path / FORMS[form], form, stored=True)
        said = capsys.readouterr().err
        assert message in said
        assert bool(said) == bool(message)
    export(single, tmp_path / "single.npz", "npz", stored=True)
    assert capsys.readouterr().err == ""
    with np.load(tmp_path / "single.npz") as arrays:
        assert arrays["soft_labels"].shape == (6, 3)
