"""Whether what was read from JSON has the types of a record: checked once, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def misfit(value: Any, hint: Any, name: str) -> str | None:
    """Return the name of the first part of a JSON value that is not of the type `hint`; None where every part is.

    Args:
        value: what JSON gave: a list stands for a tuple, a dict of exactly its fields for a dataclass, and a whole
            number is a float too; a truth value is no number.
        hint: of a plain type, list, tuple of one type, dict with text keys, dataclass, union, or Any.
        name: of the value, from which those of its parts are made.
    """
    base, arguments = get_origin(hint) or hint, get_args(hint)
    if base is Any:
        return None
    if base is UnionType:
        return name if all(misfit(value, choice, name) for choice in arguments) else None
    if is_dataclass(base):
        return _fields_misfit(value, get_type_hints(base), name)
    if base is dict:
        return _fields_misfit(value, dict.fromkeys(value, arguments[1]), name) if isinstance(value, dict) else name
    if base in (list, tuple):
        if not isinstance(value, list):
            return name
        return _first(misfit(item, arguments[0], f"{name}[{number}]") for number, item in enumerate(value))
    accepted = (int, float) if base is float else (base,)
    return None if type(value) in accepted else name


def _fields_misfit(value: Any, hints: dict[str, Any], name: str) -> str | None:
    if not isinstance(value, dict) or value.keys() - hints.keys():
        return name
    missing = hints.keys() - value.keys()
    if missing:
        return f"{name}.{min(missing)}"
    return _first(misfit(value[key], hint, f"{name}.{key}") for key, hint in hints.items())


def _first(names: Iterable[str | None]) -> str | None:
    return next((name for name in names if name is not None), None)
