"""A condensed set as tables that every tool opens: parquet files of PNG images and class labels.

The schema holds what `datasets` writes there, so that it reads the columns as images and class names.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet
from torch import Tensor

from m3d_condense.data.raster import OtherSizeError, WideError, decode_batch
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.pictures import as_picture
from m3d_condense.sets.tiles import decode
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.text import distinct

DECODED, STORED = "default", "stored"
TABLES = {DECODED: "data/train-00000-of-00001.parquet", STORED: "stored/train-00000-of-00001.parquet"}
"""The tables of a set, by the name of their configuration, and the files that hold them."""

BATCH_VALUES = 2**24  # pixel values that are decoded at a time
PIXELS = pa.struct({"bytes": pa.binary(), "path": pa.string()})
PROBABILITIES = pa.list_(pa.float32())


def write_table(
    condensed: CondensedSet,
    file: Path,
    *,
    stored: bool,
    made_by: str | None = None,
    probabilities: Tensor | None = None,
) -> None:
    """Write the columns `image` and `label` as parquet, a row an image: as decoded, rounded to 8 bits, or as stored.

    `made_by` is added to the metadata of the schema, where readers that do not look for it pass over it. Probabilities,
    a row for each image, become a column of this name.
    """
    schema = _schema(condensed.class_names, made_by, soft=probabilities is not None)
    done = 0
    with file.open("wb") as sink, parquet.ParquetWriter(sink, schema) as writer:
        for images, labels in eight_bit_batches(condensed, stored=stored):
            pixels = [{"bytes": png(image), "path": None} for image in images]
            columns = [pa.array(pixels, PIXELS), pa.array(labels.tolist(), pa.int64())]
            if probabilities is not None:
                columns.append(pa.array(probabilities[done : done + len(labels)].tolist(), PROBABILITIES))
            done += len(labels)
            writer.write_batch(pa.record_batch(columns, schema=schema))


def is_table_of(condensed: CondensedSet, file: Path, *, stored: bool) -> bool:
    """Whether a file is the table that `write_table` makes of a set, pixel by pixel; the order of rows counts."""
    done = 0
    try:
        rows = parquet.read_table(file, columns=["image", "label"]).to_pylist()
        for images, labels in eight_bit_batches(condensed, stored=stored):
            found = rows[done : done + len(labels)]
            done += len(labels)
            pixels, *_ = decode_batch([(str(file), row["image"]["bytes"]) for row in found], None, (*images.shape[2:],))
            if [row["label"] for row in found] != labels.tolist() or not np.array_equal(pixels, images.numpy()):
                return False
    except (OSError, pa.ArrowException, TypeError, UserError, OtherSizeError, WideError):
        return False
    return done == len(rows)


def eight_bit_batches(condensed: CondensedSet, *, stored: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images of a set as uint8 n×C×H×W and their n labels, piece by piece, in the set's order.

    They are the stored images, or what `CondensedSet.decode` makes of them, rounded to 8 bits.
    """
    factor = 1 if stored else condensed.factor
    size = max(1, BATCH_VALUES // (condensed.images[0].numel() * factor**2))
    for start in range(0, len(condensed.images), size):
        images, labels = condensed.images[start : start + size], condensed.labels[start : start + size]
        if stored:
            yield images, labels
        else:
            decoded = decode(images.float() / 255, factor)
            yield decoded.mul_(255).round_().byte(), labels.repeat_interleave(factor**2)


def png(image: Tensor, texts: PngInfo | None = None) -> bytes:
    """Encode an image, C×H×W uint8, as PNG, which loses nothing; `texts` are stored in it."""
    buffer = io.BytesIO()
    picture = as_picture(image)
    # On noisy pixels this compression is as small as the default, and much faster.
    picture.save(buffer, "PNG", compress_type=zlib.Z_RLE, pnginfo=texts)
    return buffer.getvalue()


def _schema(class_names: Sequence[str], made_by: str | None, *, soft: bool) -> pa.Schema:
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    # `datasets` wants no name twice.
    features["label"] = {"_type": "ClassLabel", "names": distinct(class_names, "{} ({})")}
    columns = [("image", PIXELS), ("label", pa.int64())]
    if soft:
        features["probabilities"] = {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "float32"}}
        columns.append(("probabilities", PROBABILITIES))
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    if made_by is not None:
        metadata["made_by"] = made_by
    return pa.schema(columns, metadata=metadata)
