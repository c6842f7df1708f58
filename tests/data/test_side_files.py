"""Files beside pictures as tables: their columns and rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists_beside import FLAT, labels, read, rows

from m3d_condense.data.side_files import parse, side_files
from m3d_condense.data.tables import as_lines
from m3d_condense.data.tree import tree
from m3d_condense.tools.errors import UserError


def beside(pictures: list[str], files: list[str]) -> list[str]:
    return side_files(tree([*pictures, *files], {".jpg"}))


def test_all_files_that_may_list_labels_are_looked_at() -> None:
    lists = [f"c{number:03d}/list.csv" for number in range(203)]
    assert beside([f"c{number:03d}/0.jpg" for number in range(203)], lists) == lists


def test_what_is_said_of_each_picture_is_no_list() -> None:
    pictures = [f"train/train_{number:04d}.jpg" for number in range(205)]
    captions = [path.replace("jpg", "txt") for path in pictures]
    assert beside(pictures, [*captions, "train/metadata.csv"]) == ["train/metadata.csv"]
    apart = [f"labels/{path}" for path in captions]
    assert beside(pictures, [*apart, "train.txt"]) == ["train.txt"]
    curves = ["loss/train.jpg", "loss/test.jpg", "birds.jpg"]
    lists = ["birds.csv", "test.txt", "train.txt"]
    assert beside([*pictures, *curves], [*captions, *lists]) == lists


@pytest.mark.parametrize("around", ["", "archive/food-101/", "a/b/c/d/e/"])
def test_lists_are_looked_for_from_the_folder_that_is_entered(around: str) -> None:
    pictures = [f"{around}food-101/images/{name}/0.jpg" for name in ("pie", "ribs")]
    lists = [f"{around}food-101/meta/train.txt", f"{around}labels.csv"]
    assert sorted(beside(pictures, lists)) == sorted(lists)


def test_lists_far_below_the_classes_are_not_looked_at() -> None:
    assert beside(["pie/0.jpg", "ribs/0.jpg"], ["pie/a/b/x.csv", "pie/a/b/c/x.csv"]) == ["pie/a/b/x.csv"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", rows("file,label,label", "0.png,a,b", "1.png,b,a")),
        ("labels.csv", rows("file, label ,label", "0.png,a,b", "1.png,b,a")),
        ("labels.tsv", rows("label\tfile\tlabel", "b\t0.png\ta", "a\t1.png\tb")),
        (
            "metadata.jsonl",
            rows('{"file": "0.png", "label": "a"}', '{"file": "1.png", "label": "b", "label": "a"}'),
        ),
    ],
)
def test_two_columns_of_one_name_are_refused(name: str, text: str) -> None:
    for paths in (FLAT, ["a/0.png", "b/1.png"]):
        with pytest.raises(UserError, match=f"data/{name} has two columns called label: give one of them another name"):
            read(paths, {name: text})


def test_a_first_row_of_equal_cells_names_no_columns() -> None:
    found = read(FLAT, {"labels.csv": rows("0.png,a,a", "1.png,b,x", "2.png,b,y")}, label_column="2")
    assert labels(found) == {"train": ["a", "b", "b"]}
    assert "Columns not used: 3 (labels.csv)" in found.notices


@pytest.mark.parametrize("above", ["\n", "\r\n \n", ",\n", "sep=,\n\n", "# made by hand\n\n"])
def test_empty_lines_above_the_names_of_columns_are_no_rows(above: str) -> None:
    text = above + rows("file,label", "1.png,a", "2.png,b", "3.png,b")
    assert labels(read(FLAT, {"labels.csv": text})) == {"train": ["a", "b", "b"]}
    text = above.replace(",", "\t") + rows("\tfile\tlabel", "0\t1.png\ta", "1\t2.png\tb", "2\t3.png\tb")
    assert labels(read(FLAT, {"labels.tsv": text})) == {"train": ["a", "b", "b"]}


PEOPLE = ["Doe, John", "Smith, John", "Roe, Jane"]


@pytest.mark.parametrize("sign", [",", ";"])
@pytest.mark.parametrize("name", ["file", "id"])
def test_signs_within_labels_are_not_taken_for_ends_of_cells(sign: str, name: str) -> None:
    people = [person.replace(",", sign) for person in PEOPLE]
    text = rows(f"{name}{sign}label", *(f"{n}.png{sign}{people[n % 3]}" for n in range(4)))
    with pytest.raises(UserError, match=f"each row has a cell more than there are names of columns, and {name} names"):
        read(FLAT, {"labels.csv": text})
    quoted = rows(f"{name}{sign}label", *(f'{n}.png{sign}"{people[n % 3]}"' for n in range(4)))
    assert labels(read(FLAT, {"labels.csv": quoted})) == {"train": [people[n % 3] for n in range(4)]}
    with pytest.raises(UserError, match="labels.csv: all of its rows have more or fewer cells than the first"):
        read(FLAT, {"labels.csv": text.replace("John", f"John{sign} Jr").replace("Jane", f"Jane{sign} Jr")})


def test_names_of_rows_may_be_those_of_pictures() -> None:
    text = rows("label,size", "0.png,a,3", "1.png,b,4", "2.png,b,3")
    assert labels(read(FLAT, {"labels.csv": text}, label_column="label")) == {"train": ["a", "b", "b"]}


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_blanks_before_quotation_marks_are_no_part_of_cells(sign: str) -> None:
    text = rows(f'"file"{sign} "label"', *(f'"{n}.png"{sign} "{PEOPLE[n % 3]}"' for n in range(4)))
    assert labels(read(FLAT, {"labels.csv": text})) == {"train": [PEOPLE[n % 3] for n in range(4)]}


def test_a_file_column_of_one_name_with_another_is_refused() -> None:
    with pytest.raises(UserError, match="two columns called file"):
        read(FLAT, {"labels.csv": rows("file,label,file", "0.png,a,x", "1.png,b,y")})


RECORDS = ['{"file": "0.png", "label": "a"}', '{"file": "1.png", "label": "b"}', '{"file": "2.png", "label": "b"}']
BROKEN = {
    "labels.jsonl": (rows(*RECORDS[:2], RECORDS[2][:-1]), "its line 3 is no JSON"),
    "captions.jsonl": (rows(RECORDS[0], "", "[" * 100_000), "its line 3 is no JSON"),
    "labels.csv": (
        rows("file,label,note", "0.png,a,", f"1.png,b,{'x' * 140_000}"),
        r"its row 3 cannot be read as cells (field larger than field limit (131072))",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_why_a_table_cannot_be_read_is_said(name: str) -> None:
    text, why = BROKEN[name]
    with pytest.raises(UserError, match=re.escape(f"{name}: {why}")):
        read(FLAT, {name: text})
    assert f"{name} is not used: {why}" in read(["a/0.png", "b/1.png"], {name: text}).notices


def test_texts_of_records_may_hold_line_separators() -> None:
    text = rows(*(record[:-1] + ', "note": "one\u2028two"}' for record in RECORDS))
    assert labels(read(FLAT, {"labels.jsonl": text})) == {"train": ["a", "b", "b"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in ("labels.txt", "labels.csv", "labels.jsonl") for text in ("", "\n \n")),
        ("labels.txt", "# nothing\n"),
        ("labels.csv", "# nothing\n"),
        ("labels.csv", "sep=,\n"),
    ],
)
def test_an_empty_list_is_no_table(name: str, text: str) -> None:
    table = parse(name, text)
    assert (table.columns, table.broken) == ({}, "")


def test_empty_columns_without_a_name_are_none() -> None:
    assert parse("a.csv", rows("file,label,,", "0.png,a,,", "1.png,b,,")).names == ["file", "label"]
    assert parse("a.csv", rows(",label,", "0.png,a,x")).twice == ""


def test_a_metadata_parquet_of_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "metadata.parquet"
    pq.write_table(pa.table([["0.png"], ["a"], ["b"]], names=["file_name", "label", "label"]), file)
    with pytest.raises(UserError, match=r"metadata\.parquet has two columns called label"):
        as_lines(file)


def test_columns_of_other_values_of_a_metadata_parquet_are_named(tmp_path: Path) -> None:
    file = tmp_path / "metadata.parquet"
    pq.write_table(pa.table({"file_name": ["0.png", "1.png"], "boxes": [[1, 2], [3]], "label": ["a", "b"]}), file)
    assert parse("metadata.parquet", as_lines(file)).columns == {
        "file_name": ["0.png", "1.png"],
        "boxes": ["", ""],
        "label": ["a", "b"],
    }


@pytest.mark.parametrize("name", ["label", "kind"])
@pytest.mark.parametrize("several", [["cat", "dog"], {"cat": 1}, ["cat"]])
def test_several_labels_of_a_picture_are_refused(name: str, several: object) -> None:
    cells = ["cat", "dog", several, "cat"]
    lines = [{"file_name": f"{n}.png", name: cells[n], "boxes": [[n]], "size": {"w": 1}} for n in range(4)]
    text = rows(*map(json.dumps, lines))
    for column in (None, name) if name == "label" else (name,):
        with pytest.raises(UserError, match=rf"metadata\.jsonl: row 3 holds no single {name}: give one label an image"):
            read(FLAT, {"metadata.jsonl": text}, label_column=column)
    single = rows(*(json.dumps({**line, name: "cd"[n % 2]}) for n, line in enumerate(lines)))
    assert labels(read(FLAT, {"metadata.jsonl": single})) == {"train": list("cdcd")}


def test_several_labels_of_a_picture_in_a_metadata_parquet_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "metadata.parquet"
    pq.write_table(pa.table({"file_name": ["0.png", "1.png"], "label": [["cat", "dog"], ["dog"]]}), file)
    with pytest.raises(UserError, match=r"metadata\.parquet: row 1 holds no single label: give one label an image"):
        read(FLAT, {"metadata.parquet": as_lines(file)})


@pytest.mark.parametrize(
    ("text", "classes", "unused"),
    [
        (rows("0.png cat 1 2 3 4", "1.png dog 5 6 7 8", "2.png cat 9 9 9 9"), "cdc", "3, 4, 5, 6"),
        (rows("0.png  cat  0.93 ", "1.png dog .5", "2.png cat 1e-3"), "cdc", "3"),
        (rows("0.png cat 1 2", "1.png dog", "2.png cat 1 2 3"), "cdc", "3, 4, 5"),
        (rows("0.png 3 10 20", "1.png 4 10 21", "2.png 3 11 20"), "343", "3, 4"),
        (rows("0.png\tcat\t1\t2", "1.png\tdog\t1\t2", "2.png\tcat\t5\t2"), "cdc", "3, 4"),
        (rows("0.png\tcat\tAnn", "1.png\tdog\tBob", "2.png\tcat\tEve"), "cdc", "3"),
        (rows("7\t0.png\tcat", "8\t1.png\tdog", "9\t2.png\tcat"), "cdc", "1"),
        (rows("0.png\tcat of prey\t1", "1.png\tdog\t2", "2.png\tcat of prey\t3"), "cdc", "3"),
        (rows('0.png "cat of prey" 1', "1.png dog 2", '2.png "cat of prey" 1'), "cdc", "3"),
        (rows('0.png "cat of prey"', "1.png dog", '2.png\t"cat of prey"'), "cdc", None),
        (rows("cat\t0.png", "dog\t1.png", "cat\t2.png"), "cdc", None),
        (rows("0.png\tcat\t", "1.png\tdog\t", "2.png\tcat"), "cdc", None),
        (rows("0.png 1 0", "1.png 0 1", "2.png 1 0"), "232", None),
    ],
)
def test_plain_lists_name_what_follows_the_class(text: str, classes: str, unused: str | None) -> None:
    found = read(FLAT, {"labels.txt": text})
    (train,) = found.parts
    assert train.files == tuple(FLAT[:3])
    assert "".join(label[0] for label in train.labels) == classes
    assert {"cat", "cat of prey", "3", "2"} >= {train.labels[0]}
    told = [line for line in found.notices if "Columns" in line]
    assert told == ([] if unused is None else [f"Columns not used: {unused} (labels.txt)"])


def test_a_class_of_as_many_words_as_it_has_is_the_rest_of_the_line() -> None:
    planes = ["707-320", "Boeing 717", "Gulfstream IV", "Boeing 717", "707-320", "Gulfstream IV"]
    pictures = [f"{number}.jpg" for number in range(6)]
    found = read(pictures, {"labels.txt": rows(*(f"{number} {plane}" for number, plane in enumerate(planes)))})
    assert labels(found) == {"train": planes}
    with pytest.raises(UserError, match="row 2 has more or fewer cells"):
        read(pictures, {"labels.txt": rows("0 cat train", "1 polar bear train", "2 cat test", "3 polar bear test")})


def test_a_class_may_end_with_a_number() -> None:
    kinds = ["type 1", "type 2", "healthy"]
    pictures = [f"{number}.jpg" for number in range(9)]
    lines = [f"{number}.jpg {kinds[number % 3]}" for number in range(9)]
    assert labels(read(pictures, {"labels.txt": rows(*lines)})) == {"train": kinds * 3}
    for odd in ("8.jpg type", "8.jpg healthy 2"):  # numbers that some lines only have after the same word
        found = read(pictures, {"labels.txt": rows(*lines[:8], odd)})
        assert set(labels(found)["train"]) == {"type", "healthy"}
    scores = [f"{line} 0.5" if line.endswith("y") else line.replace(" 1", " .5") for line in lines]
    assert set(labels(read(pictures, {"labels.txt": rows(*scores)}))["train"]) == {"type", "healthy"}
    numbers = [line.replace("type", "7").replace("healthy", "8") for line in lines]
    assert labels(read(pictures, {"labels.txt": rows(*numbers)})) == {"train": ["7", "7", "8"] * 3}


@pytest.mark.parametrize("tested", [["type 1", "healthy", "type 2"], ["type 1", "type 2"]])
def test_numbers_belong_to_classes_in_a_list_if_they_do_in_another(tested: list[str]) -> None:
    kinds = ["type 1", "type 2", "healthy"]
    texts = {
        "test.txt": rows(*(f"{number}.jpg {kind}" for number, kind in enumerate(tested, 6))),
        "train.txt": rows(*(f"{number}.jpg {kinds[number % 3]}" for number in range(6))),
    }
    found = read([f"{number}.jpg" for number in range(9)], texts)
    assert labels(found) == {"train": kinds * 2, "test": tested}
    assert not any("Columns" in line for line in found.notices)


def test_a_plain_list_may_name_the_split_after_the_class() -> None:
    found = read(FLAT, {"labels.txt": rows("0.png cat train 3", "1.png dog train 4", "2.png dog test 4")})
    assert labels(found) == {"train": ["cat", "dog"], "test": ["dog"]}
    assert "Columns not used: 4 (labels.txt)" in found.notices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rows("0.png cat", "1.png golden retriever"),
            "labels.txt: row 2 has several words after the name of its image",
        ),
        (
            rows("0.png cat outdoor", "1.png dog outdoor"),
            "row 1 has several words after the name of its image: a class",
        ),
        (rows("0.png cat 3 blurred", "1.png dog 4 sharp"), "row 1 has several words"),
        (
            rows("0.png 1 -1", "1.png 1 1", "2.png -1 1", "3.png 1 1"),
            "cannot tell the labels; give label_column one of",
        ),
        (rows("0.png\tcat\tx", "1.png\tdog\ty", "2.png\tcat\tx", "3.png\tcat\ty"), "cannot tell the labels; give"),
        (rows("0.png\tcat\tx", "1.png\tdog", "2.png\tcat\ty", "3.png\tcat\tz"), "row 2 has more or fewer cells"),
    ],
)
def test_plain_lists_of_several_readings_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(FLAT, {"labels.txt": text})


def test_a_plain_list_of_several_words_still_tells_the_splits() -> None:
    texts = {"labels.csv": rows("file,label", "0.png,a", "1.png,b", "2.png,b"), "test.txt": "2.png golden retriever\n"}
    assert labels(read(FLAT, texts)) == {"train": ["a", "b"], "test": ["b"]}


@pytest.mark.parametrize(("name", "text"), [("test.csv", "file,who\n2.png\n"), ("test.txt", "2.png\tx\n3.png\ty\tz\n")])
def test_lists_of_splits_with_rows_of_another_length_are_refused(name: str, text: str) -> None:
    text += "1.png,x\n" if name.endswith("csv") else ""
    with pytest.raises(UserError, match="has more or fewer cells than the first"):
        read(FLAT, {"labels.csv": rows("file,label", "0.png,a", "1.png,b", "2.png,b"), name: text})


@pytest.mark.parametrize("prefix", ["", "./", "data/", "pictures/../"])
def test_blanks_in_the_names_of_pictures_part_no_cells(prefix: str) -> None:
    paths = [f"{name}/{number}.png" for name in ("hot dog", "ice cream", "pie") for number in range(4)]
    text = rows(*(f"{prefix}{name}/3.png" for name in ("hot dog", "pie", "ice cream", "red cake")))
    if prefix != "data/":  # which is no folder: the names of the files alone are not unique
        found = read(paths, {"test.txt": text})
        assert found.parts[1].files == ("hot dog/3.png", "ice cream/3.png", "pie/3.png")
        assert labels(read(paths, {"test.txt": text.replace(".png", ".png 7")}))["test"] == [
            "hot dog",
            "ice cream",
            "pie",
        ]
    shown = {"labels.csv": rows("file,label", "my pic 0.png,a", "my pic 1.png,b", "2.png,b")}
    found = read(["my pic 0.png", "my pic 1.png", "2.png"], {**shown, "test.txt": f"{prefix}my pic 1.png\n"})
    assert labels(found) == {"train": ["a", "b"], "test": ["b"]}


def test_names_with_blanks_stand_before_classes() -> None:
    paths = ["a/my pic 0.png", "a/my pic 1.png", "a/2.png", "a/3.png"]
    text = rows("my pic 0.png cat", "my pic 1.png dog", "2.png cat", "a/3.png dog", "my pic 9.png dog")
    found = read(paths, {"labels.txt": text})
    assert dict(zip(found.parts[0].files, found.parts[0].labels, strict=True)) == dict(
        zip(paths, ["cat", "dog"] * 2, strict=True)
    )
    two = rows("cat a/0.png", "dog a/1.png", "cat a/2.png")
    assert labels(read(["a/0.png", "a/1.png", "a/2.png", "a/x y.png"], {"labels.txt": two})) == {
        "train": ["cat", "dog", "cat"]
    }


def test_comments_in_plain_lists_are_no_rows() -> None:
    text = rows("# name class", "0.png a", "#pictures of one day", "1.png b", "2.png b")
    found = read(FLAT, {"labels.txt": text, "test.txt": rows("# for testing, not for training", "2.png")})
    assert labels(found) == {"train": ["a", "b"], "test": ["b"]}
    assert not any("without a picture" in line for line in found.notices)
    found = read(["#0.png", "#1.png"], {"labels.txt": rows("#0.png a", "#1.png b", "# two rows")})
    assert labels(found) == {"train": ["a", "b"]}
