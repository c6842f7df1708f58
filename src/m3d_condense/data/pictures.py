"""Pictures before they are decoded, and pixels made 8-bit N×C×H×W from arrays of several layouts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from m3d_condense.data.raster import Item, Pixels, fit
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import is_quiet

Labels = NDArray[np.int64]
BATCH = 256  # undecoded images held at a time
CHUNK = 1024  # images turned from one type into another at a time


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split before its images are decoded: its name, labels in 0..K-1, and a `datasets` image column."""

    name: str
    labels: Labels
    images: Any

    def __iter__(self) -> Iterator[Item]:
        """Say where each image lies, in words, and give its path or its encoded bytes."""
        tables = self.images.iter(batch_size=BATCH)
        for index, item in enumerate(item for table in tables for item in table.column(0).to_pylist()):
            path, data = (item or {}).get("path"), (item or {}).get("bytes")
            if path is not None and data is None:
                yield path, path
            else:
                yield f"in row {index} of the {self.name} split", data or b""


@contextmanager
def translated(data: str | list[str], local: bool) -> Iterator[None]:
    """Silence `datasets`, but for a bar on a download unless quiet, and turn its errors into one line for the user."""
    import datasets
    import huggingface_hub
    from pyarrow import ArrowException  # type: ignore[import-untyped]

    loggers = [(module, module.get_verbosity()) for module in (datasets.logging, huggingface_hub.logging)]
    bars = [module for module in (datasets, huggingface_hub.utils) if not module.are_progress_bars_disabled()]
    for module, _ in loggers:
        module.set_verbosity(logging.CRITICAL)
    if local or is_quiet() or not sys.stderr.isatty():
        for module in bars:
            module.disable_progress_bars()
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, datasets.exceptions.DatasetsError, ArrowException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        if local:
            raise UserError(f"cannot read {data}: {reason}; check or replace the file") from error
        if "config name is missing" in reason.lower():
            choice = " ".join(str(error).split())
            raise UserError(f"{data} has several configurations; give one as {data}:NAME. {choice}") from error
        raise UserError(
            f"{data} is no local path, and the hub did not give it: {reason}; check name and network, "
            "run `hf auth login` if it is gated, or give a folder, parquet files or an .npz"
        ) from error
    finally:
        for module, verbosity in loggers:
            module.set_verbosity(verbosity)
        for module in bars:
            module.enable_progress_bars()


def eight_bit(images: NDArray[Any]) -> Pixels:
    """uint8 or floats in [0, 1], in any of the three layouts, as uint8 N×C×H×W."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise UserError(f"images of shape {images.shape}: give N×H×W, N×H×W×C or N×C×H×W with 1 or 3 channels")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"images of type {images.dtype}: give uint8, or floats in [0, 1]")
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        if images.dtype != np.uint8:
            if not (chunk.min() >= 0 and chunk.max() <= 1):
                if np.isnan(images).any():
                    raise UserError("float images hold NaN (not a number): replace them and scale to [0, 1]")
                raise UserError(f"float images range from {images.min():g} to {images.max():g}: scale them to [0, 1]")
            chunk = np.rint(chunk * 255)
        pixels[start : start + CHUNK] = chunk
    return pixels


def resized(images: Pixels, size: int | None) -> Pixels:
    """N×C×size×size: the shorter side resized and the centre cropped, or the images as they are for None."""
    if size is None or images.shape[2:] == (size, size):
        return images
    fitted = np.empty((*images.shape[:2], size, size), dtype=np.uint8)
    for index, channels in enumerate(images):
        fitted[index] = [fit(Image.fromarray(channel), size) for channel in channels]
    return fitted
