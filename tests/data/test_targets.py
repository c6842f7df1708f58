from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import noise

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

IMAGES = noise(12, 6, 6)
CYCLE = np.arange(12) % 3


def read(labels: Any) -> tuple[list[int], tuple[str, ...]]:
    """Return the numbers and names that labels are read as."""
    data = load((IMAGES, labels), test=(IMAGES, labels))
    return data.train.labels.tolist(), data.class_names


@pytest.mark.parametrize(
    "labels",
    [
        CYCLE,
        CYCLE[:, None],  # as MedMNIST and Keras have them
        CYCLE[None],  # as MATLAB has them
        CYCLE.tolist(),
        CYCLE[:, None].tolist(),
        CYCLE.astype(np.float32),
        CYCLE.astype(np.uint8),
        CYCLE.astype(object),
        np.eye(3)[CYCLE],
        np.eye(3, dtype=bool)[CYCLE],
        np.eye(3, dtype=int)[CYCLE].tolist(),
        torch.from_numpy(CYCLE),
        torch.from_numpy(CYCLE)[:, None].float(),
        torch.nn.functional.one_hot(torch.from_numpy(CYCLE)),
        [torch.tensor(value) for value in CYCLE],
        [np.array([value]) for value in CYCLE],
        pd.Series(CYCLE),
        pd.Series(CYCLE, dtype="category"),
    ],
)
def test_integers_in_any_form_are_the_same_labels(labels: Any) -> None:
    assert read(labels) == (CYCLE.tolist(), ("0", "1", "2"))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["ant", "bee", "cat"])[CYCLE],
        np.array([b"ant", b"bee", b"cat"])[CYCLE],
        np.array(["ant", "bee", "cat"], dtype=object)[CYCLE],
        np.array(["ant", "bee", "cat"])[CYCLE][:, None],
        [["ant", "bee", "cat"][k] for k in CYCLE],
        [[b"ant", b"bee", b"cat"][k] for k in CYCLE],
        pd.Series(["ant", "bee", "cat"] * 4),
        pd.get_dummies(pd.Series(["ant", "bee", "cat"] * 4)),
    ],
)
def test_names_in_any_form_are_the_same_labels(labels: Any) -> None:
    assert read(labels) == (CYCLE.tolist(), ("ant", "bee", "cat"))


@pytest.mark.parametrize("dtype", [object, str, int, np.float64])
def test_classes_stand_in_the_order_of_their_numbers(dtype: Any) -> None:
    numbers = np.array([10, 9, 2])[CYCLE]
    assert read(numbers.astype(int).astype(dtype)) == ((2 - CYCLE).tolist(), ("2", "9", "10"))


@pytest.mark.parametrize(
    "labels",
    [
        [*CYCLE[:-2].tolist(), None, None],
        [*CYCLE[:-2].tolist(), float("nan"), None],
        [*CYCLE[:-2].tolist(), -1, -1],
        np.where(np.arange(12) < 10, CYCLE, np.nan),
        np.where(np.arange(12) < 10, CYCLE, -1)[:, None],
        pd.array([*CYCLE[:-2].tolist(), pd.NA, pd.NA], dtype="Int64"),
        np.eye(3)[CYCLE] * (np.arange(12) < 10)[:, None],
        [*(["ant", "bee", "cat"][k] for k in CYCLE[:-2]), float("nan"), "nan"],
        np.array([*(["ant", "bee", "cat"][k] for k in CYCLE[:-2]), "", "NaN"]),
    ],
)
def test_rows_without_a_label_are_left_out(labels: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data = load((IMAGES, labels), test=(IMAGES, CYCLE if not isinstance(labels[0], str) else labels))
    assert data.num_classes == 3
    assert data.train.labels.tolist() == CYCLE[:10].tolist()
    assert torch.equal(data.train.images[:, 0], torch.from_numpy(IMAGES[:10]))
    assert "2 rows of the train split without a label left out, the first is row 10" in capsys.readouterr().err


def test_a_test_split_without_labels_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    data = load((IMAGES, CYCLE), test=(IMAGES, [-1] * 12))
    assert (len(data.train), len(data.test)) == (9, 3)
    assert "None of the 12 rows of the test split has a label" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of the 12 rows of the train split has a label"):
        load((IMAGES, [None] * 12))


def test_one_hot_labels_of_splits_have_the_same_columns(capsys: pytest.CaptureFixture[str]) -> None:
    some = np.array([1, 2] * 6)  # a test split without class 0, which pd.get_dummies gives no column
    narrow, wide = pd.get_dummies(pd.Series(some)), pd.get_dummies(pd.Series(CYCLE))
    for labels in (narrow.to_numpy(), np.eye(4)[some]):
        with pytest.raises(UserError, match=f"one-hot labels of 3 and {labels.shape[1]} columns: which column"):
            load((IMAGES, wide.to_numpy()), test=(IMAGES, labels))
    assert load((IMAGES, wide), test=(IMAGES, narrow)).test.labels.tolist() == some.tolist()  # by their names
    assert load((IMAGES, np.eye(3)[CYCLE]), test=(IMAGES, np.eye(3)[some])).test.labels.tolist() == some.tolist()


def test_a_label_far_from_the_others_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    load((IMAGES, np.where(np.arange(12) < 9, CYCLE, 255)))
    assert "The label 255 stands far from the others" in capsys.readouterr().err


def test_columns_without_an_image_are_no_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert read(np.eye(10)[CYCLE * 2])[1] == ("0", "2", "4")
    assert capsys.readouterr().err.count("7 of the 10 columns of one-hot labels have no image") == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((12, 3), 1 / 3), "several labels an image, or soft ones"),
        (np.eye(3)[CYCLE] * 0.9 + 0.05, "several labels an image, or soft ones"),
        (np.ones((12, 3)), "name several classes in row 0"),
        (np.stack([CYCLE, CYCLE], axis=1), r"labels of shape \(12, 2\) with numbers beside 0 and 1"),
        (np.full((12, 2), "ant"), r"labels of shape \(12, 2\) that are no numbers"),
        (np.zeros((12, 2, 2)), r"12 images, but labels of shape \(12, 2, 2\)"),
        (CYCLE[:-1], r"12 images, but labels of shape \(11,\)"),
        (np.eye(3)[CYCLE].T, r"labels of shape \(3, 12\): give their transpose"),
        ([[0], [1, 2]] * 6, "the label of row 0 of the train split is a list"),
        (CYCLE + 0.5, "the label 0.5 in row 0 of the train split is no class"),
        (0, "12 images, but labels of type int"),
        (None, "12 images, but labels of type NoneType"),
        ({0, 1}, "12 images, but labels of type set"),
        (np.ma.masked_equal(CYCLE, 2), "a masked array: put numbers where it has none"),
        (IMAGES, r"12 images, but labels of shape \(12, 6, 6\)"),
    ],
)
def test_labels_that_cannot_be_used(labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load((IMAGES, labels))
