"""Which parquet files are which split: pure functions of their paths."""

from __future__ import annotations

import pytest

from m3d_condense.data.shards import assigned, is_parquet
from m3d_condense.tools.errors import UserError


@pytest.mark.parametrize(
    ("paths", "train", "tests"),
    [
        (["train.parquet", "test.parquet"], ["train.parquet"], {"test": ["test.parquet"]}),
        (["a-Train-0.parquet", "a-Test-0.parquet"], ["a-Train-0.parquet"], {"test": ["a-Test-0.parquet"]}),
        (
            ["train/0.parquet", "train/1.parquet", "dev/0.parquet"],
            ["train/0.parquet", "train/1.parquet"],
            {"dev": ["dev/0.parquet"]},
        ),
        (["data/train-0.parquet", "data/val-0.parquet"], ["data/train-0.parquet"], {"val": ["data/val-0.parquet"]}),
        (["default/partial-train/0.parquet"], ["default/partial-train/0.parquet"], {}),
        (["0000.parquet", "0001.parquet"], ["0000.parquet", "0001.parquet"], {}),
        (["train.parquet/part-0.parquet"], ["train.parquet/part-0.parquet"], {}),
        (["train/test-tube.parquet", "train/a.parquet"], ["train/a.parquet"], {"test": ["train/test-tube.parquet"]}),
        (
            ["train.parquet", "eval.parquet", "test.parquet", "validation.parquet", "holdout.parquet"],
            ["train.parquet"],
            {
                "test": ["test.parquet"],
                "eval": ["eval.parquet"],
                "holdout": ["holdout.parquet"],
                "validation": ["validation.parquet"],
            },
        ),
    ],
)
def test_parquet_files_are_assigned_to_splits_by_name(
    paths: list[str], train: list[str], tests: dict[str, list[str]]
) -> None:
    found = assigned(paths, "data")
    assert (found.train, found.tests, found.unused) == (train, tests, [])
    assert list(found.tests) == list(tests)


def test_files_beside_the_splits_are_not_used() -> None:
    assert assigned(["train.parquet", "extra.parquet"], "data").unused == ["extra.parquet"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["data.parquet", "test.parquet"],
            r"data has no training split: test\.parquet by name for testing, and data\.parquet",
        ),
        (
            ["test.parquet"],
            r"data has no training split: test\.parquet by name for testing; call the training files train",
        ),
        (["test.parquet", "val.parquet"], "data has no training split"),
        (["coarse/train.parquet", "fine/train.parquet"], "in the folders coarse, fine: one data set, or several"),
        (["a/0.parquet", "b/0.parquet"], "in the folders a, b: one data set, or several"),
        (
            ["label=cat/0.parquet", "label=dog/0.parquet"],
            "folders such as label=.*, whose names are values of a column",
        ),
    ],
)
def test_parquet_that_can_be_read_in_two_ways_is_refused(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        assigned(paths, "data")


def test_the_files_of_a_test_split_may_be_trained_on_where_they_are_given_one_by_one() -> None:
    paths = ["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"]
    assert assigned(paths, "the list", given=True).train == paths
    for more in ("data.parquet", "val.parquet"):
        with pytest.raises(UserError, match="no training split"):
            assigned([*paths, more], "the list", given=True)


@pytest.mark.parametrize(
    "more",
    [
        "train (1).parquet",
        "train - Copy.parquet",
        "Copy of train.parquet",
        "Train copy 2.parquet",
        "train.parquet.gzip",
        "train.pq",
        "train/train.parquet",
    ],
)
def test_a_copy_of_a_file_is_refused(more: str) -> None:
    with pytest.raises(UserError, match="looks like a copy of train.parquet"):
        assigned(["train.parquet", "test.parquet", more], "data")


HALVES = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


@pytest.mark.parametrize(
    "paths",
    [
        ["train-00000-of-00001.parquet", *HALVES],
        [f"data/{name}" for name in ("train-00000-of-00001.parquet", *HALVES)],
        ["train-00000-of-00001-a0b1.parquet", "train-00000-of-00001-c2d3.parquet"],
        ["train.parquet", "train_small.parquet"],
        ["train.parquet", "train-mini.parquet", "test.parquet"],
        [*HALVES, "train_small-00000-of-00001.parquet"],
        ["train.parquet", "test.parquet", "test_small.parquet"],
        ["train.parquet", "trainval.parquet", "test.parquet"],
        ["train.parquet", "training.parquet"],
        ["train.parquet", *HALVES],
        ["train.parquet", "train/0000.parquet"],
        ["train.parquet", "train_64x64.parquet"],
        ["train.parquet", "train_full.parquet"],
        ["fold0_train.parquet", "fold1_train.parquet", "fold0_test.parquet"],
    ],
)
def test_files_that_may_hold_the_same_rows_are_refused_unless_all_are_given(paths: list[str]) -> None:
    with pytest.raises(UserError, match="do they hold the same rows, as two uploads or a part beside the whole do"):
        assigned(paths, "data")
    found = assigned(paths, "the list", given=True)
    assert sorted([*found.train, *found.tests.get("test", [])]) == sorted(paths)


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["train_cat.parquet", "train_dog.parquet"], 1),
        (["train_original.parquet", "train_resized.parquet", "test.parquet"], 1),
        (["train_32x32.parquet", "train_64x64.parquet", "test.parquet"], 1),
        (["train_10pct.parquet", "train_100pct.parquet"], 1),
        (["train_v1.parquet", "train_v2.parquet"], 1),
        (["train-1.parquet", "train-2.parquet", "train_part3.parquet"], 0),
        (["train-00000-of-00002-a0b1.parquet", "train-00001-of-00002-c2d3.parquet"], 0),
        (["train/cat.parquet", "train/dog.parquet"], 0),
    ],
)
def test_files_of_several_names_are_one_split_which_is_told(paths: list[str], told: int) -> None:
    found = assigned(paths, "data")
    assert found.train == sorted(path for path in paths if not path.startswith("test"))
    assert found.notices == [f"One split is read from {', '.join(found.train)}"] * told


def test_files_of_a_split_that_is_not_used_need_not_be_told_apart() -> None:
    found = assigned(["train.parquet", "test.parquet", "val.parquet", "val_small.parquet"], "data")
    assert list(found.tests) == ["test", "val"]


def test_files_that_are_missing_from_a_numbered_row_are_told() -> None:
    found = assigned(["train-00000-of-00003.parquet", "test-00000-of-00001.parquet"], "data")
    assert found.notices == ["train-00001-of-00003 and 1 more of 3 files is not there"]


def test_files_may_be_counted_from_one_on() -> None:
    assert assigned(["train-00001-of-00002.parquet", "train-00002-of-00002.parquet"], "data").notices == []


def test_parquet_is_known_by_its_ending() -> None:
    assert all(map(is_parquet, ("a.parquet", "A.PARQUET", "b.parq", "c.pq", "df.parquet.gzip", "d.snappy.parquet")))
    assert not any(map(is_parquet, ("._a.parquet", "parquet", "a.parquet.zip")))
