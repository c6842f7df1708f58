"""Files that list splits, beside folders of classes and beside files that list labels."""

from __future__ import annotations

import pytest
from lists_beside import FLAT, FOOD, labels, read, rows

from m3d_condense.tools.errors import UserError

LABELS = rows("name,label", "0.png,a", "1.png,b", "2.png,b", "3.png,a")


@pytest.mark.parametrize(
    "texts",
    [
        {"split.csv": rows("name,split", "0.png,train", "1.png,train", "2.png,test", "3.png,val")},
        {"split.tsv": rows("name\tis_test", "0\t0", "1\t0", "2\t1")},
        {"train.txt": rows("0.png", "1.png"), "test.txt": rows("2.png"), "val.txt": rows("3.png")},
        {"a/test.txt": rows("pictures/2"), "a/val.txt": rows("pictures/3")},
        {"train.csv": rows("name,label", "0.png,a", "1.png,b"), "test.csv": rows("name,label", "2.png,b")},
    ],
    ids=["a column", "a flag", "three lists", "without training", "with labels"],
)
def test_lists_of_splits_divide_what_another_list_labels(texts: dict[str, str]) -> None:
    found = read(FLAT, {"labels.csv": LABELS, **texts})
    assert labels(found) == {"train": ["a", "b"], "test": ["b"]}
    assert found.parts[1].files == ("pictures/2.png",)
    (kept,) = found.unused.items()
    names = ", ".join(texts if "train.csv" not in texts else ["labels.csv", *texts])
    assert kept in {
        ("in the validation split", 1),
        (f"not listed in {names}", 1),
        (f"not listed in {', '.join(texts)}", 1),
    }
    if "train.csv" not in texts:
        column = {"split.csv": " (column split)", "split.tsv": " (column is_test)"}.get(names, "")
        assert f"The splits are read from {', '.join(texts)}{column}" in found.notices


@pytest.mark.parametrize(
    ("paths", "texts", "message"),
    [
        (
            FLAT,
            {"test.txt": "1.png", "train.txt": "1.png"},
            "test.txt, train.txt: pictures/1.png is listed for two spl",
        ),
        (FLAT, {"test.txt": rows(*(f"{n}.png" for n in range(4)))}, "labels.csv, test.txt: no training rows, only of"),
        (FLAT, {"split.csv": rows("name,split", "0,train", "1,")}, "the column split tells the splits, but says noth"),
        (["a/0.png", "a/1.png", "test/2.png", "a/3.png"], {"train.txt": rows("2.png")}, "data: train.txt lists test/2"),
    ],
)
def test_lists_of_splits_that_contradict_are_refused_where_another_list_labels(
    paths: list[str], texts: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(paths, {"labels.csv": LABELS, **texts})


def test_a_list_for_testing_alone_divides_the_images_of_folders() -> None:
    found = read(FOOD, {"testing_list.txt": rows("pie/4", "cake/5"), "validation_list.txt": rows("pie/6")})
    assert {name: len(of) for name, of in labels(found).items()} == {"train": 5, "test": 2}
    assert found.unused == {"in the validation split": 1}
    found = read(FOOD, {"test.txt": rows(*(f"{number}.png" for number in range(8)))})
    assert list(labels(found)) == ["train"]
    assert "test.txt: not used, no image would be left for training" in found.notices


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test.txt", rows(*(f"{number}.png" for number in range(4, 60)))),
        ("test.csv", rows("path,size", *(f"{number}.png,{number}" for number in range(4, 60)))),
        (
            "all.csv",
            rows("path,split", *(f"{n}.png,{'test' if n > 3 else 'train'}" for n in (0, 1, *range(4, 58)))),
        ),
    ],
)
def test_a_list_of_splits_may_name_many_images_that_are_not_there(name: str, text: str) -> None:
    found = read(FOOD, {name: text})
    assert len(found.parts[1].files) == 4
    assert any(f"{name}: 5" in line and "rows without a picture left out" in line for line in found.notices)
    beside = {"labels.csv": rows("name,label", *(f"{n}.png,{'ab'[n % 2]}" for n in range(8)))}
    flat = read([f"{number}.png" for number in range(8)], {**beside, name: text})
    assert len(flat.parts[1].files) == 4
    assert any(f"{name}: 5" in line and "rows without a picture left out" in line for line in flat.notices)


def test_pictures_that_are_called_alike_are_named() -> None:
    twice = ["cars_train/1.png", "cars_train/2.png", "cars_test/1.png"]
    texts = {"labels.csv": rows("file,label", "1.png,a", "9.png,b")}
    with pytest.raises(UserError, match=r"the first says '1.png', as 2 images are called, .*: write which"):
        read(twice, texts)
    with pytest.raises(UserError, match=r"the first says '0.jpg', but there is pictures/0.png"):
        read(FLAT, {"labels.csv": rows("file,label", "0.jpg,a", "1.jpg,b")})


def test_numbers_of_rows_do_not_name_pictures_where_files_are_named() -> None:
    texts = {"labels.csv": rows("id,filename,label", "0,IMG_7.jpg,a", "1,IMG_8.jpg,b", "2,IMG_9.jpg,b")}
    with pytest.raises(UserError, match="filename names no image here, the first says 'IMG_7.jpg', but id does, which"):
        read(FLAT, texts)
    assert labels(read(FLAT, texts, file_column="id")) == {"train": ["a", "b", "b"]}


def test_numbers_of_which_some_are_names_of_pictures_list_none() -> None:
    found = read(FOOD, {"test.csv": rows("trial,score", *(f"{n},{n % 3}" for n in range(6, 60)))})
    assert list(labels(found)) == ["train"]
    assert "test.csv is not used: only 3 of its 54 rows name an image here, the first says '6'" in found.notices


def test_of_folders_only_the_images_that_a_list_names_for_training_are_trained_on() -> None:
    found = read(FOOD, {"train.txt": rows("pie/0", "cake/1", "pie/2", "pie/90")})
    assert labels(found) == {"train": ["cake", "pie", "pie"]}
    assert found.unused == {"not listed in train.txt": 5}
    assert {"The splits are read from train.txt", "train.txt: 1 rows without a picture left out"} <= set(found.notices)


def test_a_list_that_leaves_one_class_of_the_folders_is_refused() -> None:
    with pytest.raises(UserError, match=r"only one class \(pie\) in data"):
        read(FOOD, {"train.txt": rows("pie/0", "pie/2")})


def test_a_list_of_splits_whose_labels_are_not_those_of_the_folders_is_used_for_the_splits() -> None:
    text = rows("pie/4 x", "cake/5 y", "pie/6 y", "cake/7 x")
    found = read(FOOD, {"test.txt": text})
    assert len(found.parts[1].files) == 4
    assert any(
        line.startswith("test.txt says of the images what their folders do not, and the labels in it are not u")
        for line in found.notices
    )


def test_few_listed_images_are_all_that_is_used_of_folders() -> None:
    found = read(FOOD, {"train.txt": rows("pie/0", "cake/1"), "test.txt": rows("pie/2")})
    assert labels(found) == {"train": ["cake", "pie"], "test": ["pie"]}
    assert found.unused == {"not listed in train.txt, test.txt": 5}


def test_columns_of_lists_that_are_not_used_are_told() -> None:
    text = rows(",file,label,size,place", "0,0.png,a,3,x", "1,1.png,b,4,y")
    told = "Columns not used: one without a name, size, place (labels.csv)"
    assert told in read(FLAT, {"labels.csv": text}).notices
    splits = {"split.csv": rows("file,split,who", "0.png,train,x", "1.png,train,y", "2.png,test,z")}
    found = read(FLAT, {"labels.csv": LABELS, **splits})
    assert [line for line in found.notices if "Columns" in line] == ["Columns not used: who (split.csv)"]
    assert "Columns not used: who (split.csv)" in read(["a/0.png", "a/2.png", "b/1.png"], splits).notices
    paths = ["train/a/0.png", "train/b/0.png", "val/1.png", "val/2.png"]
    found = read(paths, {"val/labels.csv": rows("file,label,size", "1.png,a,7", "2.png,b,8")})
    assert "Columns not used: size (val/labels.csv)" in found.notices


def test_a_list_that_swaps_the_names_of_folders_contradicts_them() -> None:
    paths = ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png"]
    swapped = rows("file,label", "cat/0.png,dog", "cat/1.png,dog", "dog/2.png,cat", "dog/3.png,cat")
    with pytest.raises(UserError, match="the labels in labels.csv are not those of the folders in data"):
        read(paths, {"labels.csv": swapped})
    found = read(paths, {"labels.csv": swapped.replace("dog\n", "0\n").replace("cat\n", "1\n")})
    assert labels(found) == {"train": ["cat", "cat", "dog", "dog"]}


SIGNS = [f"Final_Training/Images/{k:05d}/00000_{n:05d}.png" for k in (0, 1) for n in range(2)]
TESTED = [f"Final_Test/Images/{n:05d}.png" for n in range(2)]
HEADER = "Filename;Width;Height;ClassId"


def test_labels_of_the_test_split_are_folders_as_lists_of_training_say() -> None:
    texts = {
        f"Final_Training/Images/{k:05d}/GT-{k:05d}.csv": rows(
            HEADER, *(f"00000_{n:05d}.png;29;{30 + n};{k}" for n in range(2))
        )
        for k in (0, 1)
    }
    tested = {"GT-final_test.csv": rows(HEADER, "00000.png;53;54;1", "00001.png;42;45;0")}
    found = read([*SIGNS, *TESTED], {**texts, **tested})
    assert labels(found) == {"train": ["00000"] * 2 + ["00001"] * 2, "test": ["00001", "00000"]}
    assert f"{', '.join(texts)}: the same classes as the folders, whose names are taken" in found.notices
    with pytest.raises(UserError, match=r"^GT-final_test\.csv lists classes that are not in the training split: 0, 1;"):
        read([*SIGNS, *TESTED], tested)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (["0", "0", "1", "1"], ["1", "0"], ["2", "1"]),  # numbers of classes from 0 on, of folders from 1 on
        (["0", "0", "1", "1"], ["2", "0"], None),
        (["x", "x", "y", "y"], ["2", "1"], ["2", "1"]),
        (["x", "x", "y", "y"], ["y", "x"], ["2", "1"]),
    ],
)
def test_labels_that_are_names_of_other_folders_are_those_that_lists_say(
    train: list[str], test: list[str], expected: list[str] | None
) -> None:
    paths = ["train/1/0.png", "train/1/1.png", "train/2/2.png", "train/2/3.png", "test/4.png", "test/5.png"]
    texts = {
        "train.csv": rows("id,label", *(f"{n},{label}" for n, label in enumerate(train))),
        "test.csv": rows("id,label", *(f"{n},{label}" for n, label in enumerate(test, 4))),
    }
    if expected is None:
        with pytest.raises(UserError, match="not in the training split: 2"):
            read(paths, texts)
    else:
        assert labels(read(paths, texts))["test"] == expected
