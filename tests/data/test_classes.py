from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from pictures import folder
from PIL import Image

from m3d_condense.cli.main import main
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.classes import asked_for, numbers_of
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.load import load
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.source import source_of
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

FIVE = ("ant", "bee", "cat", "dog", "emu")


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def same(one: ImageDataset, other: ImageDataset) -> bool:
    return one.fingerprint == other.fingerprint and one.class_names == other.class_names


def as_folder(root: Path) -> Any:
    for split, count in (("train", 5), ("test", 2)):
        folder(root / split, FIVE, count=count)
    return root


def as_parquet(root: Path) -> Any:
    """The images of the folder, in tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split in ("train", "test"):
        files = sorted((root / split).rglob("*.png"))
        rows = {"image": [{"bytes": file.read_bytes(), "path": None} for file in files]}
        pq.write_table(pa.table(rows | {"label": [file.parent.name for file in files]}), root / f"{split}.parquet")
    return [root / f"{split}.parquet" for split in ("train", "test")]


def as_arrays(root: Path) -> Any:
    pairs = []
    for split in ("train", "test"):
        files = sorted((root / split).rglob("*.png"))
        pairs.append((np.stack([np.asarray(Image.open(file)) for file in files]), [file.parent.name for file in files]))
    return tuple(pairs)


def as_hub_table(root: Path) -> Any:
    found = {}
    for split in ("train", "test"):
        files = sorted((root / split).rglob("*.png"))
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(FIVE))})
        rows = {"image": [{"bytes": file.read_bytes(), "path": None} for file in files]}
        rows["label"] = [FIVE.index(file.parent.name) for file in files]
        found[split] = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict(found)


@pytest.mark.parametrize("form", [as_folder, as_parquet, as_arrays, as_hub_table])
def test_classes_are_picked_and_ordered_in_every_kind_of_data(tmp_path: Path, form: Any) -> None:
    root = as_folder(tmp_path / "data")
    data = root if form is as_folder else form(root)
    found, whole = load(data, classes=["dog", "ant", "bee"]), load(data)
    assert found.class_names == ("dog", "ant", "bee")
    assert (len(found.train), len(found.test)) == (15, 6)
    for split in ("train", "test"):
        part, all_of_it = getattr(found, split), getattr(whole, split)
        for number, name in enumerate(found.class_names):
            own, theirs = (some.images[some.labels == k] for some, k in ((part, number), (all_of_it, FIVE.index(name))))
            assert torch.equal(own, theirs)


def test_a_split_is_held_out_of_the_classes_that_are_picked(tmp_path: Path) -> None:
    found = load(folder(tmp_path / "data", FIVE, count=10), classes=["emu", "cat"])
    assert (len(found.train), len(found.test)) == (16, 4)
    assert found.test.labels.bincount().tolist() == [2, 2]


@pytest.mark.parametrize("form", [as_folder, as_parquet, as_arrays, as_hub_table])
def test_a_test_split_without_the_classes_that_are_picked_is_refused(tmp_path: Path, form: Any) -> None:
    root = as_folder(tmp_path / "data")
    for name in ("ant", "bee"):
        shutil.rmtree(root / "test" / name)
    data = root if form is as_folder else form(root)
    with pytest.raises(UserError, match="the test split has no image of the classes that are asked for, bee, ant"):
        load(data, classes=["bee", "ant"])


def test_images_of_other_classes_are_not_decoded(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", FIVE)
    (root / "cat" / "0.png").write_bytes(b"no picture at all")
    assert load(root, classes=["ant", "bee"]).num_classes == 2
    with pytest.raises(UserError, match=re.escape(str(Path("cat") / "0.png"))):
        load(root)


def test_what_is_wrong_with_folders_of_other_classes_does_not_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_quiet(False)
    root = as_folder(tmp_path / "data")
    (root / "train" / "fox").mkdir()
    folder(root / "test", ("gnu",), count=2)
    found = load(root, classes=["dog", "ant"])
    assert found.class_names == ("dog", "ant")
    assert "2 of classes that training lacks" in capsys.readouterr().err
    with pytest.raises(UserError, match="class folder .*fox holds no readable images"):
        load(root, classes=["dog", "ant", "Fox"])
    (root / "train" / "fox").rmdir()
    with pytest.raises(UserError, match=r"classes that are not in the training split: gnu \(2 images\)"):
        load(root, classes=["dog", "ant", "gnu"])
    with pytest.raises(UserError, match=r"classes that are not in the training split: gnu \(2 images\)"):
        load(root)


def test_a_part_of_imagenet_has_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    chosen = [one.wordnet for one in SUBSETS["imagenette"]]
    folder(tmp_path / "train", tuple(sorted(chosen)))
    folder(tmp_path / "val", ("n00000001", *sorted(chosen), "n99999999"))
    (tmp_path / "train" / "n00000001").mkdir()
    assert load(tmp_path, classes="imagenette").num_classes == 10


def test_how_many_are_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_quiet(False)
    load(folder(tmp_path / "data", FIVE), classes=["bee", "ant"])
    assert "2 of 5 classes are read: bee, ant\n" in capsys.readouterr().err


def test_the_order_is_another_data_set_and_the_same_order_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", FIVE)
    one, other, again = (load(root, classes=some) for some in (["ant", "bee"], ["bee", "ant"], ["ant", "bee"]))
    assert not same(one, other)
    assert same(one, again)
    assert same(load(root, classes=FIVE), load(root))


# What classes are called


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        (["b", "a"], ["a", "b", "c"], [1, 0]),
        (["gas pump", "FRENCH-HORN"], ["French_horn", "tench", "gas_pump"], [2, 0]),
        (["n02979186", "n01440764"], ["cassette_player", "tench"], [0, 1]),  # by WordNet id, where the data have names
        (["cassette player", "tench"], ["n01440764", "n02979186"], [1, 0]),  # and the other way round
        (["vizsla", "n03642806"], ["laptop, laptop computer", "vizsla, Hungarian pointer"], [1, 0]),  # as on the hub
        (["Cat", "cat"], ["cat", "Cat"], [1, 0]),  # a name as it is comes first
        (["e\u0301clair", "b"], ["b", "\u00e9clair"], [1, 0]),
    ],
)
def test_a_class_is_known_by_its_names(asked: list[str], names: list[str], found: list[int]) -> None:
    assert numbers_of(asked, names) == found


@pytest.mark.parametrize(
    ("asked", "names", "said"),
    [
        (
            ["ant", "beee"],
            ["ant", "bee"],
            "1 of the 2 are no class of the data, beee; there are ant, bee; did you mean bee",
        ),
        (list("uvwxyz"), ["ant"], "6 of the 6 are no class of the data, u, v, w, x, y and 1 more; there are ant$"),
        (["crane"], ["crane, bird", "crane, machine"], "crane may be crane, bird, crane, machine: write out which"),
        (["tench", "n01440764"], ["tench", "church"], "tench is listed twice, under two names"),
    ],
)
def test_classes_that_there_are_not_are_refused(asked: list[str], names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=f"^classes: {said}"):
        numbers_of(asked, names)


# How they are asked for


def test_a_file_lists_a_class_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\ufeff# what I want\n  dog \r\n\nant\n", encoding="utf-8")
    assert asked_for(tmp_path / "mine.txt") == ["dog", "ant"]
    root = folder(tmp_path / "data", FIVE)
    assert load(root, classes=str(tmp_path / "mine.txt")).class_names == ("dog", "ant")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"dog\nant\ndog\n", "dog is listed twice"),
        (b"\xff\xfe\x00", "cannot read .* as UTF-8 text"),
        (b"#" * (2**20 + 1), "larger than the 1048576 bytes"),
        (b"", "none is listed"),
    ],
)
def test_files_that_are_no_lists_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(UserError, match=said):
        asked_for(tmp_path / "mine.txt")


def test_what_is_no_list_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UserError, match=r"^classes=imagenete: neither a file .* imagewoof; did you mean imagene"):
        asked_for("imagenete")
    with pytest.raises(UserError, match="^classes=ant: neither .*; classes themselves are given as two or more names"):
        asked_for("ant")


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("imagenet-10", 10, "n02869837", "n01773797"),
        ("imagenet-100", 100, "n02869837", "n02090622"),
        ("imagenette", 10, "n01440764", "n03888257"),
        ("imagewoof", 10, "n02086240", "n02115641"),
    ],
)
def test_subsets_of_imagenet_are_picked_from_a_folder_of_wordnet_ids(
    tmp_path: Path, name: str, count: int, first: str, last: str
) -> None:
    ids = {one.wordnet for some in SUBSETS.values() for one in some}
    for split in ("train", "val"):
        folder(tmp_path / split, sorted(ids), count=1, shape=(4, 4, 3))
    found = load(tmp_path, classes=name).class_names
    assert (len(found), found[0], found[-1]) == (count, first, last)


def test_ids_ascend_as_wordnet_ids_do() -> None:
    """The ids of the hub are the ranks of the WordNet ids, so that one that is mistyped would stand out."""
    every = {one.id: one for some in SUBSETS.values() for one in some}
    assert len(every) == len({one.wordnet for one in every.values()}) == len({one.name for one in every.values()})
    assert sorted(every.values(), key=lambda one: one.id) == sorted(every.values(), key=lambda one: one.wordnet)
    assert all(re.fullmatch(r"n\d{8}", one.wordnet) for one in every.values())


# What remembers them


def test_a_set_finds_its_classes_again(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", FIVE, count=6)
    listed = tmp_path / "mine.txt"
    listed.write_text("dog\nant\n")
    data = load(root, classes=listed, size=8)
    condense(data, ipc=1, method="random", out=tmp_path / "set")
    listed.unlink()
    stored = CondensedSet.load(tmp_path / "set")
    assert stored.source["classes"] == ["dog", "ant"]
    assert same(source_of(stored), data)
    with pytest.raises(UserError, match=r"only in the data; data names other data, classes picks and orders"):
        source_of(stored, root)


def test_without_classes_a_source_says_nothing_of_them(tmp_path: Path) -> None:
    assert "classes" not in load(folder(tmp_path / "data", FIVE)).source


def test_decoded_images_are_kept_by_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("m3d_condense.data.kept.WORTH", 0.0)
    root = folder(tmp_path / "data", FIVE)
    for _ in range(2):
        assert load(root, classes=["bee", "ant"]).class_names == ("bee", "ant")
        assert load(root, classes=["bee", "cat"]).class_names == ("bee", "cat")
        assert load(root).class_names == FIVE


def test_loaded_data_take_no_classes_any_more(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is loaded already"):
        load(load(folder(tmp_path / "data", FIVE)), classes=["ant", "bee"])


# The command line


@pytest.mark.parametrize("given", [["mine.txt"], ["dog", "ant"]])
def test_flags_pick_classes(tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "data", FIVE, count=6)
    Path("mine.txt").write_text("dog\nant\n")
    asked = ["condense", "data", "--size", "8", "--ipc", "1", "--method", "random", "--out", "set", "--classes", *given]
    assert main(asked) == 0
    assert CondensedSet.load("set").class_names == ("dog", "ant")
    assert main(["condense", "--config", "set", "--out", "again"]) == 0
    assert CondensedSet.load("again").fingerprint == CondensedSet.load("set").fingerprint
    assert main(["condense", "data", "--classes", "nowhere.txt"]) == 2
    assert "--classes nowhere.txt: neither a file" in capsys.readouterr().err
