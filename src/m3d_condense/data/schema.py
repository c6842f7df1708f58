"""What the schema of a parquet file says of its columns: by Arrow's types, and by what `datasets` has written there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from m3d_condense.data.columns import FLAT
from m3d_condense.data.nested import is_flat
from m3d_condense.tools.errors import UserError


def features(schema: Any) -> dict[str, Any]:
    """Return what `datasets` has written of the columns of a parquet file, by name; nothing where it has not."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        return dict(info["info"]["features"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}


def of_kind(schema: Any, kind: str) -> dict[str, dict[str, Any]]:
    """Return what `datasets` has written of the columns of a kind, such as ``Image`` or ``ClassLabel``, by name."""
    written = features(schema)
    found = {name: written.get(name) for name in schema.names}
    return {name: one for name, one in found.items() if isinstance(one, dict) and one.get("_type") == kind}


def class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes that a column's ids stand for, as `datasets` has written them, by column."""
    lists = {name: written.get("names") for name, written in of_kind(schema, "ClassLabel").items()}
    return {name: tuple(map(str, names)) for name, names in lists.items() if isinstance(names, list)}


def by_name(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Put names in the place of ids; ids without a name stay."""
    if not names:
        return list(values)
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None if v == -1 else v for v in values]


def holds_bytes(kind: Any) -> bool:
    """Whether values of an Arrow type are bytes, lists of numbers from 0 to 255, or objects with a field of these."""
    if pa.types.is_struct(kind):
        fields = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        only_paths = "path" in fields and pa.types.is_null(fields.get("bytes", pa.string()))
        return only_paths or ("bytes" in fields and holds_bytes(fields["bytes"]))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_uint8(kind.value_type))
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in binary)


def holds_text(kind: Any) -> bool:
    """Whether values of an Arrow type are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def one_of_few(kind: Any) -> Any:
    """Return the type of values that are each one of a few which Arrow numbers; any other type as it is."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def holds_labels(kind: Any) -> bool:
    """Whether values of an Arrow type may be labels: numbers, text, or one of a few values."""
    kind = one_of_few(kind)
    return bool(
        holds_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def holds_several(kind: Any) -> bool:
    """Whether values of an Arrow type are lists of what may be labels."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return listed and holds_labels(kind.value_type)


def check_images(kind: Any, column: str) -> None:
    """Raise UserError where values of an Arrow type are no images, and neither bytes nor paths of these."""
    if is_flat(kind) and not pa.types.is_uint8(kind.value_type):
        raise UserError(FLAT, setting="image_column", value=column)
    possible = (holds_bytes, holds_text, pa.types.is_struct, pa.types.is_dictionary)
    if not any(test(kind) for test in possible):
        raise UserError(
            f"holds values of type {kind}, no images: these are encoded, or arrays H×W, H×W×C or C×H×W of numbers",
            setting="image_column",
            value=column,
        )
