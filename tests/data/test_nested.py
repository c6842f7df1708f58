"""Columns of arrays and of nested lists, in tables in memory and in parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import noise, png

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

LABELS = [0, 1] * 6
GREY = noise(12, 5, 6)
SHAPES = [(), (1,), (3,), (4,)]


def column(images: Any, feature: Any) -> datasets.Dataset:
    features = datasets.Features({"image": feature, "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": list(images), "label": LABELS}, features=features)


def parquet(file: Path, images: Any, **columns: Any) -> Path:
    pq.write_table(pa.table({"image": images, "label": LABELS, **columns}), file)
    return file


def same(data: Any, images: Any, **options: Any) -> None:
    """Check that data are read as the same images in one array are."""
    assert load(data, **options).fingerprint == load((images, LABELS), **options).fingerprint


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint16", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("channels", SHAPES, ids=["H×W", "1", "3", "RGBA"])
@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_a_column_of_arrays_is_read_as_one_array(
    tmp_path: Path, dtype: str, channels: tuple[int, ...], first: bool
) -> None:
    images = noise(12, 5, 6, *channels)
    images = (images / 255 if dtype.startswith("float") else images > 127 if dtype == "bool" else images).astype(dtype)
    if first and channels:
        images = np.moveaxis(images, -1, 1)
    shape = images.shape[1:]
    kind = (datasets.Array2D if len(shape) == 2 else datasets.Array3D)(shape=shape, dtype=dtype)
    table = column(images.tolist(), kind)
    for data in (table, table.with_format("numpy"), table.to_iterable_dataset()):
        same(data, images)
    table.to_parquet(tmp_path / "a.parquet")
    same(tmp_path / "a.parquet", images)


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_nested_lists_are_read_as_one_array(tmp_path: Path, bits: int) -> None:
    images = (GREY.astype(np.int64) * 257) >> (16 - bits)
    same(datasets.Dataset.from_dict({"image": images.tolist(), "label": LABELS}), images)
    for kind in (
        pa.list_(pa.list_(pa.int64())),
        pa.large_list(pa.list_(pa.int64())),
        pa.list_(pa.list_(pa.int64(), 6), 5),
    ):
        same(parquet(tmp_path / "a.parquet", pa.array(images.tolist(), kind)), images)


def test_columns_of_arrays_take_size_and_layout(tmp_path: Path) -> None:
    images = noise(12, 3, 8, 3)
    file = parquet(tmp_path / "a.parquet", images.tolist())
    with pytest.raises(UserError, match=r"the image in row 0 of the train split .*layout=NHWC.*: say which"):
        load(file)
    same(file, images, layout="NHWC", size=4)


def test_arrays_are_found_beside_others(tmp_path: Path) -> None:
    same(parquet(tmp_path / "a.parquet", GREY.tolist(), mask=[[[0, 1]]] * 12), GREY)
    same(parquet(tmp_path / "b.parquet", GREY.tolist(), thumbnail=[png(0)] * 12), GREY)
    table = pa.table({"pixels": GREY.tolist(), "label": LABELS})
    pq.write_table(table, tmp_path / "c.parquet")
    same(tmp_path / "c.parquet", GREY)
    assert load(parquet(tmp_path / "d.parquet", [png(0)] * 12, boxes=GREY.tolist())).size == (4, 5)


def test_rows_left_out_of_arrays_are_not_read(tmp_path: Path) -> None:
    rows = GREY.tolist()
    table = pa.table({"image": [None, *rows[1:]], "label": [None, *LABELS[1:]], "split": ["train"] * 8 + ["test"] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet")
    assert np.array_equal(data.train.images[:, 0], GREY[1:8])
    assert np.array_equal(data.test.images[:, 0], GREY[8:])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "row 3 of the train split holds no whole array"),
        ([[1, 2], [3]], "row 3 of the train split holds no whole array"),
        ([[1, None], [3, 4]], "row 3 of the train split holds no whole array"),
        ([], "row 3 of the train split holds no whole array"),
        ([[1, 2], [3, 4]], r"the images differ in size, from 6×5 \(image 0\) to 2×2 pixels"),
        ([[-1] * 6] * 5, "range from -1 to 255: shifted levels"),
    ],
)
def test_arrays_that_cannot_be_read_are_named(tmp_path: Path, bad: Any, message: str) -> None:
    rows = GREY.tolist()
    rows[3] = bad
    for data in (parquet(tmp_path / "a.parquet", rows), datasets.Dataset.from_dict({"image": rows, "label": LABELS})):
        with pytest.raises(UserError, match=message):
            load(data)


def test_columns_without_images_are_named(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", GREY.tolist(), id=range(12))
    for data in (file, datasets.Dataset.from_parquet(str(file))):
        with pytest.raises(UserError, match="image_column=id: holds values of type int64, no images"):
            load(data, image_column="id", label_column="label")
    with pytest.raises(UserError, match="layout=NHW: goes with arrays only"):
        load(parquet(tmp_path / "b.parquet", [png(0)] * 12), layout="NHW")
    split = tmp_path / "split"
    split.mkdir()
    parquet(split / "train.parquet", GREY.tolist())
    parquet(split / "test.parquet", [png(0)] * 12)
    with pytest.raises(UserError, match="one split holds its images as arrays, the other as encoded"):
        load(split)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", SHAPES, ids=["H×W", "1", "3", "RGBA"])
def test_tensors_of_arrow_are_read_as_one_array(tmp_path: Path, dtype: str, channels: tuple[int, ...]) -> None:
    images = noise(12, 5, 6, *channels)
    images = (images / 255).astype(dtype) if dtype.startswith("float") else images.astype(dtype)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    same(parquet(tmp_path / "a.parquet", tensors), images)
    same(pa.table({"image": tensors, "label": LABELS}), images)


def test_tensors_of_another_order_of_axes_are_refused(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), (3, 5, 6), permutation=[1, 2, 0])
    rows = noise(12, 3, 5, 6).reshape(12, -1)
    tensors = pa.ExtensionArray.from_storage(kind, pa.array(rows.tolist(), type=kind.storage_type))
    with pytest.raises(UserError, match="no column of images"):
        load(parquet(tmp_path / "a.parquet", tensors))
    with pytest.raises(UserError, match=r"cannot read the Table: .*permutation=.*; give \(images, labels\)"):
        load(pa.table({"image": tensors, "label": LABELS}))


def test_a_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), (5, 6))
    rows = [*GREY.reshape(12, -1).tolist()[:11], None]
    tensors = pa.ExtensionArray.from_storage(kind, pa.array(rows, type=kind.storage_type))
    for data in (parquet(tmp_path / "a.parquet", tensors), pa.table({"image": tensors, "label": LABELS})):
        with pytest.raises(UserError, match="row 11 .* holds no whole array"):
            load(data)


@pytest.mark.parametrize("number", [pa.int64(), pa.uint8(), pa.float32()])
@pytest.mark.parametrize("size", [-1, 30])
def test_numbers_in_one_row_are_refused_with_what_to_give(tmp_path: Path, number: Any, size: int) -> None:
    rows = pa.array(GREY.reshape(12, -1).tolist(), type=pa.list_(number, size))
    told = "holds numbers in one row, whose height and width are not told: make them arrays"
    for data in (parquet(tmp_path / "a.parquet", rows), pa.table({"image": rows, "label": LABELS})):
        with pytest.raises(UserError, match=told):
            load(data)
    with pytest.raises(UserError, match=f"image_column=image: {told}"):
        load(tmp_path / "a.parquet", image_column="image")
