from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from pictures import noise

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

IMAGES, LABELS = noise(10, 6, 6), np.arange(10) % 2
FEW, FEW_LABELS = noise(4, 6, 6, seed=1), np.arange(4) % 2


def saved(root: Path, **arrays: Any) -> Path:
    np.savez(root / "set.npz", **arrays)
    return root / "set.npz"


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("trainX", "trainY", "testX", "testY"),
        ("xtrain", "ytrain", "xtest", "ytest"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images_train", "labels_train", "images_test", "labels_test"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
        ("train_data", "train_targets", "test_data", "test_targets"),
        ("training-images", "training-labels", "testing-images", "testing-labels"),
        ("x_tr", "y_tr", "x_te", "y_te"),
        ("train_set_x", "train_set_y", "test_set_x", "test_set_y"),
        ("images", "labels", "images_test", "labels_test"),
        ("images", "labels"),
        ("Images", "Labels"),
        ("X", "y"),
        ("data", "target"),
        ("imgs", "label"),
    ],
)
@pytest.mark.parametrize("form", ["npz", "open", "dictionary"])
def test_arrays_are_told_by_their_names(
    tmp_path: Path, keys: tuple[str, ...], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(zip(keys, (IMAGES, LABELS, FEW, FEW_LABELS), strict=False))
    file = saved(tmp_path, **arrays)
    data = load({"npz": file, "open": np.load(file), "dictionary": arrays}[form])
    assert (len(data.train), len(data.test)) == ((10, 4) if len(keys) == 4 else (8, 2))
    assert data.class_names == ("0", "1")
    assert "Not used" not in capsys.readouterr().err
    if form == "npz":
        assert load(**json.loads(json.dumps(data.source))).fingerprint == data.fingerprint
    else:
        assert data.source["data"] is None


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev", "eval", "holdout"])
def test_another_split_serves_as_test_where_there_is_none(
    tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS, f"x_{word}": FEW, f"y_{word}": FEW_LABELS}
    data = load(saved(tmp_path, **arrays))
    assert torch.equal(data.test.images[:, 0], torch.from_numpy(FEW))
    assert f"x_{word} and y_{word} are the test split" in capsys.readouterr().err
    arrays |= {"x_test": FEW[:2], "y_test": FEW_LABELS[:2]}
    assert len(load(saved(tmp_path, **arrays)).test) == 2
    said = capsys.readouterr().err
    assert f"Not used of {tmp_path / 'set.npz'}: x_{word} (4 images), y_{word}" in said


def test_of_two_spare_splits_one_serves_as_test(capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS}
    arrays |= {"x_dev": FEW, "y_dev": FEW_LABELS, "x_valid": FEW[:2], "y_valid": FEW_LABELS[:2]}
    assert len(load(arrays).test) == 2
    said = capsys.readouterr().err
    assert "x_valid and y_valid are the test split" in said
    assert "Not used of the dictionary: x_dev (4 images), y_dev" in said


def test_a_closed_archive_is_refused(tmp_path: Path) -> None:
    with np.load(saved(tmp_path, x=IMAGES, y=LABELS)) as archive:
        pass
    with pytest.raises(UserError, match="cannot read . of the archive"):
        load(archive)


def test_what_is_not_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=FEW, ids=LABELS, mean=0.5)
    data = load(file)
    assert len(data.test) == 2
    said = capsys.readouterr().err
    assert f"Not used of {file}: x_test, ids, mean" in said
    assert "has no test split" in said


@pytest.mark.parametrize("key", ["class_names", "classes", "label_names", "target_names", "ClassNames"])
@pytest.mark.parametrize("names", [["cat", "dog"], [b"cat", b"dog"]])
def test_names_of_classes(tmp_path: Path, key: str, names: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"x": IMAGES, "y": LABELS, key: np.array(names)}
    for data in (load(saved(tmp_path, **arrays)), load({"x": IMAGES, "y": LABELS, key: names})):
        assert data.class_names == ("cat", "dog")
    by_name = {"x": IMAGES, "y": np.array(["dog", "cat"])[LABELS], key: names}
    assert load(by_name, test=(IMAGES, np.array(["dog", "cat"])[LABELS])).train.labels.tolist() == (1 - LABELS).tolist()
    assert "Not used" not in capsys.readouterr().err


def test_a_name_for_each_image_names_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, x=IMAGES, y=LABELS, names=np.array([f"{n}.png" for n in range(len(LABELS))]))
    assert load(file).class_names == ("0", "1")
    assert f"Not used of {file}: names" in capsys.readouterr().err
    assert load({"x": IMAGES, "y": LABELS, "names": ["a"] * 10, "classes": ["cat", "dog"]}).class_names == (
        "cat",
        "dog",
    )


def test_arrays_without_names_are_told_by_their_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for order in ((IMAGES, LABELS, FEW, FEW_LABELS), (IMAGES, FEW, LABELS, FEW_LABELS)):
        np.savez(tmp_path / "set.npz", *order)
        data = load(tmp_path / "set.npz")
        assert (len(data.train), len(data.test)) == (10, 4)
    np.savez(tmp_path / "set.npz", IMAGES, LABELS)
    assert len(load(tmp_path / "set.npz").train) == 8
    assert "arr_0 are taken for images, arr_1 for their labels" in capsys.readouterr().err
    np.savez(tmp_path / "set.npz", IMAGES, FEW_LABELS)
    with pytest.raises(UserError, match="holds arr_0, arr_1; name the arrays"):
        load(tmp_path / "set.npz")


def test_images_are_told_from_their_rows_of_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    bunch = {"data": IMAGES.reshape(10, -1), "target": LABELS, "images": IMAGES, "DESCR": "as sklearn has them"}
    assert load(bunch).size == (6, 6)
    assert "Not used of the dictionary: data, DESCR" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["npz", "mat", "dictionary", "tensors"])
@pytest.mark.parametrize(
    ("key", "values"),
    [("is_test", [0, 0, 1, 1] * 3), ("test_mask", [0, 0, 1, 1] * 3), ("split", ["train", "train", "test", "test"] * 3)],
)
def test_an_array_beside_the_images_tells_the_splits(
    tmp_path: Path, form: str, key: str, values: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = noise(12, 6, 6), np.arange(12) % 2
    arrays: Any = {"images": images, "labels": labels, key: np.array(values), "ids": np.arange(12), "few": np.arange(3)}
    if form == "tensors" and key == "is_test":
        arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if form == "mat":
        scipy.io.savemat(tmp_path / "set.mat", arrays | {"images": np.moveaxis(images, 0, -1)})
    data = load(saved(tmp_path, **arrays) if form == "npz" else tmp_path / "set.mat" if form == "mat" else arrays)
    for split, own in ((data.train, [0, 1, 4, 5, 8, 9]), (data.test, [2, 3, 6, 7, 10, 11])):
        assert torch.equal(split.images[:, 0], torch.from_numpy(images[own]))
        assert split.labels.tolist() == labels[own].tolist()
    said = capsys.readouterr().err
    assert f"The splits are read from {key}" in said
    assert ": ids, few" in said


def test_an_array_that_contradicts_the_splits_is_refused(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x_train": IMAGES, "y_train": LABELS, "x_test": FEW, "y_test": FEW_LABELS}
    with pytest.raises(UserError, match="is_test says test of 1 images of the train split"):
        load(arrays | {"is_test": [0] * 9 + [1]})
    assert len(load(arrays | {"is_test": [0] * 10}).test) == 4
    with pytest.raises(UserError, match="cannot read split of .* Python objects"):
        load(saved(tmp_path, x=IMAGES, y=LABELS, split=np.array(["train"] * 10, dtype=object)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures_of_cats": IMAGES}, "holds pictures_of_cats; name the arrays x_train, y_train"),
        ({"x_test": IMAGES, "y_test": LABELS}, "holds x_test, y_test; name the arrays"),
        ({"x_train": IMAGES, "y_test": LABELS}, "holds x_train, y_test; name the arrays"),
        ({}, "holds no arrays; name the arrays"),
        ({"x": IMAGES, "images": IMAGES, "y": LABELS}, "x and images may both be the images; keep one of them"),
        ({"x": IMAGES, "y": LABELS, "label": LABELS}, "y and label may both be the labels; keep one of them"),
        ({"x": IMAGES, "X": IMAGES, "y": LABELS}, "x and X may both be the images"),
        ({"x": IMAGES, "y": LABELS, "class_names": ["a", "b", "c"]}, "no training image of c"),
        ({"x": IMAGES, "y": LABELS, "class_names": ["a"]}, "labels that are none of the 1 class names: 1"),
    ],
)
def test_names_that_cannot_be_used(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    for given in (saved(tmp_path, **arrays), arrays):
        with pytest.raises(UserError, match=message):
            load(given)


def test_pickled_arrays_are_refused_only_where_they_are_needed(tmp_path: Path) -> None:
    objects = np.array([{"any": "thing"}] * 10, dtype=object)
    with pytest.raises(UserError, match=r"cannot read y of .*set.npz: it holds Python objects .*; save plain arrays"):
        load(saved(tmp_path, x=IMAGES, y=objects))
    with pytest.raises(UserError, match="cannot read y of the archive: it holds Python objects"):
        load(np.load(saved(tmp_path, x=IMAGES, y=objects)))
    assert load(saved(tmp_path, x=IMAGES, y=LABELS, notes=objects)).num_classes == 2


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    file = saved(tmp_path, x=IMAGES, y=LABELS)
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    with pytest.raises(UserError, match=r"cannot read .*set.npz: it is no .npz archive, or not whole"):
        load(file)
    middle = len(whole) // 3
    file.write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    with pytest.raises(UserError, match=r"cannot read x of .*set.npz: "):
        load(file)
    np.save(tmp_path / "images.npy", IMAGES)
    with pytest.raises(UserError, match=r"images.npy holds one array; save images and labels in one file"):
        load(tmp_path / "images.npy")


def test_columns_are_not_for_arrays(tmp_path: Path) -> None:
    for option in ("image_column", "label_column"):
        with pytest.raises(UserError, match=f"{option}=a: goes with tables, such as parquet files only"):
            load(saved(tmp_path, x=IMAGES, y=LABELS), **{option: "a"})


ROWS = np.arange(12)


@pytest.mark.parametrize(
    ("numbers", "train", "test"),
    [
        ({"train_idx": ROWS[:8], "test_idx": ROWS[8:]}, ROWS[:8], ROWS[8:]),
        ({"trainIndex": ROWS[:8] + 1, "valIndex": ROWS[8:] + 1}, ROWS[:8], ROWS[8:]),
        ({"test_ids": ROWS[[2, 5, 9]][None]}, np.delete(ROWS, [2, 5, 9]), ROWS[[2, 5, 9]]),
        ({"train_indices": ROWS[:6], "test_indices": ROWS[9:]}, ROWS[:6], ROWS[9:]),
    ],
)
def test_numbers_of_the_images_of_each_split_divide_them(numbers: dict[str, Any], train: Any, test: Any) -> None:
    images = noise(12, 4, 4)
    data = load({"images": images, "labels": ROWS % 2, **numbers})
    for split, rows in ((data.train, train), (data.test, test)):
        assert np.array_equal(split.images[:, 0].numpy(), images[rows])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"train_idx": ROWS[:9], "test_idx": ROWS[8:]}, "train_idx, test_idx name the image 8 for two splits"),
        ({"train_idx": ROWS[:9], "test_idx": ROWS + 9}, "number the images from 0 to 20, and there are 12"),
        ({"train_idx": ROWS - 1}, "number the images from -1 to 10"),
    ],
)
def test_numbers_of_images_that_cannot_be_are_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load({"images": noise(12, 4, 4), "labels": ROWS % 2, **numbers})
