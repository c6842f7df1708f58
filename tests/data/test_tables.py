"""Parquet files of all kinds that libraries write."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import moving, noise, png

from m3d_condense.data import schema
from m3d_condense.data.load import load
from m3d_condense.data.tables import as_lines, opened
from m3d_condense.tools.errors import UserError

PNGS = [png(number) for number in range(12)]
CAT_DOG = ["cat", "dog"] * 6


def write(path: Path, images: Any = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": PNGS if images is None else images, **columns}), path)
    return path


def with_names(path: Path, names: list[str], labels: list[Any]) -> Path:
    """Write ids, and their names as `datasets` does."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    table = pa.table({"image": PNGS[: len(labels)], "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


@pytest.mark.parametrize(
    "images",
    [
        pa.array(PNGS, pa.binary()),
        pa.array(PNGS, pa.large_binary()),
        pa.array([list(data) for data in PNGS], pa.list_(pa.uint8())),
        pa.array([list(data) for data in PNGS], pa.large_list(pa.uint8())),
        pa.array([{"bytes": data, "path": "x.png"} for data in PNGS]),
        pa.array([{"bytes": data} for data in PNGS], pa.struct([("bytes", pa.large_binary())])),
    ],
    ids=["binary", "large_binary", "list", "large_list", "struct", "large struct"],
)
def test_images_are_read_from_every_type_of_bytes(tmp_path: Path, images: Any) -> None:
    data = load(write(tmp_path / "a.parquet", images, label=CAT_DOG), seed=1)
    assert (data.class_names, len(data.train) + len(data.test)) == (("cat", "dog"), 12)
    pixels = {image.numpy().tobytes() for split in (data.train, data.test) for image in split.images}
    assert pixels == {noise(4, 5, 3, seed=n).transpose(2, 0, 1).tobytes() for n in range(12)}


@pytest.mark.parametrize("ending", ["parquet", "PARQUET", "parq"])
def test_endings_in_capital_letters_are_read(tmp_path: Path, ending: str) -> None:
    write(tmp_path / "train" / f"0.{ending}", label=CAT_DOG)
    assert load(tmp_path).class_names == load(tmp_path / "train" / f"0.{ending}").class_names == ("cat", "dog")


@pytest.mark.parametrize("name", ["label", "Label", "labels", "class", "target", "category"])
def test_a_column_called_label_is_taken_among_others(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"size": [1, 2, 3] * 4, "place": ["here", "there"] * 6}
    assert load(write(tmp_path / "a.parquet", **others, **{name: CAT_DOG})).class_names == ("cat", "dog")
    assert "Columns not used: size, place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([2.0, 10.0] * 6),
        pa.array(["2", "10"] * 6),
        pa.array(["2", "10"] * 6).dictionary_encode(),
        pa.array([2, 10] * 6, pa.uint8()),
        pa.array([b"2", b"10"] * 6),
        pa.array(["2", "10"] * 6, pa.large_string()),
    ],
    ids=["float", "text", "category", "uint8", "bytes", "large_string"],
)
def test_labels_of_every_type_stand_in_the_same_order(tmp_path: Path, labels: Any) -> None:
    data = load(write(tmp_path / "a.parquet", label=labels), label_column="label", image_column="image")
    assert data.class_names == ("2", "10")


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ([0, 1, -1] * 4, 4),
        ([0.0, float("nan"), 1.0] * 4, 4),
        (["a", "b", None] * 4, 4),
        (["a", "b", "", "nan"] * 3, 6),
    ],
)
def test_rows_without_a_label_are_left_out_of_training(
    tmp_path: Path, labels: list[Any], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(write(tmp_path / "a.parquet", label=labels))
    assert data.num_classes == 2
    assert len(data.train) + len(data.test) == 12 - count
    assert f"{count} rows of the train split without a label left out, the first is row" in capsys.readouterr().err


def test_the_images_of_labelled_rows_stay_with_their_labels(tmp_path: Path) -> None:
    labels = [None if row % 3 == 1 else ["a", "b"][row % 2] for row in range(12)]
    write(tmp_path / "train.parquet", label=labels)
    write(tmp_path / "test.parquet", label=CAT_DOG[:0] + ["a", "b"] * 6)
    data = load(tmp_path)
    kept = [row for row in range(12) if row % 3 != 1]
    assert data.train.labels.tolist() == [row % 2 for row in kept]
    for image, row in zip(data.train.images, kept, strict=True):
        np.testing.assert_array_equal(image.numpy(), noise(4, 5, 3, seed=row).transpose(2, 0, 1))


def test_a_damaged_row_is_named_by_its_number_in_the_file(tmp_path: Path) -> None:
    images = [b"junk" if row == 7 else data for row, data in enumerate(PNGS)]
    file = write(tmp_path / "a.parquet", images, label=[-1, 0, 1, *[0, 1] * 4, -1])
    with pytest.raises(UserError, match="row 7 of the train split"):
        load(file)


def test_a_row_of_several_frames_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [*PNGS[:5], moving(tmp_path / "a.gif", (4, 5, 3)).read_bytes(), *PNGS[6:]]
    load(write(tmp_path / "a.parquet", images, label=CAT_DOG))
    assert "1 of 12 images has several frames or pages, as in row 5 of the train split: " in capsys.readouterr().err


def test_a_test_split_without_labels_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train.parquet", label=[0, 1] * 6)
    write(tmp_path / "test.parquet", label=[-1] * 12)
    write(tmp_path / "validation.parquet", label=[1, 0] * 6)
    assert load(tmp_path).test.labels.tolist() == [1, 0] * 6
    told = capsys.readouterr().err
    assert "The test split has no labels, and is not used (12 rows)" in told
    assert "There is no labelled test split: the validation split is the test split" in told


def test_a_test_split_without_the_column_of_labels_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "train.parquet", label=[0, 1] * 6)
    write(tmp_path / "test.parquet")
    load(tmp_path)
    assert "The test split has no labels, and is not used (12 rows)" in capsys.readouterr().err


def test_a_further_split_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test", "dev"):
        write(tmp_path / f"{name}.parquet", label=[0, 1] * 6)
    load(tmp_path)
    assert "The dev split is not used (12 rows)" in capsys.readouterr().err


def test_ids_with_other_names_in_the_test_split_are_matched_by_name(tmp_path: Path) -> None:
    with_names(tmp_path / "train.parquet", ["cat", "dog"], [0, 1, 0, 1])
    with_names(tmp_path / "test.parquet", ["dog", "cat"], [0, 0, 1, -1])
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.test.labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize("named", [0, 1])
def test_ids_without_names_are_those_of_the_other_files(tmp_path: Path, named: int) -> None:
    with_names(tmp_path / f"train-{named}.parquet", ["cat", "dog"], [0, 1, 0, 1])
    write(tmp_path / f"train-{1 - named}.parquet", PNGS[:4], label=[1, 0, 1, -1])
    write(tmp_path / "test.parquet", PNGS[:2], label=[0, 1])
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    rows = [[0, 1, 0, 1], [1, 0, 1]]
    assert data.train.labels.tolist() == [*rows[named], *rows[1 - named]]
    write(tmp_path / f"train-{1 - named}.parquet", PNGS[:2], label=[7, 0])
    with pytest.raises(UserError, match="none of the 2 class names: 7"):
        load(tmp_path)
    with_names(tmp_path / "train-2.parquet", ["dog", "cat"], [0, 1])
    said = (
        rf"train-{1 - named}.parquet has ids without names, for which train-{named}.parquet and train-2.parquet differ"
    )
    with pytest.raises(UserError, match=said):
        load(tmp_path)


def test_files_of_one_split_with_other_names_are_matched_by_name(tmp_path: Path) -> None:
    with_names(tmp_path / "train-0.parquet", ["cat", "dog"], [0, 1, 0, 1])
    with_names(tmp_path / "train-1.parquet", ["dog", "cat"], [0, 1, 0, 1])
    with_names(tmp_path / "test.parquet", ["dog", "cat"], [0, 1, 0, 1])
    data = load(tmp_path)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1, 0, 1, 0]
    assert data.test.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [[0, 1]] * 12}, "the column label holds neither numbers nor text"),
        ({"label": [[0, 1]] * 12, "place": ["a", "b"] * 6}, "label holds neither numbers nor text.*one of: place"),
        ({"a": [0, 1] * 6, "b": [0, 1] * 6}, "the train split: cannot tell the labels; give label_column one of: a, b"),
        ({"more": PNGS, "label": [0, 1] * 6}, None),
        ({"label": [0.5, 1.0] * 6}, "the label 0.5 in row 0 of the train split is no class"),
        ({}, "no column of labels, only: image"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(tmp_path: Path, columns: dict[str, Any], message: str | None) -> None:
    file = write(tmp_path / "a.parquet", **columns)
    if message is None:
        assert load(file).class_names == ("0", "1")
        return
    with pytest.raises(UserError, match=message):
        load(file)


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", label=[0, 1] * 6)
    write(tmp_path / "train-1.parquet", kind=[0, 1] * 6)
    with pytest.raises(UserError, match=r"train-1\.parquet has no column label, which train-0\.parquet has"):
        load(tmp_path)


def test_paths_are_opened_below_the_folder_of_the_data_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    for number, file in enumerate((secret, tmp_path / "data" / "pictures" / "0.png", tmp_path / "data" / "1.png")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PNGS[number])
    (tmp_path / "data" / "link.png").symlink_to(secret)
    inside = [
        {"bytes": None, "path": ["pictures/0.png", str(tmp_path / "data" / "1.png")][row % 2]} for row in range(4)
    ]
    data = load(write(tmp_path / "data" / "a.parquet", inside, label=[0, 1, 0, 1]))
    assert {image.numpy().tobytes() for image in data.train.images} == {
        noise(4, 5, 3, seed=n).transpose(2, 0, 1).tobytes() for n in (1, 2)
    }
    for path in (str(secret), "../secret.png", "link.png", "nowhere.png", "pictures", "x" * 5000, "\0"):
        outside = [*inside[:3], {"bytes": None, "path": path}]
        with pytest.raises(UserError, match="row 3 of the train split names the file"):
            load(write(tmp_path / "data" / "b.parquet", outside, label=[0, 1, 0, 1]))


def test_a_column_of_paths_is_read(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(PNGS[number])
    file = tmp_path / "metadata.parquet"
    pq.write_table(pa.table({"file_name": [f"{n}.png" for n in range(4)], "label": ["a", "b"] * 2}), file)
    assert load(file).class_names == ("a", "b")


@pytest.mark.parametrize("form", ["text", "objects"])
def test_pictures_that_a_table_names_are_not_called_unused(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"images/{number}.png" for number in range(6)]
    (tmp_path / "images").mkdir()
    for name, data in zip(names, PNGS, strict=False):
        (tmp_path / name).write_bytes(data)
    images = names[:5] if form == "text" else [{"bytes": None, "path": name} for name in names[:5]]
    write(tmp_path / "train.parquet", images, label=["a", "b", "a", "b", None])
    load(tmp_path)
    assert f"Not used in {tmp_path}: 2 images\n" in capsys.readouterr().err
    write(tmp_path / "train.parquet", PNGS[:4], label=["a", "b"] * 2)
    load(tmp_path)
    assert f"Not used in {tmp_path}: 6 images\n" in capsys.readouterr().err


def test_a_bad_note_of_datasets_is_passed_over(tmp_path: Path) -> None:
    for note in (b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'):
        table = pa.table({"image": PNGS, "label": CAT_DOG}).replace_schema_metadata({b"huggingface": note})
        pq.write_table(table, tmp_path / "a.parquet")
        assert load(tmp_path / "a.parquet").class_names == ("cat", "dog")


def test_an_empty_table_and_a_pointer_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the train split has no rows"):
        load(write(tmp_path / "a.parquet", pa.array([], pa.binary()), label=pa.array([], pa.int64())))
    (tmp_path / "b.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(UserError, match="is a pointer of Git LFS, not the data: fetch these with git lfs pull"):
        load(tmp_path / "b.parquet")


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.parquet", label=CAT_DOG)

    def closed(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pq, "ParquetFile", closed)  # who runs the tests may be root, to whom all is open
    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UserError, match=r"cannot read .*a\.parquet: .*Permission denied"), opened(file):
        pass


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.table([PNGS, CAT_DOG, CAT_DOG], names=["image", "label", "label"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(UserError, match="two columns called label"):
        load(tmp_path / "a.parquet")


def wide(kind: str, columns: int) -> pa.Table:
    """Return a table of that many columns beside those of images and labels, if it has these."""
    names = [f"column{number}" for number in range(columns)]
    if kind == "one-hot":
        return pa.table({"image": PNGS, **{name: [row % 3 == n for row in range(12)] for n, name in enumerate(names)}})
    numbers = {name: [row / 7 + n for row in range(12)] for n, name in enumerate(names)}
    texts = {name: [f"{row} of {name}" for row in range(12)] for name in names}
    return {
        "numbers": pa.table({"image": PNGS, "label": CAT_DOG, **numbers}),
        "texts": pa.table({"image": PNGS, "label": CAT_DOG, **texts}),
        "flat": pa.table({"label": CAT_DOG, **numbers}),
        "paths": pa.table({**texts, "image": [f"{row}.png" for row in range(12)], "label": CAT_DOG}),
    }[kind]


def noted(table: pa.Table, labels: str) -> pa.Table:
    """Write notes of `datasets` on all columns: their type, and the names of classes in columns of numbers."""
    names = {name: {"_type": "ClassLabel", "names": [labels, "other"]} for name in table.schema.names}
    features = names | {"image": {"_type": "Image"}, "label": {"_type": "Value"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("read", [load, lambda folder: as_lines(folder / "train-0.parquet")], ids=["load", "as_lines"])
@pytest.mark.parametrize("kind", ["numbers", "texts", "one-hot", "flat", "paths"])
def test_the_files_of_many_columns_are_opened_as_often_as_those_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, read: Any
) -> None:
    calls: list[str] = []

    def call(real: Any, *args: Any, **settings: Any) -> Any:
        calls.append(real.__name__)
        return real(*args, **settings)

    for owner, name in ((pq, "ParquetFile"), (pq, "read_schema"), (schema, "features")):
        monkeypatch.setattr(owner, name, partial(call, getattr(owner, name)))
    counts = []
    for columns in (3, 200):
        for number in range(2):
            pq.write_table(noted(wide(kind, columns), f"of file {number}"), tmp_path / f"train-{number}.parquet")
        with suppress(UserError):  # for some of these tables there are several images or labels, or none
            read(tmp_path)
        counts.append(sorted(calls))
        calls.clear()
    assert counts[0] == counts[1] != []


@pytest.mark.parametrize("order", [0, 1])
def test_a_column_of_splits_that_some_files_lack_is_refused(tmp_path: Path, order: int) -> None:
    rows = {"image": [png(n) for n in range(4)], "label": [0, 1, 0, 1]}
    for number, more in enumerate([{}, {"is_test": [0, 0, 0, 1]}][:: 1 - 2 * order]):
        pq.write_table(pa.table(rows | more), tmp_path / f"{number}.parquet")
    with pytest.raises(UserError, match="is_test"):
        load(tmp_path)
