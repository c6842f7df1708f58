"""The flags of a command as what the package's functions take: a data set, an execution, seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from jsonargparse import Namespace

from m3d_condense.recipes.recipe import meanings
from m3d_condense.tools.errors import UserError

if TYPE_CHECKING:
    from m3d_condense.data.dataset import ImageDataset
    from m3d_condense.machine.execution import Execution


def load_data(given: Namespace, data: Any) -> ImageDataset:
    """Load a data set as the flags of its size, columns and split say.

    Raises:
        UserError: where `data` is None: none was given.
    """
    from m3d_condense.data.load import load

    if data is None:
        raise UserError("no data given; the data set digits is embedded, to try it with")
    columns = {"image_column": given.image_column, "label_column": given.label_column}
    read = {"size": given.size, "seed": given.split_seed or 0, "layout": given.layout, "classes": classes(given)}
    return load(data, **read, **columns)


def refuse_source_flags(given: Namespace, of: str, but: Collection[str] = ()) -> None:
    """Raise `UserError` for a flag of how a data set is read, where none is read as they say: `of` says which would."""
    for name in ("size", "image_column", "label_column", "layout", "classes", "split_seed"):
        value = given[name]
        if value not in (None, []) and name not in but:
            shown = " ".join(value) if isinstance(value, list) else value
            raise UserError(f"goes with {of} only", setting=name, value=shown)


def classes(given: Namespace) -> str | list[str] | None:
    """Return which classes the flags say: the name or file of a list, or several themselves; None for all."""
    named: list[str] = given.classes
    return named[0] if len(named) == 1 else named or None


def execution(given: Namespace) -> Execution:
    """Return the execution that the flags of the machine say."""
    from m3d_condense.machine.execution import Execution

    return Execution(**{field.name: given[field.name] for field in fields(Execution)})


def seconds(text: str | None) -> float | None:
    """Read a time limit: 90, 90s, 10m or 2h."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    limit = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else math.inf
    if math.isinf(limit):
        raise UserError("a number with s, m or h, such as 10m", setting="time_limit", value=text)
    return limit


def variants(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read values to vary, each setting as NAME=VALUE,VALUE….

    Raises:
        UserError: for a setting that there is not, or a value that is none of its type.
    """
    known, found = meanings(), dict[str, list[Any]]()
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or name not in known:
            example = "such as lr=0.01,0.02"
            raise UserError(f"a setting of a recipe and its values, {example}", setting="vary", value=text)
        kind = cast(Any, known[name][0])
        if not all(value.strip() for value in values.split(",")):
            raise UserError(f"a value of {name} is missing, as in {name}=VALUE,VALUE", setting="vary", value=text)
        found.setdefault(name, []).extend(_value(name, kind, value.strip()) for value in values.split(","))
    return found


def _value(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise UserError("true or false", setting=name, value=text)
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UserError(what, setting=name, value=text) from None
