"""Columns of tables that tell the splits, as files and as tables of `datasets` have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import noise, png

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

PNGS = [png(number) for number in range(12)]
CAT_DOG = ["cat", "dog"] * 6
SPLITS = ["train"] * 6 + ["test"] * 4 + ["validation"] * 2


def write(path: Path, images: Any = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": PNGS if images is None else images, **columns}), path)
    return path


def numbers(data: ImageDataset) -> tuple[list[int], list[int]]:
    """Tell by their pixels which images are for training and which for testing."""
    known = {noise(4, 5, 3, seed=number).transpose(2, 0, 1).tobytes(): number for number in range(12)}
    train, test = ([known[image.numpy().tobytes()] for image in split.images] for split in (data.train, data.test))
    return sorted(train), sorted(test)


@pytest.mark.parametrize("kind", [int, float, bool])
def test_one_hot_columns_are_classes(tmp_path: Path, kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    hot = {name: [kind(row % 3 == number) for row in range(12)] for number, name in enumerate(["fish", "cat", "dog"])}
    arrays = [noise(4, 5, 3, seed=number) for number in range(12)]
    file = write(tmp_path / "a.parquet", **hot, id=list(range(12)), split=SPLITS)
    for data in (load(file), load(pd.DataFrame({"image": arrays, **hot, "id": range(12), "split": SPLITS}))):
        assert data.class_names == ("cat", "dog", "fish")
        assert data.train.labels.tolist() == [2, 0, 1, 2, 0, 1]
        assert data.test.labels.tolist() == [2, 0, 1, 2]
    assert "Columns not used: id" in capsys.readouterr().err


@pytest.mark.parametrize("other", [[1, 1, 0] * 4, [0] * 12, [None, 0, 1] * 4])
def test_columns_of_flags_that_are_not_one_hot_are_refused(tmp_path: Path, other: list[Any]) -> None:
    file = write(tmp_path / "a.parquet", cat=[1, 0, 0] * 4, dog=[0, 1, 0] * 4, fish=other)
    with pytest.raises(UserError, match="cannot tell the labels; give label_column one of: cat, dog, fish"):
        load(file)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split", SPLITS),
        ("Split", ["TRAIN"] * 6 + ["Test"] * 4 + ["val"] * 2),
        ("data_split", pa.array(SPLITS).dictionary_encode()),
        ("partition", pa.array(SPLITS, pa.large_string())),
        ("subset", ["training"] * 6 + ["testing"] * 4 + ["dev"] * 2),
        ("usage", SPLITS),
        ("split", [split.encode() for split in SPLITS]),
    ],
)
def test_a_column_of_splits_divides_a_table(
    tmp_path: Path, name: str, values: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "a.parquet", **{name: values}, species=CAT_DOG, place=[str(n) for n in range(12)])
    for data in (load(file), load(tmp_path)):
        assert data.class_names == ("cat", "dog")
        assert numbers(data) == (list(range(6)), [6, 7, 8, 9])
    told = capsys.readouterr().err
    assert f"The splits are read from the column {name}" in told
    assert "Columns not used: place" in told
    assert "The validation split is not used (2 rows)" in told


@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), (1.0, 0.0), ("1", "0"), ("True", "False")])
def test_columns_of_0_and_1_divide_a_table(tmp_path: Path, yes: Any, no: Any) -> None:
    is_train = [yes] * 8 + [no] * 4
    is_test = [no] * 8 + [yes] * 4
    for columns in ({"is_train": is_train}, {"is_test": is_test}, {"is_train": is_train, "is_test": is_test}):
        file = write(tmp_path / "a.parquet", label=CAT_DOG, **columns)
        assert numbers(load(file)) == (list(range(8)), [8, 9, 10, 11])


def test_validation_rows_serve_as_test_split_where_there_is_none(tmp_path: Path) -> None:
    assert numbers(load(write(tmp_path / "a.parquet", label=CAT_DOG, split=["train", "train", "val"] * 4))) == (
        [0, 1, 3, 4, 6, 7, 9, 10],
        [2, 5, 8, 11],
    )


def test_damaged_rows_of_a_divided_table_are_named_by_their_numbers_in_the_file(tmp_path: Path) -> None:
    images = [b"junk" if row == 7 else data for row, data in enumerate(PNGS)]
    with pytest.raises(UserError, match="row 7 of the test split"):
        load(write(tmp_path / "a.parquet", images, label=CAT_DOG, split=SPLITS))


def test_a_column_of_splits_over_several_files_that_agrees_with_their_names(tmp_path: Path) -> None:
    for name in ("train-0", "train-1"):
        write(tmp_path / f"{name}.parquet", PNGS[:6], label=CAT_DOG[:6], split=["train"] * 5 + ["valid"])
    write(tmp_path / "test.parquet", PNGS[6:], label=CAT_DOG[6:], split=["test"] * 6)
    train, test = numbers(load(tmp_path))
    assert (train, test) == (sorted([*range(5)] * 2), list(range(6, 12)))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            ["train", "test"] * 6,
            ["test"] * 12,
            "split says test in 6 rows of the train split, but the test split is an",
        ),
        (["train"] * 12, ["test", "train"] * 6, "split says train in 6 rows of the test split, but the train split is"),
        (["train", ""] * 6, None, "the train split: the column split tells the splits, but says nothing in 6 rows"),
        (["train", None] * 6, None, "but says nothing in 6 rows"),
        (["train", "extra"] * 6, None, "but says 'extra' in 6 rows"),
        ([0, 1] * 6, None, "but says '0', '1' in 12 rows"),
        (["test"] * 12, None, "no training rows: the column split says test in all of them"),
    ],
)
def test_columns_of_splits_that_say_too_little_or_contradict_are_refused(
    tmp_path: Path, train: list[Any], test: list[str] | None, message: str
) -> None:
    write(tmp_path / "train.parquet", label=CAT_DOG, split=train)
    if test is not None:
        write(tmp_path / "test.parquet", label=CAT_DOG, split=test)
    with pytest.raises(UserError, match=message):
        load(tmp_path)


def test_two_columns_that_name_different_splits_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", label=CAT_DOG, split=SPLITS, is_test=[0] * 12)
    with pytest.raises(UserError, match="the columns split and is_test name different splits for 4 rows"):
        load(file)


def test_a_column_that_is_named_for_labels_tells_no_splits(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", quality=["valid", "test"] * 6, more=CAT_DOG)
    assert load(file, label_column="quality").class_names == ("test", "valid")


@pytest.mark.parametrize("names", [["train", "test"], ["validation", "test"], ["train", "val"]])
def test_classes_of_a_column_of_labels_may_be_called_as_splits(names: list[str]) -> None:
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {"image": [{"bytes": png, "path": None} for png in PNGS], "label": [0, 1] * 6}
    assert load(datasets.Dataset.from_dict(rows, features=kinds)).class_names == tuple(names)


@pytest.mark.parametrize("streamed", [False, True])
def test_tables_of_datasets_are_divided_too(tmp_path: Path, streamed: bool) -> None:
    ids = datasets.ClassLabel(names=["train", "test"])
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string"), "split": ids})
    rows = {"image": [{"bytes": data, "path": None} for data in PNGS], "label": CAT_DOG, "split": [0, 0, 1] * 4}
    table = datasets.Dataset.from_dict(rows, features=features)
    expected = ([0, 1, 3, 4, 6, 7, 9, 10], [2, 5, 8, 11])
    assert numbers(load(table.to_iterable_dataset() if streamed else table)) == expected
    table.save_to_disk(str(tmp_path / "saved"))
    assert numbers(load(tmp_path / "saved")) == expected
    np.testing.assert_array_equal(load(table).test.labels.numpy(), [0, 1, 0, 1])


HOT = {"cat": [1, 0, 0] * 4, "dog": [0, 1, 0] * 4, "fish": [0, 0, 1] * 4}


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({"label": CAT_DOG}, {"Label": CAT_DOG}, "the test split has no column label of labels, .* but Label: give"),
        ({"label": CAT_DOG}, {"target": CAT_DOG}, "the test split has no column label of labels, .* but target: give"),
        (HOT, {k: HOT[k] for k in ("cat", "dog")}, "the test split lacks fish of the columns of labels that training"),
        (HOT, HOT | {"cat": [1, 1, 0] * 4}, "row 1 of the test split is not 1 in one of the columns cat, dog, fish"),
    ],
)
def test_a_test_split_whose_labels_are_called_otherwise_is_refused(
    tmp_path: Path, train: dict[str, Any], test: dict[str, Any], message: str
) -> None:
    arrays = [noise(4, 5, 3, seed=number) for number in range(12)]
    write(tmp_path / "data" / "train.parquet", **train)
    write(tmp_path / "data" / "test.parquet", **test)
    frames = {name: pd.DataFrame({"image": arrays, **table}) for name, table in (("train", train), ("test", test))}
    for data in (tmp_path / "data", (frames["train"], frames["test"])):
        with pytest.raises(UserError, match=message):
            load(data)


@pytest.mark.parametrize("test", [{"id": list(range(12))}, {name: [0] * 12 for name in HOT}, {"Label": [-1] * 12}])
def test_a_test_split_that_tells_no_labels_is_not_used(
    tmp_path: Path, test: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "data" / "train.parquet", **(HOT if "cat" in test else {"label": CAT_DOG}))
    write(tmp_path / "data" / "test.parquet", **test)
    assert len(load(tmp_path / "data").test) < 12
    assert "The test split has no labels, and is not used (12 rows)" in capsys.readouterr().err


def test_a_test_split_without_the_column_of_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.parquet", label=CAT_DOG)
    pq.write_table(pa.table({"img": PNGS, "label": CAT_DOG}), tmp_path / "data" / "test.parquet")
    with pytest.raises(UserError, match="the test split has no column image of images, .* but img, label: give"):
        load(tmp_path / "data")


def test_a_table_of_paths_is_pointed_to_a_folder() -> None:
    rows = {"path": [f"a/{number}.png" for number in range(12)], "label": CAT_DOG}
    for data in (pd.DataFrame(rows), datasets.Dataset.from_dict(rows)):
        with pytest.raises(UserError, match="path names files: write these rows as labels.csv into the folder"):
            load(data)


@pytest.mark.parametrize("images", [True, False])
def test_tables_in_memory_of_many_columns_are_read_as_often_as_those_of_few(
    monkeypatch: pytest.MonkeyPatch, images: bool
) -> None:
    read: list[list[str]] = []
    select = datasets.Dataset.select_columns
    monkeypatch.setattr(
        datasets.Dataset, "select_columns", lambda table, names: read.append(names) or select(table, names)
    )
    counts = []
    for columns in (3, 200):
        rows = {"label": CAT_DOG, **{f"pixel{number}": range(12) for number in range(columns)}}
        if images:
            load(pd.DataFrame({"image": [noise(4, 5, 3, seed=number) for number in range(12)], **rows}))
        else:
            with pytest.raises(UserError, match="no column of images"):
                load(pd.DataFrame(rows))
        counts.append(len(read))
        read.clear()
    assert counts[0] == counts[1] > 0
