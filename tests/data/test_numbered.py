from __future__ import annotations

from pathlib import Path

import pytest
from pictures import folder

from m3d_condense.data.load import load
from m3d_condense.data.numbered import with_names
from m3d_condense.tools.errors import UserError

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Rock Wren")


def birds(root: Path, numbers: list[str]) -> tuple[Path, dict[str, int]]:
    """Write pictures and lists in the form of CUB-200; return the folder, and what it says of each picture."""
    folder(root / "images", CLASSES, count=4)
    paths = [f"{name}/{i}.png" for name in CLASSES for i in range(4)]
    said = {path: int(i % 4 < 3 - (i > 7)) for i, path in enumerate(paths)}  # three for training, two of the last class
    texts = {
        "images.txt": paths,
        "train_test_split.txt": said.values(),
        "image_class_labels.txt": [CLASSES.index(path.split("/")[0]) + 1 for path in paths],
        "bounding_boxes.txt": ["1.0 2.0 3.0 4.0"] * len(paths),
    }
    for name, values in texts.items():
        rows = (f"{number} {value}\n" for number, value in zip(numbers, values, strict=True))
        (root / name).write_text("".join(rows))
    (root / "classes.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(CLASSES, 1)))
    return root, said


@pytest.mark.parametrize("form", ["{}", "0000139e-21dc-4d0c-bfe1-4cae3c85c8{:02}"])
def test_cub_200_and_nabirds_are_split_as_they_say(tmp_path: Path, form: str) -> None:
    root, said = birds(tmp_path / "CUB", [form.format(i) for i in range(1, 13)])
    data = load(root)
    assert data.class_names == CLASSES
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [0, 1, 2, 2]
    assert sum(said.values()) == len(data.train)


def test_numbers_become_the_names_of_pictures_and_other_texts_stay() -> None:
    texts = {
        "birds/images.txt": "7 a/one bird.jpg\n8 b/2.jpg\n",
        "birds/train_test_split.txt": "8 0\n7 1\n",
        "birds/image_class_labels.txt": "7 1\n8 2\n",
        "labels.csv": "name,label\n",
    }
    split = "b/2.jpg\ttest\na/one bird.jpg\ttrain\n"
    assert with_names(texts, "data") == {"birds/train_test_split.txt": split, "labels.csv": "name,label\n"}


def test_splits_that_are_said_otherwise_stay() -> None:
    texts = {"images.txt": "7 a/1.jpg\n", "train_test_split.txt": "a/1.jpg train\n"}
    assert with_names(texts, "data") == {"train_test_split.txt": "a/1.jpg train\n"}


def test_a_number_without_a_picture_is_refused(tmp_path: Path) -> None:
    root, _ = birds(tmp_path / "CUB", [str(i) for i in range(1, 13)])
    (root / "train_test_split.txt").write_text("1 1\n99 0\n")
    with pytest.raises(UserError, match=r"CUB/train_test_split\.txt: 99 is no number of images\.txt"):
        load(root)
