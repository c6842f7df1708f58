"""Labels that a file lists for pictures: pure functions of names and texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lists_beside import FLAT, FOOD, labels, read, rows

from m3d_condense.data.side_files import parse, side_files
from m3d_condense.data.tree import tree
from m3d_condense.tools.errors import UserError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", rows("file_name,label", "pictures/0.png,a", "pictures/1.png,b", "pictures/2.png,a")),
        ("pictures/metadata.csv", rows("file_name,label", "0.png,a", "1.png,b", "2.png,a")),
        (
            "pictures/metadata.jsonl",
            "".join(json.dumps({"file_name": f"{i}.png", "label": "aba"[i]}) + "\n" for i in range(3)),
        ),
        ("train.csv", rows("id,breed", "0,a", "1,b", "2,a")),
        ("labels.csv", rows("label;image", "a;0.png", "b;1.png", "a;2.png")),
        ("labels.tsv", rows("image\tclass", "0.png\ta", "1.png\tb", "2.png\ta")),
        ("labels.csv", rows("0.png,a", "1.png,b", "2.png,a")),
        ("labels.txt", rows("0.png a", "1.png b", "2.png a")),
        ("labels.csv", rows("path,a,b", "x/y/pictures/0.png,1,0", "x/y/pictures/1.png,0,1", "pictures\\2.png,1,0")),
        (
            "labels.csv",
            "\ufeff" + rows('"name","size","label"', '"0.png","9,5","a"', '"1.png","7","b"', '"2.png","3","a"'),
        ),
    ],
)
def test_labels_are_read_from_a_list_beside_the_images(name: str, text: str) -> None:
    found = read(FLAT, {name: text})
    assert labels(found) == {"train": ["a", "b", "a"]}
    assert found.parts[0].files == tuple(FLAT[:3])
    assert found.unused == {f"not listed in {name}": 1}
    assert f"Labels are read from {name}" in found.notices


def test_a_list_for_each_split() -> None:
    paths = ["train/0.png", "train/1.png", "test/0.png", "valid/0.png"]
    texts = {
        "train.csv": rows("id,label", "0,a", "1,b"),
        "test.csv": rows("id,label", "0,b"),
        "valid/labels.csv": rows("id,label", "0,a"),
    }
    found = read(paths, texts)
    assert labels(found) == {"train": ["a", "b"], "test": ["b"]}
    assert found.parts[1].files == ("test/0.png",)
    assert found.unused == {"in the validation split": 1}


ABC = ["0 ant", "1 bee", "2 cat", "3 elk", "4 fly"]
TWICE = [*ABC, "5 ant", "6 bee", "7 cat", "8 elk", "9 fly"]
LATER = ["10 ant", "11 bee", "12 cat", "13 elk", "14 fly"]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (rows(*TWICE), rows(*LATER)),
        (rows(*LATER), rows(*TWICE)),
        (rows(*TWICE).replace("bee", "honey bee"), rows(*LATER).replace("bee", "honey bee")),
        (rows(*TWICE), rows(*(f"{line}\t{n}" for n, line in enumerate(LATER))).replace(" ", "\t")),
        (rows(*(f"{n} {n % 5}" for n in range(10))), rows(*(f"{n} {n % 5}" for n in range(10, 15)))),
    ],
    ids=["words", "the training list", "several words", "another form", "numbers"],
)
def test_a_list_in_which_no_class_stands_twice_is_read_like_the_list_beside_it(train: str, test: str) -> None:
    found = read([f"pictures/{number}.png" for number in range(15)], {"train.txt": train, "test.txt": test})
    sizes = {"train": train.count("\n"), "test": test.count("\n")}
    assert {name: len(of) for name, of in labels(found).items()} == sizes
    assert set(labels(found)["train"]) == set(labels(found)["test"])


def test_a_list_that_cannot_be_read_is_named_beside_those_that_are() -> None:
    texts = {"train.txt": rows(*TWICE), "test.txt": rows("10 big ant", "11 black bee", "12 cat")}
    found = read([f"pictures/{number}.png" for number in range(13)], texts)
    assert any("Not used as labels: data/test.txt: row 1 has several words" in line for line in found.notices)


def test_the_split_may_stand_in_a_column() -> None:
    found = read(FLAT, {"birds.csv": rows("file,labels,data set", "0.png,a,train", "1.png,b,train", "2.png,b,valid")})
    assert labels(found) == {"train": ["a", "b"], "validation": ["b"]}
    assert "There is no labelled test split: the validation split is the test split" in found.notices


@pytest.mark.parametrize("column", ["is_test", "Is Testing", "isTest", "test", "test_set", "is_holdout", "Holdout"])
@pytest.mark.parametrize("bits", ["01", "nY", "ft", ["False", "True"], ["0.0", "1.0"], ["no", "Yes"]], ids=str)
def test_a_column_of_one_split_tells_it_by_0_and_1(column: str, bits: str) -> None:
    cells = [("0.png", bits[0], "a"), ("1.png", bits[0], "b"), ("2.png", bits[1], "b")]
    texts = {"labels.csv": rows(f"file,{column},label", *map(",".join, cells))}
    assert labels(read(FLAT, texts)) == {"train": ["a", "b"], "test": ["b"]}
    other = {"labels.csv": rows("file,is_train,label", *map(",".join, cells))}
    assert labels(read(FLAT, other)) == {"train": ["b"], "test": ["a", "b"]}


@pytest.mark.parametrize("column", ["valid", "is_valid", "Valid_Image", "isValid"])
def test_images_that_are_valid_may_be_held_out_or_sound(column: str) -> None:
    few = rows(f"file,{column},label", "0.png,0,a", "1.png,0,b", "2.png,1,b", "3.png,0,a")
    found = read(FLAT, {"labels.csv": few})
    assert labels(found) == {"train": ["a", "b", "a"], "validation": ["b"]}
    assert f"The splits are read from labels.csv (column {column})" in found.notices
    most = rows(f"file,{column},label", "0.png,1,a", "1.png,1,b", "2.png,1,b", "3.png,0,a")
    with pytest.raises(UserError, match=f"column {column} is true for 3 of 4 rows: .* Call it is_validation"):
        read(FLAT, {"labels.csv": most})
    plainly = most.replace(column, "is_validation")
    assert labels(read(FLAT, {"labels.csv": plainly})) == {"train": ["a"], "validation": ["a", "b", "b"]}
    beside = rows(f"file,split,{column},label", "0.png,train,0,a", "1.png,train,0,b", "2.png,val,1,b", "3.png,val,1,a")
    assert labels(read(FLAT, {"labels.csv": beside}))["train"] == ["a", "b"]


def test_columns_of_several_splits_agree() -> None:
    flags = rows("file,train,test,label", "0.png,1,0,a", "1.png,yes,no,b", "2.png,0,1,b", "3.png,0,0,a")
    found = read(FLAT, {"labels.csv": flags})
    assert labels(found) == {"train": ["a", "b"], "test": ["b"]}
    assert found.unused == {"in the validation split": 1}
    both = rows("file,split,is_test,label", "0.png,train,0,a", "1.png,train,0,b", "2.png,test,1,b", "3.png,val,0,a")
    assert labels(read(FLAT, {"labels.csv": both})) == {"train": ["a", "b"], "test": ["b"]}
    with pytest.raises(UserError, match="the columns train and test name different splits for 1 row"):
        read(FLAT, {"labels.csv": flags.replace("2.png,0", "2.png,1")})


@pytest.mark.parametrize("column", ["is_test", "test_set", "train_test_split", "split_id"])
def test_columns_called_after_splits_are_refused_where_their_values_are_not_understood(column: str) -> None:
    texts = {"labels.csv": rows(f"file,{column},label", "0.png,5,a", "1.png,5,b", "2.png,6,b")}
    with pytest.raises(UserError, match=f"the column {column} tells the splits, but says '5', '6' in 3 rows"):
        read(FLAT, texts)


def test_trains_among_vehicles_are_a_class() -> None:
    text = rows("file,car,train,bus", "0.png,1,0,0", "1.png,0,1,0", "2.png,0,0,1", "3.png,0,1,0")
    assert labels(read(FLAT, {"labels.csv": text})) == {"train": ["car", "train", "bus", "train"]}
    assert labels(read(FLAT, {"labels.csv": text.replace("0.png,1,0", "0.png,1,1")}, label_column="car")) == {
        "train": ["1", "0", "0", "0"]
    }


@pytest.mark.parametrize("value", ["", "extra", "unlabeled", "PublicTest"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("metadata.csv", "{},{},{}"),
        ("metadata.tsv", "{}\t{}\t{}"),
        ("metadata.jsonl", '{{"file": "{}", "split": "{}", "label": "{}"}}'),
    ],
)
def test_a_split_that_is_not_known_is_refused_with_its_rows(name: str, line: str, value: str) -> None:
    cells = [("0.png", value, "a"), ("1.png", "train", "b"), ("2.png", "test", "b")]
    header = [] if name.endswith("jsonl") else [line.format("file", "split", "label")]
    said = f"'{value}'" if value else "nothing"
    for paths in (FLAT, ["a/0.png", "b/1.png", "b/2.png"]):
        with pytest.raises(UserError, match=f"data/{name}: the column split tells the splits, but says {said} in 1 r"):
            read(paths, {name: rows(*header, *(line.format(*row) for row in cells))})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows("file,usage,label", "0.png,train,a", "1.png,test,b", "2.png,,b", "3.png,test,b"), "usage tells the spl"),
        (rows("file,is_test,label", "0.png,0,a", "1.png,1,b", "2.png,,b"), "is_test tells the splits, but says noth"),
        (rows("file,partition", "0.png,0", "1.png,0", "2.png,1"), "partition tells the splits, but says '0', '1' in 3"),
        (
            rows("file,split,is_test,label", "0.png,train,0,a", "1.png,train,1,b", "2.png,test,1,b"),
            "the columns split and is_test name different splits for 1 row",
        ),
    ],
)
def test_columns_of_splits_that_say_too_little_or_too_much_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(FLAT, {"list.csv": text})


def test_whole_numbers_are_the_same_classes_however_they_are_written() -> None:
    text = rows("file,label", "0.png,0", "1.png,1.0", "2.png,0.0", "3.png,1.")
    assert labels(read(FLAT, {"labels.csv": text})) == {"train": ["0", "1", "0", "1"]}
    by_split = {"train.csv": rows("file,label", "0.png,0", "1.png,1"), "test.csv": rows("file,label", "2.png,0.0")}
    assert labels(read(FLAT, by_split)) == {"train": ["0", "1"], "test": ["0"]}
    lines = rows(*(json.dumps({"file_name": f"{n}.png", "label": [0, 1.0][n % 2]}) for n in range(4)))
    assert labels(read(FLAT, {"metadata.jsonl": lines})) == {"train": ["0", "1", "0", "1"]}
    missing = text.replace("2.png,0.0", "2.png,nan")
    assert labels(read(FLAT, {"labels.csv": missing})) == {"train": ["0", "1", "nan", "1"]}
    names = text.replace("0.png,0", "0.png,none of them")
    assert labels(read(FLAT, {"labels.csv": names})) == {"train": ["none of them", "1.0", "0.0", "1."]}


def test_numbers_between_whole_ones_are_no_classes() -> None:
    text = rows("file,label,species", *(f"{n}.png,{n % 2}.5,{'ab'[n % 2]}" for n in range(4)))
    for column in (None, "label"):
        with pytest.raises(
            UserError, match=r"labels\.csv: the label 0\.5 in row 1 is no class: labels that are numbers"
        ):
            read(FLAT, {"labels.csv": text}, label_column=column)
    measured = text.replace("label", "weight")
    assert labels(read(FLAT, {"labels.csv": measured})) == {"train": ["a", "b", "a", "b"]}


def test_labels_that_look_like_splits_are_labels() -> None:
    lines = ["0.png,valid", "1.png,invalid", "2.png,valid", "3.png,valid"]
    for column in ("label", "quality"):
        assert labels(read(FLAT, {"x.csv": rows(f"file,{column}", *lines)})) == {
            "train": ["valid", "invalid", "valid", "valid"]
        }


def test_rows_without_a_picture_and_pictures_without_a_row_are_counted() -> None:
    found = read(FLAT, {"labels.csv": rows("id,label", "0,a", "1,b", "7,a", "8,b")})
    assert "labels.csv: 2 rows without a picture left out" in found.notices
    assert found.unused == {"not listed in labels.csv": 2}


@pytest.mark.parametrize(
    "name",
    ["sample_submission", "samplesubmission", "submissions", "submit", "SampleSubmit", "sub", "predictions"],
)
def test_what_is_to_be_submitted_is_no_list_of_labels(name: str) -> None:
    texts = {"train.csv": rows("id,label", "0,a", "1,b"), f"{name}.csv": rows("id,label", "0,b", "1,b")}
    assert side_files(tree([*FLAT, *texts], {".png"})) == ["train.csv"]


def test_tiny_imagenet_is_read_as_downloaded() -> None:
    train = [f"train/n0{k}/images/n0{k}_{i}.JPEG" for k in (1, 2) for i in range(2)]
    boxes = [f"train/n0{k}/n0{k}_boxes.txt" for k in (1, 2)]
    val = [f"val/images/val_{i}.JPEG" for i in range(2)]
    texts = {"val/val_annotations.txt": rows("val_0.JPEG\tn02\t0\t32\t44\t62", "val_1.JPEG\tn01\t52\t55\t57\t59")}
    found = read([*train, *boxes, *val, "test/images/test_0.JPEG", "words.txt", "wnids.txt"], texts)
    assert labels(found) == {"train": ["n01", "n01", "n02", "n02"], "validation": ["n02", "n01"]}
    assert found.classes == ("n01", "n02")
    assert found.unused == {"in test, which holds no class folders": 1, ".txt": 4}


def test_without_its_list_the_validation_of_tiny_imagenet_is_counted() -> None:
    found = read([*(f"train/n{k}/images/0.png" for k in (1, 2)), "val/images/0.png"], {})
    assert found.unused == {"in val, which holds no class folders": 1}


def solution(*cells: str) -> dict[str, str]:
    return {"LOC_val_solution.csv": rows("ImageId,PredictionString", *(f"val_{i},{c}" for i, c in enumerate(cells)))}


def test_imagenet_is_read_as_kaggle_has_it() -> None:
    train = [f"ILSVRC/Data/CLS-LOC/train/n0{k}/{i}.JPEG" for k in (1, 2) for i in range(2)]
    val = [f"ILSVRC/Data/CLS-LOC/val/val_{i}.JPEG" for i in range(2)]
    found = read([*train, *val], solution("n02 1 2 3 4 n02 5 6 7 8 ", "n01 1 2 3 4 "))
    assert labels(found) == {"train": ["n01", "n01", "n02", "n02"], "validation": ["n02", "n01"]}
    assert found.classes == ("n01", "n02")


@pytest.mark.parametrize("cell", ["n01 1 2 3 4 n02 5 6 7 8", "n01 1 2 3", "n01 1 2 3 x", "5 1 2 3 4"])
def test_cells_of_several_classes_or_of_other_numbers_are_not_cut(cell: str) -> None:
    train = [f"train/n0{k}/{i}.JPEG" for k in (1, 2) for i in range(2)]
    with pytest.raises(UserError, match=f"not in the training split: .*{cell}"):
        read([*train, "val/val_0.JPEG", "val/val_1.JPEG"], solution(cell, "n01 1 2 3 4"))


def test_folders_that_lists_take_for_splits_are_no_classes() -> None:
    train = [f"data_large/{name}/{i}.jpg" for name in ("a/airfield", "b/bakery/shop") for i in range(2)]
    val = [f"val_large/val_{i}.jpg" for i in range(2)]
    texts = {
        "places365_train_standard.txt": rows(*(f"{path[10:]} {i // 2}" for i, path in enumerate(train))),
        "places365_val.txt": rows("val_0.jpg 1", "val_1.jpg 0"),
    }
    found = read([*train, *val], texts)
    assert labels(found) == {"train": ["0", "0", "1", "1"], "validation": ["1", "0"]}
    assert found.parts[0].files == tuple(train)


@pytest.mark.parametrize(
    "texts",
    [
        {
            "food/meta/train.txt": rows("pie/0", "cake/1", "pie/2", "cake/3"),
            "food/meta/test.txt": rows("pie/4", "cake/5", "pie/6"),
        },
        {
            "files_train.txt": rows("0.png 1", "1.png 2", "2.png 1", "3.png 2"),
            "files_test.txt": rows("4.png 1", "5.png 2", "6.png 1"),
        },
        {"split.csv": rows("file,split", *(f"{n}.png,{'train' if n < 4 else 'test'}" for n in range(7)))},
    ],
    ids=["Food-101", "with labels", "a column"],
)
def test_lists_divide_the_images_of_folders_into_splits(texts: dict[str, str]) -> None:
    found = read(FOOD, texts)
    assert labels(found) == {"train": ["pie", "pie", "cake", "cake"], "test": ["pie", "pie", "cake"]} or labels(
        found
    ) == {
        "train": ["cake", "cake", "pie", "pie"],
        "test": ["cake", "pie", "pie"],
    }
    assert {path.rpartition("/")[2] for path in found.parts[1].files} == {"4.png", "5.png", "6.png"}
    assert found.unused == {f"not listed in {', '.join(texts)}": 1}
    column = " (column split)" if "split.csv" in texts else ""
    assert f"The splits are read from {', '.join(texts)}{column}" in found.notices


def test_lists_that_contradict_each_other_divide_nothing() -> None:
    texts = {"train1.txt": rows("0.png", "1.png", "2.png", "3.png"), "test2.txt": rows("2.png", "3.png", "4.png")}
    found = read(FOOD, texts)
    assert list(labels(found)) == ["train"]
    assert "train1.txt, test2.txt: not used, some images are in more than one split" in found.notices


def test_the_german_traffic_signs_are_read_as_downloaded() -> None:
    paths = [
        *(f"Train/{k}/{k}_{n}.png" for k in (2, 10) for n in range(2)),
        "Test/0.png",
        "Test/1.png",
        "Meta/2.png",
        "Meta/10.png",
    ]
    texts = {
        "Train.csv": rows(
            "Width,ClassId,Path", *(f"{27 + n},{k},Train/{k}/{k}_{n}.png" for k in (2, 10) for n in range(2))
        ),
        "Test.csv": rows("Width,ClassId,Path", "53,10,Test/0.png", "42,2,Test/1.png"),
        "Meta.csv": rows("Path,ClassId,ShapeId", "Meta/2.png,2,0", "Meta/10.png,10,1"),
    }
    found = read(paths, texts)
    assert labels(found) == {"train": ["10", "10", "2", "2"], "test": ["10", "2"]}
    assert found.classes == ("2", "10")
    assert found.unused["in Meta, beside the splits"] == 2


@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_celeba_is_read_as_downloaded_once_an_attribute_is_named(ending: str) -> None:
    paths = [f"img_align_celeba/img_align_celeba/{number:06d}.jpg" for number in range(1, 7)]
    attributes = [(1, -1, 1), (-1, -1, 1), (1, 1, -1), (-1, 1, -1), (1, -1, 1), (-1, 1, 1)]
    cells = [f"{number:06d}.jpg,{a},{b},{c}" for number, (a, b, c) in enumerate(attributes, 1)]
    splits = [f"{number:06d}.jpg,{split}" for number, split in enumerate("000122", 1)]
    texts = {
        "list_attr_celeba.csv": rows("image_id,Smiling,Young,No_Beard", *cells),
        "list_bbox_celeba.csv": rows("image_id,x_1,y_1,width,height", *(f"{n:06d}.jpg,{n},7,8,9" for n in range(1, 7))),
        "list_eval_partition.csv": rows("image_id,partition", *splits),
    }
    if ending == "txt":
        texts.pop("list_eval_partition.csv")
        texts["list_eval_partition.txt"] = rows(*splits).replace(",", " ")
    with pytest.raises(
        UserError, match=r"list_attr_celeba\.csv: cannot tell the labels; give label_column one of: Smil"
    ):
        read(paths, {name: text for name, text in texts.items() if "bbox" not in name})
    found = read(paths, texts, label_column="Smiling")
    assert labels(found) == {"train": ["1", "0", "1"], "test": ["1", "0"]}
    assert found.unused == {"in the validation split": 1, ".csv": 1}
    assert "Columns not used: Young, No_Beard (list_attr_celeba.csv)" in found.notices


def test_names_of_images_that_say_splits_are_told() -> None:
    paths = [f"faces/{split}_{number}.png" for split in ("train", "test") for number in range(4)]
    text = rows(*(f"{path[6:]} {number % 2}" for number, path in enumerate(paths)))
    said = (
        "The names of the images say test and train, which divides nothing: if these are splits, put each into a folder"
    )
    assert any(line.startswith(said) for line in read(paths, {"labels.txt": text}).notices)
    divided = read(paths, {"labels.txt": text, "test.txt": rows(*(path[6:] for path in paths[4:]))})
    assert labels(divided) == {"train": ["0", "1"] * 2, "test": ["0", "1"] * 2}
    one = read([path.replace("test_", "") for path in paths], {"labels.txt": text.replace("test_", "")})
    assert not any("divides nothing" in line for line in [*divided.notices, *one.notices])


def test_a_number_for_each_image_is_no_label() -> None:
    paths = [f"train/n0{k}/n0{k}_{n}.png" for k in (1, 2) for n in range(3)]
    text = rows(*(f"{path.removeprefix('train/').removesuffix('.png')} {row}" for row, path in enumerate(paths, 1)))
    assert labels(read(paths, {"sets/train_cls.txt": text})) == {"train": ["n01"] * 3 + ["n02"] * 3}


def test_a_list_that_agrees_with_the_folders_is_not_used() -> None:
    found = read(["a/0.png", "b/1.png"], {"labels.csv": rows("id,label", "0,7", "1,9")})
    assert labels(found) == {"train": ["a", "b"]}
    assert "labels.csv: the same classes as the folders, whose names are taken" in found.notices


@pytest.mark.parametrize(
    ("paths", "texts", "message"),
    [
        (
            ["a/0.png", "a/1.png", "b/2.png"],
            {"labels.csv": rows("id,label", "0,x", "1,y", "2,y")},
            "the labels in labels.csv are not those of the folders in data: which are meant",
        ),
        (
            ["test/0.png", "test/1.png"],
            {"train.csv": rows("file,label", "test/0.png,a", "test/1.png,b")},
            "lists test/0.png for training, but its folder is one for testing",
        ),
        (FLAT, {"labels.csv": rows("file,label", "0.png,a", "1.png,b", "0.png,b")}, "0.png has two labels, a and b"),
        (
            FLAT,
            {"x.csv": rows("file,kind", "0.png,a", "1.png,b", "0.png,b", "1.png,a")},
            "0.png has two labels, a and b",
        ),
        (
            FLAT,
            {"train.csv": rows("id,label", "0,a", "1,b"), "test.csv": rows("id,label", "0,a", "2,b")},
            "pictures/0.png is listed for two splits",
        ),
        (FLAT, {"labels.csv": rows("id,label", "0,a", "1,b,c", "2,b")}, "row 2 has more or fewer cells"),
        (
            ["HAM_part_1/0.png", "HAM_part_2/1.png"],
            {"meta.csv": rows("image_id,dx,sex", "0,nv,m", "1,mel,f")},
            r"meta\.csv: cannot tell the labels; give label_column one of: dx, sex",
        ),
        (
            ["a/0.png", "b/0.png", "1.png", "2.png"],
            {"labels.csv": rows("id,label", "1,x", "2,y")},
            "lists 2 images outside of the class folders in data, 1.png the first",
        ),
        (FLAT, {"test.csv": rows("id,label", "0,a", "1,b")}, r"test\.csv: no training rows, only of the test split"),
    ],
)
def test_lists_that_can_be_read_in_two_ways_are_refused(paths: list[str], texts: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(paths, texts)


CSV = {"labels.csv": rows("file,label", "0.png,a", "1.png,b", "2.png,a", "3.png,b")}


@pytest.mark.parametrize("name", ["train.txt", "annotations.txt"])
@pytest.mark.parametrize("classes", ["babb", "aaaa", "xxyy", "xxxx"])
def test_lists_without_names_of_columns_that_contradict_the_labels_are_refused(name: str, classes: str) -> None:
    text = rows(*(f"{number}.png {label}" for number, label in enumerate(classes)))
    with pytest.raises(UserError, match=f"data/{name}: pictures/..png has two labels, . and .; give"):
        read(FLAT, {**CSV, name: text})
    with pytest.raises(UserError, match="has two labels"):
        read(FLAT, {name: text, "labels.txt": rows("0.png a", "1.png b", "2.png a", "3.png b")})


def test_labels_under_other_names_in_a_second_list_are_the_same_classes() -> None:
    texts = {"train.txt": rows("0.png 1", "1.png 2", "3.png 2"), "test.txt": rows("2.png 1")}
    found = read(FLAT, {**texts, **CSV})
    assert labels(found) == {"train": ["a", "b", "b"], "test": ["a"]}
    assert "train.txt: the same classes as in labels.csv, whose names are taken" in found.notices
    with pytest.raises(UserError, match="two labels, a and 2"):
        read(FLAT, {**CSV, "train.txt": texts["train.txt"], "test.txt": rows("2.png 2")})


def test_another_column_than_that_of_the_labels_contradicts_nothing() -> None:
    authors = {"people.csv": rows("file,author", "0.png,x", "1.png,x", "2.png,y", "3.png,x")}
    for first in (CSV, {"train.txt": rows("0.png a", "1.png b", "2.png a", "3.png b")}):
        assert labels(read(FLAT, {**authors, **first})) == {"train": ["a", "b", "a", "b"]}
    with pytest.raises(UserError, match="two labels"):
        read(FLAT, {**authors, "x.csv": rows("file,kind", "0.png,a", "1.png,b", "2.png,a", "3.png,b")})


def test_a_list_of_other_things_than_labels_is_not_used() -> None:
    paths = [f"{name}/{name}{number}.png" for name in ("cat", "dog") for number in range(2)]
    authors = rows("file,author", *(f"{path},{author}" for path, author in zip(paths, "xyxy", strict=True)))
    for text in (authors, authors + authors.replace("x", "z").removeprefix("file,author\n")):
        found = read(paths, {"people.csv": text})
        assert labels(found) == {"train": ["cat", "cat", "dog", "dog"]}
        assert found.unused == {".csv": 1}
        assert any("people.csv" in line for line in found.notices)


def test_a_list_of_pictures_without_known_labels_is_named_with_its_columns() -> None:
    paths = [f"{split}/{split}{number}.png" for split in ("train", "test") for number in range(8)]
    texts = {"train.csv": rows("Image,Id", *(f"train{number}.png,w_{number % 2}" for number in range(8)))}
    said = "look like splits, .*; train.csv names images, but it is not clear which column holds their labels: give "
    with pytest.raises(UserError, match=f"{said}label_column one of: Id$"):
        read(paths, texts)
    with pytest.raises(UserError, match="named wrong; train.csv names images, .* one of: Id$"):
        read(paths, texts, label_column="wrong")
    assert labels(read(paths, texts, label_column="Id")) == {"train": ["w_0", "w_1"] * 4}
    lines = [{"file_name": path, "objects": {"category": [1, 2]}} for path in paths]
    with pytest.raises(UserError, match="or list their labels in a labels.csv$"):
        read(paths, {"metadata.jsonl": rows(*map(json.dumps, lines))})


def test_a_column_that_is_named_comes_before_the_folders() -> None:
    paths, texts = ["p1/0.png", "p2/1.png"], {"meta.csv": rows("image_id,dx,sex", "0,nv,m", "1,mel,f")}
    assert labels(read(paths, texts, label_column="dx")) == {"train": ["nv", "mel"]}
    assert any("cannot tell the labels" in line for line in read(paths, texts).notices)
    with pytest.raises(UserError, match="no file in data lists the images in a column named wrong"):
        read(paths, texts, label_column="wrong")


def test_the_test_list_must_have_the_classes_of_training() -> None:
    paths = ["train/a/0.png", "train/b/0.png", "val/1.png", "val/2.png"]
    with pytest.raises(UserError, match=r"lists classes that are not in the training split: 5"):
        read(paths, {"val/labels.txt": rows("1.png a", "2.png 5")})


def test_names_that_are_not_unique_find_no_picture() -> None:
    paths = ["x/0.png", "x/y/0.png", "x/1.png", "x/2.png"]
    found = read(paths, {"labels.csv": rows("id,label", "0,a", "1,a", "2,b")})
    assert found.parts[0].files == ("x/1.png", "x/2.png")
    assert "labels.csv: 1 rows without a picture left out" in found.notices


@given(st.text(), st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "labels.txt"]))
def test_any_text_is_a_table_or_none(text: str, name: str) -> None:
    table = parse(name, text)
    assert len({len(values) for values in table.columns.values()}) <= 1


@pytest.mark.parametrize("text", ['{"file_name": ' + "[" * 100_000, "\0", '{"a": 1}\n[1]\n', "", '"', "{}"])
def test_damaged_tables_are_no_lists(text: str) -> None:
    for name in ("metadata.jsonl", "labels.csv"):
        assert read(["a/0.png", "b/0.png"], {name: text}).classes == ("a", "b")
