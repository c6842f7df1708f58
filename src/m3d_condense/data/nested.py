"""Columns of tables whose images are arrays or nested lists of numbers: read by the rules of arrays.

Shapes: N images, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from numpy.typing import NDArray

from m3d_condense.data.arrays import Images
from m3d_condense.data.axes import channels_first, layout_of_one
from m3d_condense.tools.errors import UserError

BATCH = 32  # images held at a time in their own type


def number_type(kind: Any) -> np.dtype[Any] | None:
    """Return the type of the numbers in an Arrow type of arrays or of lists in lists; None for any other type."""
    depth, kind = 0, _plain(kind)
    while _is_list(kind):
        depth, kind = depth + 1, _plain(kind.value_type)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return np.dtype(kind.to_pandas_dtype()) if numbers and depth > 1 else None


@dataclass(frozen=True, kw_only=True)
class ArrayColumn:
    """A column of arrays, of some rows of a table.

    Attributes:
        column: gives some of the rows by `select`, and Arrow batches of one column by `iter`.
        dtype: of the numbers.
    """

    column: Any
    dtype: np.dtype[Any]

    def select(self, kept: NDArray[np.int64]) -> ArrayColumn:
        """Return some of the rows, by their places among these."""
        return replace(self, column=self.column.select(kept))

    def images(self, name: str, rows: NDArray[np.int64], layout: str | None) -> Images:
        """Return the images, which are these rows of the split `name`; none is held.

        Raises `UserError`, then or as they are read, for arrays whose axes cannot be told.
        """

        def chunks(chosen: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
            found = self.select(chosen).arrays([f"row {row} of the {name} split" for row in rows[chosen]])
            for where, array in found:
                layout_here = layout_of_one(array.shape, layout, f"the image in {where}")
                yield channels_first(array[None], layout_here)

        first = next(chunks(np.arange(1)))
        return Images(count=len(rows), dtype=self.dtype, rgba=first.shape[1] == 4, chunks=chunks)

    def arrays(self, places: list[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield each array with its place, which a message names; raises UserError for one with gaps."""
        rest = iter(places)
        for batch in self.column.iter(batch_size=BATCH):
            values = batch.column(0)
            values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
            for number in range(len(values)):
                where, array = next(rest), _array(values.slice(number, 1))
                if array is None:
                    raise UserError(f"{where} holds no whole array: a number is missing, or its rows differ in length")
                yield where, array


def _array(values: Any) -> NDArray[Any] | None:
    """Return the one array of an Arrow array; None where its lists differ in length, or anything is missing."""
    shape, values = [], _stored(values)
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            return None
        shape += lengths
        values = _stored(values.flatten())
    return None if values.null_count else np.reshape(values.to_numpy(zero_copy_only=False), shape)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_flat(kind: Any) -> bool:
    """Whether an Arrow type is of lists of numbers in one row, whose height and width nothing tells."""
    kind = _plain(kind)
    if not _is_list(kind):
        return False
    number = kind.value_type
    return bool(pa.types.is_integer(number) or pa.types.is_floating(number) or pa.types.is_boolean(number))


def without_tensors(table: Any) -> Any:
    """Return an Arrow table whose columns of tensors are of lists in lists, which `datasets` can hold."""
    for number, field in enumerate(table.schema):
        if _is_tensor(field.type):
            chunks = [_as_lists(chunk) for chunk in table.column(number).chunks]
            table = table.set_column(number, field.name, pa.chunked_array(chunks, type=_plain(field.type)))
    return table


def _is_tensor(kind: Any) -> bool:
    """Whether an Arrow type is of tensors in their own order of axes: pyarrow has two readings of others."""
    if not isinstance(kind, pa.FixedShapeTensorType):
        return False
    return not kind.permutation or list(kind.permutation) == sorted(kind.permutation)


def _as_lists(values: Any) -> Any:
    """Return an Arrow array of tensors as one of lists in lists, some of which may be missing."""
    found, kind = values.drop_null().to_numpy_ndarray(), _plain(values.type)
    lists = pa.array(np.ascontiguousarray(found).ravel(), type=values.type.value_type)
    for side in reversed(found.shape[1:]):
        lists = pa.FixedSizeListArray.from_arrays(lists, side)
    if values.null_count == 0:
        return lists.cast(kind)
    there = values.is_valid().to_numpy(zero_copy_only=False)
    places = pa.array(np.cumsum(there) - 1, mask=~there)
    return lists.take(places).cast(kind)


def _plain(kind: Any) -> Any:
    """Return how an extension's values are stored, as those of arrays of `datasets` are; tensors as lists in lists."""
    if _is_tensor(kind):
        lists = kind.value_type
        for side in reversed(kind.shape):
            lists = pa.list_(lists, side)
        return lists
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _stored(values: Any) -> Any:
    if _is_tensor(values.type):
        return _as_lists(values)
    return values.storage if isinstance(values, pa.ExtensionArray) else values
