from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from pictures import moving, noise, png
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

IMAGES, LABELS = noise(12, 8, 8, 3), np.arange(12) % 3
FEW, FEW_LABELS = noise(6, 8, 8, 3, seed=1), np.arange(6) % 3


class Items(Dataset[Any]):
    """Like torchvision's: items of (image, label), and the names of the classes."""

    def __init__(self, images: Any = IMAGES, change: Callable[[Any], Any] = Image.fromarray) -> None:
        self.images, self.change = images, change
        self.classes: Any = ["ant", "bee", "cat"]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.change(self.images[index]), index % 3


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(Items())


def to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1) / 255


def expected(data: Any, test: bool = True) -> None:
    """Check that data are the images of this file, and its test images."""
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, pixels)
    assert data.train.labels.tolist() == LABELS.tolist()
    if test:
        assert torch.equal(data.test.images, torch.from_numpy(FEW).permute(0, 3, 1, 2))


# pairs of arrays


@pytest.mark.parametrize(
    "data",
    [
        ((IMAGES, LABELS), (FEW, FEW_LABELS)),  # what Keras' load_data() gives
        ((IMAGES, LABELS[:, None]), (FEW, FEW_LABELS[:, None])),
        [[IMAGES, LABELS], [FEW, FEW_LABELS]],
        ((IMAGES, np.eye(3)[LABELS]), (FEW, np.eye(3)[FEW_LABELS])),
        ((torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), (torch.from_numpy(FEW), torch.from_numpy(FEW_LABELS))),
        ((list(IMAGES), LABELS.tolist()), (list(FEW), FEW_LABELS.tolist())),
        (([Image.fromarray(x) for x in IMAGES], LABELS), ([Image.fromarray(x) for x in FEW], FEW_LABELS)),
        ((IMAGES.tolist(), LABELS.tolist()), (FEW.tolist(), FEW_LABELS.tolist())),
        {"train": (IMAGES, LABELS), "test": (FEW, FEW_LABELS)},
        {"train": {"x": IMAGES, "y": LABELS}, "test": {"x": FEW, "y": FEW_LABELS}},
        (Items(), Items(FEW)),
        {"training": Items(), "test": Items(FEW)},
        (list(zip(IMAGES, LABELS.tolist(), strict=True)), list(zip(FEW, FEW_LABELS.tolist(), strict=True))),
    ],
)
def test_training_and_test_together(data: Any) -> None:
    expected(load(data))


def test_two_images_are_no_two_splits() -> None:
    two = [noise(8, 8), noise(8, 8, seed=1)]
    for labels in ([0, 1], [[0], [1]], np.eye(2), np.eye(2).tolist(), [np.array([1, 0]), np.array([0, 1])], ["a", "b"]):
        assert len(load((two, labels), test=(two, labels)).train) == 2
    assert len(load([(two[0], 0), (two[1], 1)], test=(two, [0, 1])).train) == 2


@pytest.mark.parametrize("test", [(FEW, FEW_LABELS), [FEW, FEW_LABELS], Items(FEW), {"x": FEW, "y": FEW_LABELS}])
def test_a_test_split_by_itself(test: Any) -> None:
    expected(load((IMAGES, LABELS), test=test) if not isinstance(test, Items) else load(Items(), test=test))


def test_a_dictionary_of_splits_names_what_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    expected(load({"train": (IMAGES, LABELS), "test": (FEW, FEW_LABELS), "dev": (FEW, FEW_LABELS)}))
    assert "Not used: dev (6 images)" in capsys.readouterr().err
    expected(load({"train": (IMAGES, LABELS), "validation": (FEW, FEW_LABELS)}))
    assert "There is no test split: validation is the test split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (((IMAGES, LABELS), (IMAGES, LABELS), (IMAGES, LABELS)), "3 splits: give two"),
        ((IMAGES, LABELS, FEW, FEW_LABELS), r"4 parts: give .*\(\(images, labels\), \(images, labels\)\)"),
        ((IMAGES, FEW, LABELS, FEW_LABELS), "4 parts: give"),
        ((IMAGES,), "1 parts: give"),
        ([], "0 parts: give"),
        (IMAGES, "data of type ndarray: give"),
        (torch.from_numpy(IMAGES), "data of type Tensor: give"),
        (7, "data of type int: give"),
        (None, "data of type NoneType: give .*arrays must be given again"),
        (object(), "data of type object: give"),
        ((IMAGES, FEW), r"12 images, but labels of shape \(6, 8, 8, 3\)"),
        ({"test": (IMAGES, LABELS)}, "no training split among test; name it train"),
        ({"train": (IMAGES, LABELS), "mean": 3}, "holds train, mean; name the arrays"),
        (DataLoader(Items()), "a DataLoader gives batches.*: give its data set"),
        (Stream(), "only iterated has no number of images: give a list of its items"),
        (Items(IMAGES[:0]), "the Items is empty"),
        (TensorDataset(torch.from_numpy(IMAGES)), r"item 0 of the TensorDataset has 1 parts; give \(image, label\)"),
        (TensorDataset(*[torch.from_numpy(IMAGES)] * 3), "item 0 of the TensorDataset has 3 parts"),
        (Items(change=lambda image: image.tolist()[0][0][0]), r"image 0 of shape \(\)"),
        ([{"image": IMAGES[0], "name": "a"}] * 5, "5 parts: give"),
        (Subset([{"image": IMAGES[0], "name": "a"}], [0]), "item 0 of the Subset holds image, name; give an image and"),
        (Subset([IMAGES[0]], [3]), "item 0 of the Subset cannot be read: IndexError"),
        (Subset([IMAGES[0]], [0]), r"item 0 of the Subset is a ndarray; give \(image, label\)"),
    ],
)
def test_data_in_memory_that_cannot_be_used(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(data)


def test_two_test_splits_are_refused() -> None:
    with pytest.raises(UserError, match="two test splits"):
        load(((IMAGES, LABELS), (FEW, FEW_LABELS)), test=(FEW, FEW_LABELS))
    with pytest.raises(UserError, match="two test splits"):
        load({"x_train": IMAGES, "y_train": LABELS, "x_test": FEW, "y_test": FEW_LABELS}, test=(FEW, FEW_LABELS))
    with pytest.raises(UserError, match="goes with data in memory"):
        load("digits", test=(FEW, FEW_LABELS))


# torch


@pytest.mark.parametrize(
    "change",
    [Image.fromarray, to_tensor, lambda x: torch.from_numpy(x).permute(2, 0, 1), lambda x: x, lambda x: x / 255],
    ids=["pictures", "floats", "bytes", "arrays", "float arrays"],
)
def test_a_torch_data_set(change: Callable[[Any], Any]) -> None:
    data = load(Items(change=change), test=Items(FEW, change))
    expected(data)
    assert (data.name, data.class_names, data.source["data"]) == ("items", ("ant", "bee", "cat"), None)


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ({"classes": np.array(["ant", "bee", "cat"])}, ("ant", "bee", "cat")),
        ({"classes": np.array(["ant", "bee", "cat"], dtype=object)}, ("ant", "bee", "cat")),
        ({"classes": [("ant", "Formica"), ("bee", "Apis"), ("cat",)]}, ("ant", "bee", "cat")),
        ({"classes": [("crane", "bird"), ("crane", "machine"), ("cat",)]}, ("crane", "crane 2", "cat")),
        ({"class_to_idx": {"cat": 2, "ant": 0, "emmet": 0, "bee": np.int64(1)}}, ("ant", "bee", "cat")),
        ({"classes": 3, "class_to_idx": {"ant": 0, "bee": 1, "cat": 2}}, ("ant", "bee", "cat")),
    ],
)
def test_names_of_classes_of_a_torch_data_set(
    attributes: Any, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    data = Items()
    del data.classes
    vars(data).update(attributes)
    for given in (data, Subset(data, range(12)), ConcatDataset([data, data])):
        assert load(given).class_names == names
    assert "no list of names" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "attributes",
    [
        {"classes": 3},
        {"classes": {"ant", "bee", "cat"}},
        {"classes": [0, 1, 2]},
        {"class_to_idx": {"ant": 1, "bee": 2, "cat": 3}},
        {"class_to_idx": {"ant": [0], "bee": [1], "cat": [2]}},
    ],
)
def test_classes_of_a_torch_data_set_that_are_no_names_are_told(
    attributes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Items()
    del data.classes
    vars(data).update(attributes)
    assert load(data).class_names == ("0", "1", "2")
    assert (
        f"The {next(iter(attributes))} of the Items are no list of names: the classes are called as"
        in capsys.readouterr().err
    )


def test_parts_and_joined_torch_data_sets_keep_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert load(Subset(Items(), range(12))).class_names == ("ant", "bee", "cat")
    assert load(ConcatDataset([Items(), Items(FEW)])).class_names == ("ant", "bee", "cat")
    some = load(Subset(Items(), [0, 2, 3, 5, 6, 8]))
    assert some.class_names == ("ant", "cat")
    assert "1 of 3 classes have no image and are left out: bee" in capsys.readouterr().err
    with pytest.raises(UserError, match="no training image of bee"):
        load((Subset(Items(), [0, 2, 3, 5]), Items()))


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["bee", "ant", "cat"], "ant, bee, cat, … and bee, ant, cat, …"), (["ant", "bee"], "… bee, … and … bee, cat, …")],
)
def test_joined_torch_data_sets_of_other_names_are_refused(names: list[str], shown: str) -> None:
    other = Items(FEW)
    other.classes = names
    for data in (ConcatDataset([Items(), other]), Subset(ConcatDataset([Items(), Subset(other, [0, 1])]), range(14))):
        with pytest.raises(UserError, match="the parts of the ConcatDataset differ in their class names: " + shown):
            load(data)


def test_tensor_data_sets_have_numbers_for_names() -> None:
    data = load(TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)))
    assert data.class_names == ("0", "1", "2")


def test_images_that_change_at_random_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    load(Items(change=lambda image: generator.permutation(image)))
    assert "The Items changes its images at random: each is taken as it came once" in capsys.readouterr().err
    load(Items())
    assert "at random" not in capsys.readouterr().err


def test_normalised_items_are_refused() -> None:
    with pytest.raises(UserError, match=r"the floats of image 0 range from .*standardised"):
        load(Items(change=lambda image: (to_tensor(image) - 0.5) / 0.2))


def test_items_of_differing_sizes_take_a_size() -> None:
    images = [noise(8 + row % 3, 9, 3, seed=row) for row in range(12)]
    with pytest.raises(UserError, match="the images differ in size"):
        load(Items(images))
    assert load(Items(images), size=8).size == (8, 8)


def test_training_and_test_of_other_names_are_refused() -> None:
    other = Items(FEW)
    other.classes = ["bee", "ant", "cat"]
    with pytest.raises(UserError, match="differ in their class names"):
        load((Items(), other))


def test_lists_of_items() -> None:
    items: list[Any] = list(zip(IMAGES, LABELS.tolist(), strict=True))
    expected(load(items, test=(FEW, FEW_LABELS)))
    named = [{"image": Image.fromarray(image), "label": label} for image, label in items]
    expected(load(named, test=(FEW, FEW_LABELS)))


WHERE = ["train"] * 8 + ["test"] * 4


@pytest.mark.parametrize(
    ("key", "values", "counts"),
    [
        ("split", WHERE, (8, 4)),
        ("is_test", [0] * 8 + [1] * 4, (8, 4)),
        ("is_test", torch.tensor([False] * 8 + [True] * 4), (8, 4)),
        ("split", [b"train"] * 8 + [b"valid"] * 4, (8, 4)),
        ("split", ["train"] * 7 + ["val"] * 2 + ["test"] * 3, (7, 3)),
        ("split", ["train"] * 12, (9, 3)),  # a fifth of each class is held out
    ],
)
def test_the_keys_of_items_tell_the_splits(
    key: str, values: Any, counts: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = zip(IMAGES, LABELS.tolist(), values, strict=True)
    items = [
        {"image": image, "label": label, key: value, "path": f"{n}.png"} for n, (image, label, value) in enumerate(rows)
    ]
    for data in (load(items), load(Subset(items, range(12)))):
        assert (len(data.train), len(data.test)) == counts
        if counts != (9, 3):
            assert torch.equal(data.train.images, torch.from_numpy(IMAGES[: counts[0]]).permute(0, 3, 1, 2))
            assert torch.equal(data.test.images, torch.from_numpy(IMAGES[-counts[1] :]).permute(0, 3, 1, 2))
    said = capsys.readouterr().err
    assert "Columns not used: path" in said
    assert (f"The splits are read from {key}" in said) == (counts != (9, 3))
    assert ("The validation split is not used (2 images)" in said) == (counts == (7, 3))


def test_the_keys_of_items_that_contradict_the_splits_are_refused() -> None:
    items = [{"image": image, "label": n % 3, "split": WHERE[n]} for n, image in enumerate(IMAGES)]
    few: list[Any] = list(zip(FEW, FEW_LABELS.tolist(), strict=True))
    for data, message in (
        ((items, few), "split says test of 4 images of the train split, but the test split is given by itself"),
        ((few, items), "split says train of 8 images of the test split, but the train split is given by itself"),
        (items[8:], "no image is for training: split says test of all of them"),
        ([*items, items[0] | {"split": "?"}], "the list: the column split tells the splits, but says '\\?' in 1 row"),
    ):
        with pytest.raises(UserError, match=message):
            load(data)
    expected(load((items[:8] + [item | {"split": "train"} for item in items[8:]], few)))


# Hugging Face


def table(images: Any = IMAGES, labels: Any = LABELS) -> datasets.Dataset:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["ant", "bee", "cat"]),
            "id": datasets.Value("int64"),
        }
    )
    columns = {"image": [Image.fromarray(image) for image in images], "label": labels, "id": range(len(images))}
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize(
    "data",
    [
        datasets.DatasetDict(train=table(), test=table(FEW, FEW_LABELS)),
        {"train": table(), "test": table(FEW, FEW_LABELS)},
        (table(), table(FEW, FEW_LABELS)),
        datasets.DatasetDict(train=table(), validation=table(FEW, FEW_LABELS)),
        datasets.IterableDatasetDict(
            train=table().to_iterable_dataset(), test=table(FEW, FEW_LABELS).to_iterable_dataset()
        ),
        datasets.DatasetDict(train=table(), test=table(FEW, FEW_LABELS)).with_format("torch"),
    ],
    ids=["splits", "dictionary", "pair", "validation", "stream", "torch"],
)
def test_hugging_face_splits(data: Any) -> None:
    read = load(data)
    expected(read)
    assert (read.class_names, read.source["data"]) == (("ant", "bee", "cat"), None)


def test_one_hugging_face_table() -> None:
    expected(load(table(), test=table(FEW, FEW_LABELS)))
    data = load(table())
    assert (data.name, len(data.train), len(data.test)) == ("dataset", 9, 3)
    with pytest.raises(UserError, match="not of the type of the data"):
        load(table(), test=(FEW, FEW_LABELS))
    with pytest.raises(UserError, match="two test splits"):
        load((table(), table()), test=table())


def test_hugging_face_classes_without_images_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    some = table().filter(lambda row: row["label"] != 1)
    assert load(some).class_names == ("ant", "cat")
    assert "1 of 3 classes have no image and are left out: bee" in capsys.readouterr().err


def test_pil_images_of_several_frames_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = moving(tmp_path / "a.tif")
    images = [Image.open(file) if number in (3, 5) else Image.fromarray(noise(6, 8, 3)) for number in range(10)]
    images[5].seek(1)
    labels = [number % 2 for number in range(10)]
    said = "2 of 10 images have several frames or pages, as image 3: the frame that each is at is used"
    for given in ((images, labels), list(zip(images, labels, strict=True))):
        data = load(given, test=([noise(6, 8, 3)] * 2, [0, 1]))
        assert capsys.readouterr().err.count(said) == 1
        for number, seed in ((3, 7), (5, 8)):
            assert np.array_equal(data.train.images[number].permute(1, 2, 0), noise(6, 8, 3, seed=seed))
    assert images[5].tell() == 1


@pytest.mark.parametrize("kind", ["bytes", "pil", "arrays", "lists"])
def test_frames_are_read_as_hugging_face_tables(kind: str) -> None:
    shown = {
        "bytes": lambda image: png(int(image[0, 0, 0])),
        "pil": Image.fromarray,
        "arrays": lambda image: image[..., 0],
        "lists": lambda image: image[..., 0].tolist(),
    }[kind]
    frames = [
        pd.DataFrame({"image": [shown(image) for image in images], "label": labels}, index=range(3, 3 + len(labels)))
        for images, labels in ((IMAGES, LABELS), (FEW, FEW_LABELS))
    ]
    given = [datasets.Dataset.from_dict(frame.to_dict("list")) for frame in frames]
    wanted = load(tuple(given)).fingerprint
    assert load(tuple(frames)).fingerprint == load({"train": frames[0], "test": frames[1]}).fingerprint == wanted
    assert load(frames[0], test=frames[1]).fingerprint == wanted
    arrow = [one.with_format("arrow")[:] for one in given]
    if kind != "pil":
        assert load(tuple(arrow)).fingerprint == wanted


def test_frames_that_cannot_be_read_are_told() -> None:
    frame = pd.DataFrame({"image": [object()] * 4, "label": [0, 1] * 2})
    with pytest.raises(UserError, match="cannot read the DataFrame"):
        load(frame)
    with pytest.raises(UserError, match="two columns called image"):
        load(pd.concat([frame, frame], axis=1))


def test_a_stream_of_unknown_columns_is_named() -> None:
    rows = [{"image": Image.fromarray(noise(4, 4, 3, seed=n)), "label": n % 2} for n in range(4)]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    with pytest.raises(UserError, match="the train split is a stream whose columns are not known"):
        load(stream)
