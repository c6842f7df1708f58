"""Which column of a list names pictures, how they are found by it, and lists that name none."""

from __future__ import annotations

import unicodedata

import pytest
from lists_beside import FLAT, labels, read, rows

from m3d_condense.data.finding import Index
from m3d_condense.tools.errors import UserError

NUMBERED = [f"img/{number}.png" for number in range(6)]
SHUFFLED = (3, 0, 5, 1, 4, 2)
CLASSES = "abcabc"  # of the pictures 0 to 5


def of_six(names: str, *extra: str) -> str:
    """A list of the six pictures in another order, its cells filled in from {row}, {id}, {label} and {file}."""
    text = "".join(
        names.format(row=row, id=number, label=CLASSES[number], file=f"{number}.png") + "\n"
        for row, number in enumerate(SHUFFLED)
    )
    return rows(*extra) + text


@pytest.mark.parametrize(
    "text",
    [
        of_six("{row},{id},{label}", ",id,label"),
        of_six("{row},{id},{label}", "Unnamed: 0,id,label"),
        of_six("{row},{id},{label}", "index,image,label"),
        of_six("{row},{id},{label}", "num,key,label"),
        of_six("{row},{id},{label}", "row,file,label"),
        of_six("{id},{row},{label}", "image,id,label"),
        of_six("{label},{id},{row}", "label,image_id,class_id"),
        of_six("{row},{file},{label}", "id,code,label"),
        of_six("{row},{id},{label}", "id,label").replace("\n0,", "\n0,", 1),  # rows have a name more than the columns
    ],
)
def test_numbers_of_rows_are_not_taken_for_the_names_of_pictures(text: str) -> None:
    found = read(NUMBERED, {"train.csv": text})
    assert dict(zip(found.parts[0].files, labels(found)["train"], strict=True)) == dict(
        zip(NUMBERED, CLASSES, strict=True)
    )


TWICE = (3, 0, 5, 3, 4, 0)  # of the pictures 0 to 5, some twice, and some of them never


@pytest.mark.parametrize("names", [",filename,label", "id,image,label", "code,image,label", "file,object_id,label"])
def test_names_of_files_that_repeat_are_not_pushed_out_by_numbers(names: str) -> None:
    cells = "{0}.png,{1},{2}" if names.startswith("file") else "{1},{0}.png,{2}"
    text = rows(names, *(cells.format(n, row, CLASSES[n]) for row, n in enumerate(TWICE)))
    found = read(NUMBERED, {"train.csv": text}).parts[0]
    assert dict(zip(found.files, found.labels, strict=True)) == {f"img/{n}.png": CLASSES[n] for n in set(TWICE)}


@pytest.mark.parametrize("missing", [3, 5])
def test_names_of_files_that_are_missing_are_not_pushed_out_by_numbers(missing: int) -> None:
    named = [*(f"{n}.png" for n in SHUFFLED), *(f"lost{n}.png" for n in range(missing))]
    text = rows(",image,label", *(f"{row},{name},{'ab'[row % 2]}" for row, name in enumerate(named)))
    found = read([f"img/{n}.png" for n in range(12)], {"train.csv": text})
    assert set(found.parts[0].files) == set(NUMBERED)


@pytest.mark.parametrize("names", ["id,image,label", "index,image,label", "object_id,photo,label"])
def test_repeated_numbers_called_after_pictures_are_refused_beside_others(names: str) -> None:
    text = rows(names, *(f"{row},{n},{CLASSES[n]}" for row, n in enumerate(TWICE)))
    with pytest.raises(UserError, match="name different images"):
        read(NUMBERED, {"train.csv": text})
    found = read(NUMBERED, {"train.csv": text}, file_column=names.split(",")[1]).parts[0]
    assert set(found.files) == {f"img/{n}.png" for n in set(TWICE)}


@pytest.mark.parametrize("other", ["mask", "gt_mask", "depth"])
def test_masks_are_not_taken_for_pictures(other: str) -> None:
    text = rows(f"{other},image,label", *(f"m{n}.png,{n}.png,{CLASSES[n]}" for n in range(6)))
    found = read([*NUMBERED, *(f"img/m{n}.png" for n in range(6))], {"train.csv": text})
    assert found.parts[0].files == tuple(NUMBERED)


@pytest.mark.parametrize("folder", ["annotations/trimaps", "masks", "img/gt"])
@pytest.mark.parametrize("ending", ["", ".png"])
def test_masks_called_as_their_pictures_are_not_taken_for_these(folder: str, ending: str) -> None:
    masks = [f"{folder}/{n}.png" for n in range(6)]
    lists = {"trainval.txt": range(4), "test.txt": range(4, 6)}
    texts = {f"annotations/{name}": rows(*(f"{n}{ending} {CLASSES[n]}" for n in of)) for name, of in lists.items()}
    found = read([*masks, *NUMBERED], texts)
    assert {part.name: list(part.files) for part in found.parts} == {"train": NUMBERED[:4], "test": NUMBERED[4:]}


@pytest.mark.parametrize(
    ("names", "cells"),
    [("before,after,label", "b{0}.png,{0}.png,{1}"), ("patient,id,label", "{2},{0},{1}")],
)
def test_two_columns_that_name_different_pictures_are_refused(names: str, cells: str) -> None:
    text = rows(names, *(cells.format(n, CLASSES[n], SHUFFLED[n]) for n in range(6)))
    paths = [*NUMBERED, *(f"img/b{n}.png" for n in range(6))]
    first, second, _ = names.split(",")
    with pytest.raises(UserError, match="name different images; give image_column one of them") as caught:
        read(paths, {"train.csv": text})
    assert {first, second} <= set(str(caught.value).split())
    assert read(paths, {"train.csv": text}, file_column=second).parts[0].files == tuple(NUMBERED)


NAMED_ALIKE = [f"{name}/{number}.JPG" for name in ("cat", "dog") for number in range(4)]


@pytest.mark.parametrize(
    "called",
    [
        "/{0}/{1}.JPG",
        "data/d/{0}/{1}.JPG",
        "/home/me/d/{0}/{1}.JPG",
        "C:\\d\\{0}\\{1}.JPG",
        "./{0}/{1}.JPG",
        "{0}/{1}",
        "{0}/{1}.jpg",
        "{0}/{1}.JPG,{0}",
        "{0}/{1};{0}",
    ],
)
def test_lists_of_splits_find_pictures_whose_names_other_classes_have_too(called: str) -> None:
    texts = {
        "train.txt": rows(*(called.format(name, n) for name in ("cat", "dog") for n in range(3))),
        "test.txt": rows(*(called.format(name, 3) for name in ("cat", "dog"))),
    }
    found = read(NAMED_ALIKE, texts)
    assert found.parts[1].files == ("cat/3.JPG", "dog/3.JPG")
    assert len(found.parts[0].files) == 6


def test_a_name_in_a_folder_is_not_that_of_a_picture_in_another() -> None:
    index = Index(["cat/1.png", "dog/2.png", "more/fish/3.png"])
    assert index.find("", "dog/1.png", None) is None
    assert index.find("", "elsewhere/1.png", None) == "cat/1.png"
    assert index.find("", "fish/3", None) == index.find("", "more/3.png", None) == "more/fish/3.png"


def test_a_folder_that_is_not_there_is_not_another_where_rows_name_folders() -> None:
    paths = [f"video1/{n}.png" for n in range(10)]
    text = rows("file,label", *(f"video{1 + n // 5}/{n}.png,{'ab'[n % 2]}" for n in range(10)))
    for root in ("", "/data/d/", "C:\\d\\"):
        found = read(paths, {"labels.csv": text.replace("video", f"{root}video")})
        assert found.parts[0].files == tuple(paths[:5])
        assert "labels.csv: 5 rows without a picture left out" in found.notices
    flat = [path.rpartition("/")[2] for path in paths]
    assert labels(read(flat, {"labels.csv": text})) == {"train": list("ab" * 5)}
    beside = read([*paths[:5], *flat[5:]], {"labels.csv": text.replace("video1", "d/video1").replace("video2", "d")})
    assert labels(beside) == {"train": list("ab" * 5)}


@pytest.mark.parametrize("root", ["", "/home/me/d/"])
def test_lists_of_all_classes_divide_the_pictures_of_some(root: str) -> None:
    counts = {"airfield": 10, "bar": 6}
    paths = [f"images/{name}/{n}.jpg" for name, count in counts.items() for n in range(count)]
    named = [f"{name}/{n}.jpg" for name, count in {**counts, "casino": 12}.items() for n in range(count)]
    texts = {
        "train.txt": rows(*(root + path for n, path in enumerate(named) if n % 3)),
        "test.txt": rows(*(root + path for n, path in enumerate(named) if n % 3 == 0)),
    }
    found = read(paths, texts)
    assert found.parts[1].files == tuple(path for n, path in enumerate(paths) if n % 3 == 0)
    assert sum(len(part.files) for part in found.parts) == len(paths)
    assert "test.txt: 4 rows without a picture left out" in found.notices


def test_capital_letters_and_accents_tell_pictures_apart_only_where_they_must() -> None:
    index = Index(["a.png", "A.png", "b.PNG", unicodedata.normalize("NFD", "é.png")])
    assert index.find("", "x/a.png", None) == "a.png"
    assert index.find("", "x/A.png", None) == "A.png"
    assert index.find("", "a", None) is None
    assert index.find("", "B.png", None) == "b.PNG"
    assert index.find("", unicodedata.normalize("NFC", "é.png"), None) is not None


SITES = [f"site{'AB'[n % 2]}/{n:03}.png" for n in range(8)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", rows("id,label", *(f"{n},{'ab'[n // 4]}" for n in range(8))), "none of its 8 rows"),
        ("labels.csv", rows("path,kind", *(f"{n}.jpg,{'ab'[n // 4]}" for n in range(8))), "the first says '0.jpg'"),
        ("test.txt", rows(*(f"other/{n}.png" for n in range(4))), "none of its 4 rows"),
        ("train_test_split.txt", rows(*(f"{n} {n % 2}" for n in range(1, 9))), "none of its 8 rows"),
    ],
)
def test_a_list_that_names_no_picture_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=f"data/{name}: .*; correct it, or move the file away") as caught:
        read(SITES, {name: text})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", rows("ClassId,Name", "0,first", "1,second")),
        ("labels.txt", rows("siteA", "siteB")),
        ("train.csv", rows("epoch,loss", *(f"{n},0.5" for n in range(9)))),
    ],
)
def test_a_file_that_need_name_no_pictures_is_not_used_and_said_so(name: str, text: str) -> None:
    found = read(SITES, {name: text})
    assert found.classes == ("siteA", "siteB")
    assert any(line.startswith(f"{name} is not used: none of its") for line in found.notices)
    lone = [f"siteA/{n:03}.png" for n in range(8)]
    with pytest.raises(UserError, match=f"only one class .*; {name}: none of its"):
        read(lone, {name: text})


def test_of_many_files_that_name_no_picture_some_are_told() -> None:
    found = read(SITES, {f"siteA/train_{n}.txt": rows(f"{n} 0.5 0.5 1 1") for n in range(9)})
    told = [line for line in found.notices if "name" in line]
    assert len(told) == 4
    assert told[-1] == "6 more such files name no image here"


@pytest.mark.parametrize(
    "text",
    [
        rows("0,a", "1,b", "2,a"),
        rows("sep=;", "id;label", "0;a", "1;b", "2;a"),
        rows("# made by hand", "id,label", "0,a", "1,b", "2,a"),
        rows("id,label", "0,a,", "1,b,", "2,a,"),
        rows('"id","label"', '"1","0","a"', '"2","1","b"', '"3","2","a"'),
    ],
)
def test_what_spreadsheets_and_statistics_add_to_lists_is_no_part_of_them(text: str) -> None:
    found = read(FLAT, {"labels.csv": text})
    assert labels(found) == {"train": ["a", "b", "a"]}
    assert found.parts[0].files == tuple(FLAT[:3])


@pytest.mark.parametrize("names", ["filename,x,y,w,h,label", "filename,y,species,x"])
def test_a_place_in_the_image_is_no_class(names: str) -> None:
    cells = {"filename": "{0}.png", "label": "{1}", "species": "{1}"}
    line = ",".join(cells.get(name, "{2}") for name in names.split(","))
    text = rows(names, *(line.format(n, CLASSES[n], n % 2) for n in range(6)))
    if "label" in names:
        assert labels(read(NUMBERED, {"labels.csv": text}))["train"] == list(CLASSES)
    else:
        with pytest.raises(UserError, match="cannot tell the labels; give label_column one of"):
            read(NUMBERED, {"labels.csv": text})
        assert labels(read(NUMBERED, {"labels.csv": text}, label_column="species"))["train"] == list(CLASSES)


def test_rows_to_validate_with_are_not_trained_on() -> None:
    text = rows("filename,label,mode", *(f"{n}.png,{CLASSES[n]},{'Train' if n > 2 else 'Validate'}" for n in range(6)))
    assert read(NUMBERED, {"labels.csv": text}).parts[1].files == tuple(NUMBERED[:3])


POOL = [*(f"images/{n}.png" for n in range(6)), *(f"unlabelled/{n}.png" for n in range(20))]


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv", "train.csv"])
@pytest.mark.parametrize("names", ["id,label", "file_name,label"])
def test_a_list_whose_names_several_pictures_have_is_not_passed_over(name: str, names: str) -> None:
    ending = ".png" if names.startswith("file") else ""
    text = rows(names, *(f"{n}{ending},{CLASSES[n]}" for n in range(6)))
    with pytest.raises(UserError, match="2 images are called, images/0.png, unlabelled/0.png: write which"):
        read(POOL, {name: text})


def test_numbers_of_classes_that_pictures_are_called_by_list_no_labels() -> None:
    folders = [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(6)]
    assert read(folders, {"labels.csv": rows("id,label", "0,cat", "1,dog")}).classes == ("cat", "dog")


@pytest.mark.parametrize("tests", ["test_imgs", "imgs_test", "test", "val/imgs"])
def test_a_list_for_training_finds_no_pictures_for_testing(tests: str) -> None:
    paths = [*(f"imgs/{n}.png" for n in range(6)), *(f"{tests}/{n}.png" for n in range(4))]
    found = read(paths, {"train.csv": rows("id,label", *(f"{n},{CLASSES[n]}" for n in range(6)))})
    assert found.parts[0].files == tuple(f"imgs/{n}.png" for n in range(6))
    assert not any("left out" in line for line in found.notices)


def test_rows_that_name_several_pictures_are_told() -> None:
    paths = ["x/0.png", "x/y/0.png", "x/1.png", "x/2.png", "x/3.png"]
    text = rows("id,label", "0,a", "1,a", "2,b", "3,b", "lost,b")
    notices = read(paths, {"labels.csv": text}).notices
    assert "labels.csv: 2 rows without a picture left out" in notices
    assert "labels.csv: '0' names 2 images, x/0.png, x/y/0.png: write which" in notices


CLASSES_OF_FOLDERS = [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(6)]


@pytest.mark.parametrize(
    "text",
    [
        rows("url,title", *(f"https://example.org/{n}.png,pet {n}" for n in range(6))),
        rows("original_filename,photographer", *(f"DSC{n}.JPG,{'ab'[n % 2]}" for n in range(6))),
        rows("filename,photographer", *(f"{n}.png,{'ab'[n % 2]}" for n in range(6))),
        rows("filename,label", *(f"{n}.png,{name}" for name in ("cat", "dog") for n in range(6))),
    ],
)
def test_metadata_of_something_else_beside_classes_is_told(text: str) -> None:
    found = read(CLASSES_OF_FOLDERS, {"metadata.csv": text})
    assert found.classes == ("cat", "dog")
    assert any("metadata.csv is not used: none of its" in line for line in found.notices)


@pytest.mark.parametrize("other", ["similar", "duplicate_of", "parent"])
@pytest.mark.parametrize("names", ["image_id,{},label", "id,{},label"])
def test_names_of_other_pictures_in_some_rows_do_not_push_out_the_ids(names: str, other: str) -> None:
    text = rows(names.format(other), *(f"{n},{f'{n + 1}.png' if n < 3 else ''},{CLASSES[n]}" for n in SHUFFLED))
    found = read(NUMBERED, {"train.csv": text}).parts[0]
    assert dict(zip(found.files, found.labels, strict=True)) == dict(zip(NUMBERED, CLASSES, strict=True))


def test_ids_and_names_of_other_pictures_in_all_rows_are_refused() -> None:
    text = rows("id,similar,label", *(f"{n},{5 - n}.png,{CLASSES[n]}" for n in SHUFFLED))
    with pytest.raises(UserError, match="the columns similar and id name different images"):
        read(NUMBERED, {"train.csv": text})


@pytest.mark.parametrize(
    "text",
    [
        rows("id,name,category", "0,cat,pet", "1,dog,pet", "2,cow,beast", "3,pig,beast"),
        rows("label_id,label,class", "0,cat,pet", "1,dog,pet", "2,cow,beast", "3,pig,beast"),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_a_list_of_the_classes_beside_numbered_pictures_is_told(name: str, text: str) -> None:
    folders = [f"{kind}/{n}.png" for kind in ("cat", "dog", "cow", "pig") for n in range(6)]
    assert read(folders, {name: text}).classes == ("cat", "cow", "dog", "pig")
