"""Labels as arrays hold them: one a row in N or N×1, or one-hot in N×K.

What a single label means, and which is none, stands in `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from m3d_condense.data.arrays import as_numpy
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice


def label_count(labels: Any) -> int:
    """Return how many labels there are, by their shape: N, N×1, 1×N or one-hot N×K."""
    shape = getattr(labels, "shape", None) or (len(labels) if isinstance(labels, list | tuple) else 0,)
    return int(max(shape) if shape[0] == 1 else shape[0])


def check_one_hot(labels: Sequence[Any]) -> None:
    """Raise UserError where the one-hot labels of the splits have different numbers of columns, without names."""
    shapes: list[tuple[int, ...]] = [
        getattr(own, "shape", ()) for own in labels if not hasattr(own, "columns")
    ]  # names, of pandas
    widths = [shape[1] for shape in shapes if len(shape) == 2 and min(shape) > 1]
    if len(set(widths)) > 1:
        raise UserError(
            f"one-hot labels of {' and '.join(map(str, widths))} columns: which column is which class? "
            "Give every split a column for every class"
        )


def label_list(labels: Any, count: int, *, training: bool = True) -> list[Any]:
    """Return one label for each of `count` images; None for a one-hot row of zeros.

    Takes N, N×1 or 1×N labels of any type, and one-hot N×K, whose classes are the numbers of the columns, or their
    names in a table of pandas. Says so where no `training` image has the class of a column. Raises UserError for
    other shapes, and for rows of several or of partial labels.
    """
    array = _array(labels)
    if array.ndim == 0:
        raise UserError(f"{count} images, but labels of type {type(labels).__name__}: give one label an image")
    if array.size == count and array.ndim > 1 and max(array.shape) == count:
        array = array.reshape(-1)  # N×1 and 1×N
    if array.ndim == 2 and len(array) == count:
        return _one_hot(array, list(getattr(labels, "columns", range(array.shape[1]))), training)
    if array.shape != (count,):
        turned = array.ndim == 2 and array.shape[1] == count
        advice = "give their transpose, a row for each image" if turned else "give one label an image"
        raise UserError(f"{count} images, but labels of shape {array.shape}: {advice}")
    gaps = ("NAType", "NaTType")  # what pandas writes for a missing value
    return [None if type(value).__name__ in gaps else value for value in array.tolist()]


def _array(labels: Any) -> NDArray[Any]:
    """Return an array, of objects for a list, as numpy would make text of numbers that stand beside text."""
    if not isinstance(labels, list | tuple):
        return as_numpy(labels)
    values = [as_numpy(value).tolist() if isinstance(value, Tensor | np.ndarray) else value for value in labels]
    try:
        return np.array(values, dtype=object)
    except ValueError as error:  # lists of differing lengths
        raise UserError("labels that are lists of differing lengths: give one label an image") from error


def _one_hot(array: NDArray[Any], columns: list[Any], training: bool) -> list[Any]:
    """Return the column of the one in each row, None for a row of zeros."""
    shape = f"labels of shape {array.shape}"
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{shape} that are no numbers: give one label an image") from error
    if not np.isin(numbers, (0, 1)).all():
        raise UserError(
            f"{shape} with numbers beside 0 and 1: several labels an image, or soft ones? Give one label an image, "
            "such as labels.argmax(1) for soft ones"
        )
    ones = numbers.sum(axis=1)
    if (ones > 1).any():
        raise UserError(f"{shape} name several classes in row {int((ones > 1).argmax())}: give one label an image")
    unused = int((numbers.sum(axis=0) == 0).sum())
    if unused and training:
        notice(f"{unused} of the {len(columns)} columns of one-hot labels have no image, and are no class")
    found = zip(numbers.argmax(axis=1).tolist(), ones.tolist(), strict=True)
    return [columns[column] if one else None for column, one in found]
