"""Files beside pictures as tables: their columns and rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists_beside import FLAT, labels, read, rows

from m3d_condense.data.side_files import parse
from m3d_condense.data.tables import as_lines
from m3d_condense.tools.errors import UserError


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


def test_a_file_column_of_one_name_with_another_is_refused() -> None:
    with pytest.raises(UserError, match="two columns called file"):
        read(FLAT, {"labels.csv": rows("file,label,file", "0.png,a,x", "1.png,b,y")})


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
