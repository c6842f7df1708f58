"""What a caller gives for a setting, as Python's own value of its type. Free of torch, so that help is quick."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, get_type_hints

from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError

KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def converted(name: str, value: Any) -> Any:
    """Return the value of a setting of `Recipe` as its type; a number of NumPy or torch becomes Python's.

    A set's settings are stored, which no other numbers can be: so they are refused or converted before the first step.

    Raises:
        UserError: for a value of another type.
    """
    kind = _types()[name]
    plain = _plain(value)
    fits = isinstance(plain, kind) or (kind is float and isinstance(plain, int))
    if not fits or (isinstance(plain, bool) and kind is not bool):
        raise UserError(KINDS[kind], setting=name, value=value)
    return float(plain) if kind is float else plain


def checked_seconds(name: str, limit: Any) -> float | None:
    """Return a time limit as seconds, None for none.

    Raises:
        UserError: for anything else.
    """
    seconds = _plain(limit)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise UserError("a number of seconds, at least 0", setting=name, value=limit)
    return float(seconds)


def _plain(value: Any) -> Any:
    """Return Python's value of a scalar of NumPy or torch, and anything else as it is."""
    item: Callable[[], Any] | None = getattr(value, "item", None)
    if item is None or getattr(value, "shape", ()) != ():
        return value
    return item()


@functools.cache
def _types() -> dict[str, type]:
    return get_type_hints(Recipe)
