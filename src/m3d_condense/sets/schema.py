"""Whether what was read from JSON has the types of a record: checked once, before anything is made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

_hints = cache(get_type_hints)


def misfit(value: Any, hint: Any, name: str) -> str | None:
    """Return the name of the first part of a JSON value that is not of the type `hint`; None where every part is.

    Args:
        value: what JSON gave: a list stands for a tuple, a dict of exactly its fields for a dataclass, and a whole
            number of a float's range is a float too; a truth value is no number.
        hint: of a plain type, list, tuple of one type, dict with text keys, dataclass, union, or Any.
        name: of the value, from which those of its parts are made.
    """
    base, arguments = get_origin(hint) or hint, get_args(hint)
    if base is Any:
        return None
    if base is UnionType:
        return name if all(misfit(value, choice, name) for choice in arguments) else None
    if isinstance(base, type) and is_dataclass(base):
        return _fields_misfit(value, _hints(base), name)
    if base is dict:
        if not isinstance(value, dict):
            return name
        return _first(misfit(item, arguments[1], f"{name}.{key}") for key, item in value.items())
    if base in (list, tuple):
        if not isinstance(value, list):
            return name
        return _first(misfit(item, arguments[0], f"{name}[{number}]") for number, item in enumerate(value))
    if base is float and type(value) is int:
        return None if abs(value) <= sys.float_info.max else name
    return None if type(value) is base else name


def _fields_misfit(value: Any, hints: dict[str, Any], name: str) -> str | None:
    if not isinstance(value, dict) or value.keys() - hints.keys():
        return name
    missing = hints.keys() - value.keys()
    if missing:
        return f"{name}.{min(missing)}"
    return _first(misfit(value[key], hint, f"{name}.{key}") for key, hint in hints.items())


def _first(names: Iterable[str | None]) -> str | None:
    return next((name for name in names if name is not None), None)
