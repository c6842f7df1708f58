"""The class names that a torch data set has, as those of torchvision do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import distinct


def class_names(items: Any) -> list[str]:
    """Return the names in `classes` or `class_to_idx`, of the data set itself or of what it is a part of.

    Says where there are such, but none that can be read. Raises UserError for parts that number different names, or
    the same in another order.
    """
    classes, numbers = (getattr(items, name, None) for name in ("classes", "class_to_idx"))
    if own := _names(classes) or _numbered(numbers):
        return own
    if classes is not None or numbers is not None:
        said = "classes" if classes is not None else "class_to_idx"
        notice(f"The {said} of the {type(items).__name__} are no list of names: the classes are called as the labels")
    parts = getattr(items, "datasets", None) or [getattr(items, "dataset", None)]
    names = [class_names(part) for part in parts if part is not None]
    named = {tuple(own) for own in names if own}
    if len(named) > 1:
        raise UserError(f"the parts of the {type(items).__name__} differ in their class names: {differing(named)}")
    return names[0] if names and all(names) else []


def differing(several: Iterable[tuple[str, ...]]) -> str:
    """Show the first two of several lists of class names, from where they differ."""
    first, other = sorted(several)[:2]
    start = next((place for place, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), len(first))
    start = max(0, start - 1)
    parts = [("… " if start else "") + ", ".join(names[start : start + 3]) + ", …" for names in (first, other)]
    return f"{' and '.join(parts)}; number the classes of all alike"


def _names(classes: Any) -> list[str]:
    """Return names in a row, the first where a class has several; none where this holds anything else."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, list | tuple):
        return []
    names = [one[0] if isinstance(one, list | tuple) and one else one for one in classes]
    return distinct(names) if all(isinstance(name, str) for name in names) else []


def _numbered(numbers: Any) -> list[str]:
    """Return the first name of each number of a dictionary; none where the numbers are not 0 to K-1."""
    if not isinstance(numbers, Mapping) or not all(isinstance(name, str) for name in numbers):
        return []
    if not all(isinstance(number, int | np.integer) for number in numbers.values()):
        return []
    found: dict[int, str] = {}
    for name, number in numbers.items():
        found.setdefault(number, name)
    return [found[number] for number in range(len(found))] if set(found) == set(range(len(found))) else []
