"""Parquet files read with pyarrow: their columns of images and of labels, a few rows at a time.

Nothing but the files is opened, and nothing is asked of the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from m3d_condense.data.columns import FLAT, name_twice
from m3d_condense.data.nested import ArrayColumn, is_flat, number_type
from m3d_condense.data.pictures import inside
from m3d_condense.data.raster import header, readable_endings
from m3d_condense.data.schema import (
    by_name,
    check_images,
    class_names,
    holds_bytes,
    holds_labels,
    holds_several,
    holds_text,
    of_kind,
    one_of_few,
)
from m3d_condense.data.split_columns import means_splits
from m3d_condense.data.tree import is_picture
from m3d_condense.tools.errors import UserError

POINTER = b"version https://git-lfs"  # how the files begin that stand for large ones
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True, kw_only=True)
class Table:
    """The parquet files of one split, which have the same columns.

    Attributes:
        name: of the split.
        files: in order.
        folder: the folder of the data: images that are given by their paths lie in it.
        schema: of the first file.
    """

    name: str
    files: tuple[Path, ...]
    folder: Path
    schema: Any

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    def image_columns(self) -> list[str]:
        """Return the columns of images by what `datasets` has written of them, else of bytes, else of paths."""
        known = list(of_kind(self.schema, "Image"))
        encoded = [name for name in self.columns if holds_bytes(self.schema.field(name).type)]
        return known or encoded or self._columns_of_paths()

    def array_columns(self) -> list[str]:
        """Return the columns of arrays of numbers."""
        return [name for name in self.columns if number_type(self.schema.field(name).type) is not None]

    def flat_columns(self) -> list[str]:
        """Return the columns of numbers in one row, as images that have lost their height and width."""
        return [name for name in self.columns if is_flat(self.schema.field(name).type)]

    def label_columns(self) -> list[str]:
        """Return the columns whose values may be labels: numbers or text."""
        return [name for name in self.columns if holds_labels(self.schema.field(name).type)]

    def text_columns(self) -> list[str]:
        """Return the columns of text."""
        return [name for name in self.columns if holds_text(one_of_few(self.schema.field(name).type))]

    def class_columns(self) -> list[str]:
        """Return the columns of which `datasets` has written that they hold classes."""
        return list(of_kind(self.schema, "ClassLabel"))

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def values(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield columns and all their values; raises UserError for a file that lacks one."""
        parts = self._read(columns)
        for column in columns:
            yield column, [value for part in parts for value in part.column(column).to_pylist()]

    def labels(self, columns: Sequence[str]) -> Iterator[tuple[str, list[Any], tuple[str, ...]]]:
        """Yield columns, all their labels, and the names that ids among these stand for.

        Files without names have those of the others. Where these differ, ids become names; raises UserError for ids
        without names then, and for a file that lacks a column.
        """
        parts = self._read(columns)
        names = [class_names(part.schema) for part in parts]
        for column in columns:
            values = [part.column(column).to_pylist() for part in parts]
            yield column, *self._joined(values, [known.get(column, ()) for known in names])

    def mode(self, column: str) -> str | None:
        """Return the mode of PIL's that `datasets` has written of a column of images; None where it has not."""
        mode = of_kind(self.schema, "Image").get(column, {}).get("mode")
        return None if mode is None else str(mode)

    def images(self, column: str, rows: NDArray[np.int64]) -> ImageColumn | ArrayColumn:
        """Return the images of some rows, ascending; raises UserError for a column that holds none."""
        kind = self.schema.field(column).type
        dtype = number_type(kind)
        if dtype is not None:
            return ArrayColumn(column=Column(table=self, column=column, rows=rows), dtype=dtype)
        check_images(kind, column)
        if is_flat(kind) and not self._is_encoded(column):
            raise UserError(FLAT, setting="image_column", value=column)
        return ImageColumn(table=self, column=column, rows=rows)

    def first(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the first value of columns; None where there is none."""
        with opened(self.files[0]) as parquet:
            rows = next(parquet.iter_batches(batch_size=1, columns=list(columns)), None)
        return {name: next(iter(rows.column(name).to_pylist()), None) if rows is not None else None for name in columns}

    def _read(self, columns: Sequence[str]) -> list[Any]:
        """Return some columns of each file as Arrow holds them: a file is opened once, for that takes all its names."""
        parts = []
        for file in self.files:
            with opened(file) as parquet:
                held = set(parquet.schema_arrow.names)
                if missing := [name for name in columns if name not in held]:
                    raise UserError(
                        f"{file} has no column {missing[0]}, which {self.files[0].name} has; give files alike"
                    )
                parts.append(parquet.read(columns=list(columns)))
        return parts

    def _joined(self, values: Sequence[list[Any]], named: list[tuple[str, ...]]) -> tuple[list[Any], tuple[str, ...]]:
        """Return the labels of all files in one list, and the names of ids, given those of each file; see `labels`."""
        known = sorted(set(named) - {()}, key=named.index)
        if len(known) < 2:
            return [value for own in values for value in own], known[0] if known else ()
        labels: list[Any] = []
        for file, own, names in zip(self.files, values, named, strict=True):
            if not names and any(isinstance(v, int | float) and v == v and v != -1 for v in own):
                first, second = (self.files[named.index(names)].name for names in known[:2])
                raise UserError(f"{file} has ids without names, for which {first} and {second} differ; give it names")
            labels += by_name(own, names)
        return labels, ()

    def _columns_of_paths(self) -> list[str]:
        """Return the columns of text of which the first is the path of a picture."""
        texts = [name for name in self.columns if holds_text(self.schema.field(name).type)]
        endings = readable_endings()
        return [name for name, path in self.first(texts).items() if is_picture(Path(path or "").name, endings)]

    def _is_encoded(self, column: str) -> bool:
        """Whether the first of lists of numbers from 0 to 255, if there is one, is the bytes of a picture."""
        first = self.first([column])[column]
        try:
            return first is None or bool(header(("", bytes(first))))
        except (UserError, TypeError):
            return False


def table(name: str, files: Sequence[Path], folder: Path) -> Table:
    """Open the files of a split; raises UserError for one that cannot be read, or has two columns of one name."""
    schemas = []
    for file in files:
        with opened(file) as parquet:
            schemas.append(parquet.schema_arrow)
        columns = schemas[-1].names
        _check_names(file, columns)
        if telling := [column for column in columns if column not in schemas[0].names and means_splits(column)]:
            raise UserError(f"{file} has a column {telling[0]}, which {files[0].name} lacks; give files alike")
    return Table(name=name, files=tuple(files), folder=folder, schema=schemas[0])


def _check_names(file: Path, columns: Sequence[str]) -> None:
    twice = name_twice(columns)
    if twice is not None:
        raise UserError(f"{file} has two columns called {twice}: give one of them another name")


def as_lines(file: Path) -> str:
    """Return the columns as lines of JSON, a row a line; values other than numbers, text and lists of these are null.

    Raises UserError for a file that cannot be read, or has two columns of one name.
    """
    with opened(file) as parquet:
        schema = parquet.schema_arrow
        _check_names(file, schema.names)
        columns = [field.name for field in schema if holds_labels(field.type) or holds_several(field.type)]
        read = parquet.read(columns=columns)
    cells, names = dict.fromkeys(schema.names, [None] * read.num_rows), class_names(schema)
    for column in columns:
        cells[column] = by_name(read.column(column).to_pylist(), names.get(column, ()))
    rows = zip(*cells.values(), strict=True)
    return "\n".join(json.dumps(dict(zip(cells, row, strict=True))) for row in rows)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a parquet file; raises UserError where it, or what is read of it, is damaged."""
    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        if _is_pointer(file):
            raise UserError(f"{file} is a pointer of Git LFS, not the data: fetch these with git lfs pull") from error
        raise UserError(f"cannot read {file}: {reason}; check or replace the file") from error


def _is_pointer(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as beginning:
        return beginning.read(len(POINTER)) == POINTER
    return False


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of some rows of a table.

    Attributes:
        table: whose column it is.
        column: its name.
        rows: which rows, ascending.
    """

    table: Table
    column: str
    rows: NDArray[np.int64]

    def select(self, kept: NDArray[np.int64]) -> Self:
        """Return some of the rows, by their places among these."""
        return replace(self, rows=self.rows[kept])

    def iter(self, batch_size: int) -> Iterator[Any]:
        """Yield Arrow batches of one column, of `batch_size` rows or fewer."""
        start = 0
        for file in self.table.files:
            with opened(file) as parquet:
                for batch in parquet.iter_batches(batch_size=batch_size, columns=[self.column]):
                    first, last = np.searchsorted(self.rows, [start, start + len(batch)])
                    if first < last:
                        rows, values = self.rows[first:last], batch.column(0)
                        if len(rows) < len(values):
                            values = values.take(pa.array(rows - start))
                        yield self._batch(values, rows, file)
                    start += len(batch)

    def _batch(self, values: Any, rows: NDArray[np.int64], file: Path) -> Any:  # noqa: ARG002
        """Return the values of rows, numbered within the split, as a batch."""
        return pa.record_batch([values], names=[self.column])


@dataclass(frozen=True, kw_only=True)
class ImageColumn(Column):
    """A column of encoded images, or of their paths: its batches are of objects with `bytes` and `path`.

    A path that leads out of the folder of the data raises UserError.
    """

    def files(self) -> set[Path]:
        """Return the files that the rows name; none where the table holds the images themselves."""
        first = self.table.first([self.column])[self.column]
        if not isinstance(first, str) and (not isinstance(first, dict) or first.get("bytes") is not None):
            return set()
        items = [item for batch in self.iter(batch_size=1024) for item in batch.column(0).to_pylist()]
        return {Path(item["path"]) for item in items if item["path"] is not None}

    def _batch(self, values: Any, rows: NDArray[np.int64], file: Path) -> Any:
        if values.type == IMAGE and values.field("bytes").null_count == 0:
            return pa.record_batch([values], names=[self.column])
        items = [self._image(value, file, row) for value, row in zip(values.to_pylist(), rows.tolist(), strict=True)]
        return pa.record_batch([pa.array(items, type=IMAGE)], names=[self.column])

    def _image(self, value: Any, file: Path, row: int) -> dict[str, Any]:
        path, data = None, value
        if isinstance(value, dict):
            path, data = value.get("path"), value.get("bytes")
        elif isinstance(value, str):
            path, data = value, None
        if isinstance(data, list):
            data = bytes(number or 0 for number in data)
        if data is None and path is not None:
            where = f"row {row} of the {self.table.name} split"
            return {"bytes": None, "path": str(inside(path, file.parent, self.table.folder, where))}
        return {"bytes": data or b"", "path": None}
