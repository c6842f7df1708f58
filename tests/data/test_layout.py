"""The layout of a folder is a pure function of its listing: these tests touch no disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_condense.data.layout import Layout, pictures_layout
from m3d_condense.data.pruning import pruned
from m3d_condense.data.tree import Folder, tree
from m3d_condense.data.words import (
    copied_name,
    is_aside,
    is_hidden,
    is_numbered_part,
    is_system_folder,
    split_name,
)
from m3d_condense.tools.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg"}
TWO = ("ant", "bee")


def images(*folders: str, count: int = 2) -> list[str]:
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def classes(*splits: str, names: Sequence[str] = TWO) -> list[str]:
    return images(*(f"{split}/{name}" for split in splits for name in names))


def read(paths: Sequence[str], texts: dict[str, str] | None = None, **options: Any) -> Layout:
    folder, unused = pruned(tree([*paths, *(texts or {})], ENDINGS), "data")
    found = pictures_layout(folder, texts or {}, shown="data", **options)
    return Layout(parts=found.parts, classes=found.classes, notices=found.notices, unused=found.unused + +unused)


def parts(layout: Layout) -> dict[str, list[str]]:
    """The classes of each split."""
    return {part.name: sorted(set(part.labels)) for part in layout.parts}


# our own results


@pytest.mark.parametrize(
    "results",
    [
        ["runs/photos-m3d-ipc10/condensed.json", "runs/photos-m3d-ipc10/preview.png"],
        ["runs/compare/comparison.json", "runs/compare/sets/m3d/condensed.json", "runs/compare/sets/m3d/preview.png"],
        ["runs/study/study.json", "runs/study/cells/a.json", "runs/study/sets/a/condensed.json"],
        ["runs/photos.checkpoint"],
        ["runs/photos.metrics.jsonl", "runs/photos.preview.png", "runs/photos.timetable.json", "runs/.photos.m3d-lock"],
        ["runs/.photos.01234567.partial/preview.png", "runs/.photos.89abcdef.replaced/preview.png"],
        ["out/deep/down/condensed.json", "out/deep/down/preview.png", "out/.DS_Store"],
        ["runs/"],
        ["ant/mine/condensed.json", "ant/mine/preview.png"],
    ],
)
def test_our_own_results_are_never_data(results: list[str]) -> None:
    found = read([*images(*TWO), *results])
    assert parts(found) == {"train": ["ant", "bee"]}
    assert len(found.parts[0].files) == 4
    assert found.unused.total() == len([path for path in results if not path.endswith("/")])
    assert all("m3d's own results" in words or words == "hidden" for words in found.unused)


def test_a_condensed_set_is_no_data_set() -> None:
    with pytest.raises(UserError, match="data is a condensed set: give the data it was condensed from"):
        read(["condensed.json", "preview.png", "images.safetensors"])
    with pytest.raises(UserError, match="data holds results of m3d only"):
        read(["runs/a/condensed.json", "runs/a/preview.png"])


def test_a_class_with_a_file_of_our_name_among_its_images_stays_a_class() -> None:
    assert parts(read([*images(*TWO), "ant/comparison.json"])) == {"train": ["ant", "bee"]}


# splits


@pytest.mark.parametrize(
    "train", ["train", "Training", "TRAIN_SET", "training-data", "trainset", "trn", "train_images"]
)
@pytest.mark.parametrize(
    "test", ["test", "Testing", "test_set", "test1", "eval", "Evaluation", "holdout", "held-out", "val", "Valid", "dev"]
)
def test_splits_are_known_by_many_names(train: str, test: str) -> None:
    found = read(classes(train, test))
    assert [sorted(set(part.labels)) for part in found.parts] == [["ant", "bee"], ["ant", "bee"]]
    assert all(path.startswith(f"{train}/") for path in found.parts[0].files)


@pytest.mark.parametrize(
    "paths",
    [
        classes("training_set/training_set", "test_set/test_set"),
        classes("archive/archive/train", "archive/archive/test"),
        [*classes("data/train/train", "data/test/test"), "data/readme.md", "license.txt"],
        classes("seg_train/seg_train", "seg_test/seg_test"),
        classes("train/images", "test/images"),
    ],
)
def test_folders_around_the_data_are_entered(paths: list[str]) -> None:
    assert list(parts(read(paths)).values()) == [["ant", "bee"]] * 2


def test_an_archive_in_a_folder_of_its_own_name_is_entered_and_told() -> None:
    found = read(classes("photos/photos"))
    assert parts(found) == {"train": ["ant", "bee"]}
    assert "The folders in data/photos/photos are read" in found.notices


def test_of_three_splits_the_test_split_comes_before_validation() -> None:
    found = read(classes("Training", "Validation", "Evaluation"))
    assert list(parts(found)) == ["train", "evaluation"]
    assert found.unused == {"in the split Validation": 4}


@pytest.mark.parametrize("test", ["dev", "eval", "holdout", "validation"])
def test_another_split_than_test_is_used_and_told(test: str) -> None:
    assert f"There is no labelled test split: {test} is the test split" in read(classes("train", test)).notices


def test_splits_that_are_not_used_are_counted() -> None:
    found = read([*classes("train", "test"), *classes("dev"), *images("holdout/bee")])
    assert found.unused == {"in the split dev": 4, "in the split holdout": 2}


@pytest.mark.parametrize("val", [["val/0.png"], ["val/images/0.png"], ["val/unknown/0.png"]])
def test_a_split_without_class_folders_is_counted(val: list[str]) -> None:
    found = read([*classes("train"), *val])
    assert parts(found) == {"train": ["ant", "bee"]}
    assert found.unused == {"in val, which holds no class folders": 1}


def test_folders_beside_the_splits_are_counted() -> None:
    found = read([*classes("train", "test"), *images("unlabeled", "chest", count=3)])
    assert found.unused == {"in unlabeled, beside the splits": 3, "in chest, beside the splits": 3}


@pytest.mark.parametrize(
    "paths",
    [
        images("Training", "Validation", "Evaluation"),
        images("train", "test1"),
        images("train", "test"),
        [*images("train"), *classes("test")],
        [*images("train", "test"), *images(*TWO)],
    ],
)
def test_splits_without_class_folders_are_refused(paths: list[str]) -> None:
    with pytest.raises(UserError, match=r"look like splits, but [Tt]rain(ing)? holds no class folders"):
        read(paths)


@pytest.mark.parametrize("name", ["train/{}.{}.jpg", "all/{}_{}.png", "{}{}.jpg"])
@pytest.mark.parametrize("more", [[], ["test1/1.jpg", "test1/2.jpg"]])
def test_images_whose_names_begin_with_their_class_are_pointed_out(name: str, more: list[str]) -> None:
    if more and not name.startswith("train"):
        more = []
    with pytest.raises(UserError, match="whose names begin with cat, dog"):
        read([*(name.format(kind, number) for kind in ("cat", "dog") for number in range(3)), *more])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (classes("test", "val"), "no training split, only test, val"),
        (classes("test"), "no training split, only test; to train on one of these, give that folder"),
        (images("test", *TWO), "test in data, beside ant, bee: a split for testing, or a class"),
        ([*classes("test"), *images(*TWO)], "test in data, beside ant, bee: a split for testing, or a class"),
        (classes("train1", "train2"), "train1, train2 in data: which is the train split, or are they its parts"),
        (classes("train", "test1", "test2"), "test1, test2 in data: which is the test split"),
        (classes("train/train", "train/val"), "data/train is a split that holds splits again, train, val"),
        (
            [*classes("train"), *images("cat", "dog")],
            "beside it cat, dog: are the classes in train, or is that a class",
        ),
        (images("trainA", "trainB", "testA", "testB"), "trainA, trainB in data: which is the train split"),
    ],
)
def test_splits_that_can_be_read_in_two_ways_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(paths)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (classes(*(f"fold{number}" for number in range(1, 6))), "look like numbered parts"),
        (images("part-1", "part-2"), "look like numbered parts"),
        (images("HAM_images_part_1", "HAM_images_part_2"), "look like numbered parts"),
        (images("images_001/images", "images_002/images"), "look like numbered parts"),
        (images("set1", "set2"), "look like numbered parts"),
        (classes("2019", "2020"), "hold the same folders, ant, bee: they look like splits or parts"),
        (classes("client_a", "client_b", "client_c"), "hold the same folders, ant, bee"),
        (
            classes("set_a/train", "set_a/test", "set_b/train", "set_b/test"),
            "set_a, set_b in data hold the same folders",
        ),
        (images(*(f"fold{k}/{split}" for k in (1, 2) for split in ("train", "test"))), "look like numbered parts"),
        (classes("cat", "dog", names=("day", "night")), "if the classes are cat, dog, move the images up"),
        (
            classes("amazon/images", "dslr/images", "webcam/images"),
            "amazon, dslr, webcam in data hold the same folders",
        ),
        ([*images(*TWO), *classes("copy")], "copy in data holds ant, bee, as data does: a copy or a split"),
        (images(*TWO, "augmented/ant"), "augmented in data holds ant, as data does: a copy or a split"),
    ],
)
def test_folders_that_hold_the_same_folders_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(paths)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            [*classes("own/train", "own/test"), *images("assets")],
            "data/own holds the folders test, train, and beside own lies assets",
        ),
        (
            [*classes("x/x/images/TRAIN", "x/x/images/TEST"), *images("y/y/JPEGImages")],
            "data/x/x/images holds the folders TEST, TRAIN, and beside x lies y: .* Give data/x/x/images",
        ),
        (
            [*classes("raw/Train", "raw/Val"), *images("First Kind", "Second Kind")],
            "data/raw holds the folders Train, Val, and beside raw lies First Kind, Second Kind",
        ),
        (
            [*classes("PetImages"), *images("screenshots")],
            "data/PetImages holds the folders ant, bee, and beside PetImages lies screenshots",
        ),
        ([*classes("simpsons_dataset"), *images("other")], "is simpsons_dataset a class\\? Give data/simpsons_dataset"),
        (classes("setA/setA", names=("cat", "dog")) + images("cars/1"), "data/setA/setA holds the folders cat, dog"),
    ],
)
def test_data_beside_other_folders_of_images_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(paths)


@pytest.mark.parametrize("name", ["images", "Images", "img", "JPEGImages", "train/images"])
def test_a_folder_called_after_pictures_is_no_class_beside_others(name: str) -> None:
    folder, _, last = name.rpartition("/")
    paths = [path for other in ("cat", "dog", last) for path in images(f"{folder}/{other}" if folder else other)]
    with pytest.raises(UserError, match=f"{last} in data.*, beside cat, dog: pictures whose classes are not told"):
        read(paths)


@pytest.mark.parametrize("name", ["images", "cat_aug", "cat (1)"])
def test_folders_that_are_not_asked_for_may_be_anything(name: str) -> None:
    found = read([*images("cat", "dog"), *images(name, count=3)], asked=["cat", "dog"])
    assert set(found.parts[0].labels) >= {"cat", "dog"}


def test_a_single_folder_around_classes_may_be_called_as_one_of_them() -> None:
    assert parts(read(images("x/0", "x/x"))) == {"train": ["0", "x"]}


def test_months_are_no_copies() -> None:
    assert parts(read(images("2020", "2020 aug"))) == {"train": ["2020", "2020 aug"]}


def test_a_folder_called_after_pictures_in_both_splits_is_a_class() -> None:
    found = read(classes("train", "test", names=["images", "tables"]))
    assert parts(found) == {"train": ["images", "tables"], "test": ["images", "tables"]}


@pytest.mark.parametrize("name", ["photo", "photos", "pictures", "image"])
def test_photographs_may_be_a_class(name: str) -> None:
    assert parts(read(images(name, "sketch"))) == {"train": sorted((name, "sketch"))}


@pytest.mark.parametrize(
    "copy", ["cat - Copy", "cat copy", "Copy of cat", "cat (1)", "cat(2)", "Cat - Copy (2)", "cat_aug"]
)
def test_a_copy_of_a_class_is_refused(copy: str) -> None:
    with pytest.raises(UserError, match="looks like a copy of cat: remove it, or give it another name"):
        read(images("cat", "dog", copy))
    assert parts(read(images("dog", copy))) == {"train": sorted(("dog", copy))}


@pytest.mark.parametrize("name", ["test_cat", "cat-test", "train_cat", "cat_val"])
def test_a_split_of_one_class_beside_it_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} in data, beside cat: the .* images of that class, or a class itself"):
        read(images("cat", "dog", name))


def test_classes_that_each_hold_their_splits_are_read() -> None:
    found = read(classes("cat", "dog", names=("train", "test", "val")))
    assert parts(found) == {"train": ["cat", "dog"], "test": ["cat", "dog"]}
    assert all("/train/" in path for path in found.parts[0].files)
    assert found.unused == {"in the val folders of the classes": 4}
    with pytest.raises(UserError, match=r"folders of splits \(test, train\) lie in some classes of data \(cat\)"):
        read([*classes("cat", names=("train", "test")), *images("dog")])


@pytest.mark.parametrize("inside", [("test",), ("train", "test")])
def test_classes_that_hold_pictures_beside_their_splits_are_refused(inside: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="cat, dog in data hold pictures, and beside them .* called like splits"):
        read([*images("cat", "dog"), *classes("cat", "dog", names=inside)])
    told = parts(read([*images("cat", "dog"), *classes("cat", names=("young", "old"))]))
    assert told == {"train": ["cat", "dog"]}


@pytest.mark.parametrize("kind", ["dataset.json", ".json", ".cls", ".txt"])
def test_numbered_parts_whose_labels_stand_beside_them_are_no_classes(kind: str) -> None:
    paths = images("00000", "00001")
    told = [kind] if kind == "dataset.json" else [path.replace(".png", kind) for path in paths]
    shown = kind.removeprefix("dataset")
    with pytest.raises(UserError, match=f"00000, 00001 in data are numbered parts .* labels stand in {shown} files"):
        read([*paths, *told])
    assert parts(read(paths)) == {"train": ["00000", "00001"]}  # as of the German traffic signs


@pytest.mark.parametrize("name", ["labels.json", "train.json", "annotations.xlsx", "dataset.json"])
def test_lists_of_forms_that_are_not_read_are_named(name: str) -> None:
    found = read([*images("cat", "dog"), name, "cat/settings.json"])
    assert f"{name}: may list labels, but this form is not read; a .csv of files and labels is" in found.notices
    assert found.unused[".json" if name.endswith("json") else ".xlsx"] >= 1


@pytest.mark.parametrize("name", ["train", "training"])
def test_a_class_may_be_called_train(name: str) -> None:
    assert parts(read(images(name, "car", "bus"))) == {"train": sorted((name, "car", "bus"))}


@pytest.mark.parametrize("names", [("test-tube", "test-bench"), ("bullet_train", "steam_train"), ("valid", "invalid")])
def test_classes_may_have_names_with_words_of_splits(names: tuple[str, str]) -> None:
    assert parts(read(images(*names))) == {"train": sorted(names)}


def test_classes_of_the_test_split_that_training_lacks_are_named_with_their_count() -> None:
    with pytest.raises(UserError, match=r"data/test has classes that are not in the training split: wasp \(2 images\)"):
        read([*classes("train"), *classes("test", names=("ant", "wasp"))])
    with pytest.raises(UserError, match="capital letters and spaces make ant, bee another class"):
        read([*classes("train"), *classes("test", names=("Ant", "Bee"))])


# other systems, hidden folders, masks


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "@Recycle", ".@__thumb", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
        *(".Trash-1000", ".thumbnails", "Thumbnails", "#recycle", ".ipynb_checkpoints", ".git", "__pycache__", "wandb"),
    ],
)
@pytest.mark.parametrize("place", ["", "ant/"])
def test_folders_of_other_systems_are_no_classes_and_count_no_image_twice(name: str, place: str) -> None:
    found = read([*images(*TWO), f"{place}{name}/0.png", f"{place}{name}/deep/1.png", f"{place}{name}/x.ini"])
    assert parts(found) == {"train": ["ant", "bee"]}
    assert len(found.parts[0].files) == 4
    assert found.unused == {f"in {name}": 3}


def test_a_hidden_class_is_counted() -> None:
    assert read(images(*TWO, ".wasp")).unused == {"in the hidden folder .wasp": 2}
    assert parts(read(images(*TWO, "__other__"))) == {"train": ["__other__", "ant", "bee"]}


@pytest.mark.parametrize(
    "pair",
    [
        ("images", "masks"),
        ("imgs", "annotations"),
        ("JPEGImages", "SegmentationClass"),
        ("image", "label"),
        ("rgb", "depth"),
    ],
)
def test_images_beside_masks_are_refused(pair: tuple[str, str]) -> None:
    for paths in (images(*pair), classes(*pair)):
        with pytest.raises(UserError, match=f"pictures and what is drawn on them, not classes; give data/{pair[0]}"):
            read(paths)


def test_masks_within_classes_are_left_out_and_counted() -> None:
    found = read(classes("sick", "well", names=("images", "masks")))
    assert parts(found) == {"train": ["sick", "well"]}
    assert all("/images/" in path for path in found.parts[0].files)
    assert found.unused == {"in masks folders beside pictures": 4}


@pytest.mark.parametrize(
    "name", ["0_mask.png", "1_mask_1.png", "0-GT.jpg", "1_thumb.jpg", "thumb_0.jpg", "0-150x150.jpg"]
)
def test_masks_and_thumbnails_beside_their_pictures_are_left_out_and_counted(name: str) -> None:
    found = read([*images(*TWO), f"ant/{name}"])
    assert len(found.parts[0].files) == 4
    assert found.unused == {"masks or thumbnails beside their pictures, by name": 1}
    alone = name.replace("0", "7").replace("1", "8")
    assert len(read([*images(*TWO), f"ant/{alone}"]).parts[0].files) == 5


def test_masks_may_be_a_class_beside_other_classes() -> None:
    assert parts(read(images("mask", "no mask"))) == {"train": ["mask", "no mask"]}


def test_a_detection_set_is_refused() -> None:
    paths = [*images("train/images", "valid/images"), "train/labels/0.txt", "data.yaml"]
    with pytest.raises(UserError, match="data/train holds no class folders"):
        read(paths)


# classes


def test_classes_stand_in_natural_order() -> None:
    assert read(images(*map(str, range(1, 12)))).classes == tuple(map(str, range(1, 12)))


def test_composed_and_decomposed_letters_are_one_class() -> None:
    found = read([*images("train/caf\u00e9", "train/the"), *images("test/cafe\u0301")])
    assert parts(found) == {"train": ["caf\u00e9", "the"], "test": ["caf\u00e9"]}
    assert read(images("e\u0301", "\u00e9", "b")).classes == ("b", "\u00e9")


def test_images_at_any_depth_are_of_the_class_at_the_top_which_is_told() -> None:
    found = read([*classes("pets", names=("cat", "dog")), *images("cars/bus")])
    assert parts(found) == {"train": ["cars", "pets"]}
    assert any("those in pets (cat, dog) are not" in line for line in found.notices)
    assert any(
        "those in pets (cat, dog) are not" in line
        for line in read([*images("car"), *classes("pets/all", names=("cat", "dog"))]).notices
    )
    assert not any("are not" in line for line in read([*images("pets", "cars"), *classes("pets")]).notices)


def test_a_class_without_images_is_refused_with_what_it_holds() -> None:
    with pytest.raises(UserError, match=r"class folder data/bee holds no readable images \(2 \.npy\)"):
        read([*images("ant", "cow"), "bee/0.npy", "bee/1.npy"])
    with pytest.raises(UserError, match=r"class folder data/bee holds no readable images \(no files\)"):
        read([*images("ant", "cow"), "bee/"])


def test_folders_of_documents_are_no_classes() -> None:
    found = read([*images(*TWO), "docs/a.txt", "annotations/b.xml"])
    assert parts(found) == {"train": ["ant", "bee"]}
    assert found.unused == {".txt": 1, ".xml": 1}


@pytest.mark.parametrize("paths", [images("ant"), classes("train", "test", names=("ant",))])
def test_one_class_is_refused(paths: list[str]) -> None:
    with pytest.raises(UserError, match=r"only one class \(ant\) in data"):
        read(paths)


def test_images_without_folders_are_refused() -> None:
    with pytest.raises(UserError, match=r"data holds no class folders \(2 images\)"):
        read(["0.png", "1.png"])


def test_images_outside_of_the_classes_are_counted() -> None:
    assert read([*classes("train"), "0.png", "train/1.png"]).unused == {"outside the class folders": 2}


# any tree

LETTERS = "abcdefghijklmnopqrstuvwxyzABCXYZ éß0123456789-_.()"


def _is_plain(name: str) -> bool:
    """Whether nothing but a class may be called so."""
    special = (is_aside, is_hidden, is_numbered_part, is_system_folder)
    plain = split_name(name) is None and copied_name(name) is None and name not in ("runs", "sets")
    return plain and not any(test(name) for test in special)


NAMES = st.text(LETTERS, min_size=1, max_size=8).map(str.strip).filter(lambda name: name and _is_plain(name))
CLASSES = st.lists(NAMES, min_size=2, max_size=6, unique_by=str.casefold)
JUNK = st.lists(
    st.sampled_from(
        [
            "Thumbs.db",
            "readme.md",
            ".DS_Store",
            "@eaDir/0.png",
            "__MACOSX/0.png",
            ".hidden/1.png",
            "runs/x/condensed.json",
        ]
    ),
    unique=True,
)
SPLITS = st.tuples(
    st.sampled_from(["train", "Train", "training", "TRAINING_SET", "trn", "train_data"]),
    st.sampled_from(["test", "Testing", "test set", "eval", "holdout", "val", "Validation", "dev-set"]),
)
ANY_NAME = st.sampled_from(
    ["train", "test", "val", "ant", "bee", "images", "masks", "fold1", "fold2", "runs", "docs", ".x", "@eaDir", "a b"]
)
STRAY = st.tuples(
    st.lists(ANY_NAME, max_size=4), st.sampled_from(["0.png", "1.jpg", "a.txt", ".b.png", "x.checkpoint"])
)
ORDERLY = st.sampled_from(
    [
        [],
        images(*TWO),
        classes("train"),
        classes("train", "test", "val"),
        classes("ant", "bee", names=("train", "test")),
    ]
)
ANY_PATHS = st.tuples(ORDERLY, st.lists(STRAY, max_size=8)).map(
    lambda drawn: sorted({*drawn[0], *("/".join([*folders, name]) for folders, name in drawn[1])})
)


@given(names=CLASSES, junk=JUNK, wrapper=st.lists(st.sampled_from(["photos", "archive", "x"]), max_size=3))
def test_plain_classes_are_read_whatever_lies_beside_and_around_them(
    names: list[str], junk: list[str], wrapper: list[str]
) -> None:
    above = "".join(f"{name}/" for name in wrapper)
    plain = read(images(*names))
    found = read([f"{above}{path}" for path in [*images(*names), *junk]])
    assert found.classes == plain.classes
    assert [path.removeprefix(above) for path in found.parts[0].files] == list(plain.parts[0].files)
    assert found.unused.total() == len(junk)


@given(names=CLASSES, splits=SPLITS, doubled=st.booleans(), junk=JUNK)
def test_splits_are_found_under_every_name(
    names: list[str], splits: tuple[str, str], doubled: bool, junk: list[str]
) -> None:
    train, test = (f"{name}/{name}" if doubled else name for name in splits)
    found = read([*classes(train, test, names=names), *junk])
    assert [sorted(set(part.labels)) for part in found.parts] == [sorted(names)] * 2
    assert {path.split("/")[0] for path in found.parts[0].files} == {splits[0]}
    assert {path.split("/")[0] for path in found.parts[1].files} == {splits[1]}
    assert found.unused.total() == len(junk)


@given(paths=ANY_PATHS)
def test_every_file_of_any_tree_is_used_once_or_counted_once_or_the_tree_is_refused(paths: list[str]) -> None:
    try:
        found = read(paths)
    except UserError:
        return
    used = Counter(path for part in found.parts for path in part.files)
    assert set(used.values()) == {1}
    assert set(used) <= set(paths)
    assert len(used) + found.unused.total() == len(paths)
    assert set(found.parts[-1].labels) <= set(found.parts[0].labels) == set(found.classes)


@given(paths=ANY_PATHS, order=st.randoms(use_true_random=False))
def test_the_order_of_a_listing_changes_nothing(paths: list[str], order: Any) -> None:
    def outcome(listed: list[str]) -> str:
        try:
            return repr(read(listed))
        except UserError as error:
            return str(error)

    mixed = list(paths)
    order.shuffle(mixed)
    assert outcome(mixed) == outcome(paths)


@given(paths=ANY_PATHS)
def test_a_test_split_is_never_trained_on(paths: list[str]) -> None:
    try:
        found = read([*classes("train"), *paths])
    except UserError:
        return
    assert not any(path.startswith(("test/", "val/")) for path in found.parts[0].files)


def test_a_tree_of_paths_holds_empty_folders_and_counts_images_at_any_depth() -> None:
    root: Folder = tree(["a/0.png", "a/b/1.JPG", "a/b/c.txt", "e/", "._0.png"], ENDINGS)
    assert [folder.path for folder in root.walk()] == ["", "a", "a/b", "e"]
    assert (root.count, root.files) == (2, 4)
    assert root.all_pictures() == ["a/0.png", "a/b/1.JPG"]
