"""Pixels made 8-bit N×C×H×W: files and encoded bytes decoded by PIL.

Images are decoded one at a time into their final place, so that memory stays flat and a damaged one can be named.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import is_quiet, progress

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
BATCH = 256  # undecoded images held at a time
NO_PIXELS = {".bufr", ".emf", ".eps", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".ps", ".wmf"}  # PIL tells these only


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One split before its images are decoded: its name, labels in 0..K-1, and an image column to iterate.

    `rows` are the rows' own numbers in the source, where some are left out; None where all are there.
    """

    name: str
    labels: Labels
    images: Any
    rows: Labels | None = None

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Say where each image lies, in words, and give what PIL opens: a path or a buffer."""
        tables = self.images.iter(batch_size=BATCH)
        for index, item in enumerate(item for table in tables for item in table.column(0).to_pylist()):
            path, data = (item or {}).get("path"), (item or {}).get("bytes")
            if path is not None and data is None:
                yield path, path
            else:
                number = index if self.rows is None else self.rows[index]
                yield f"in row {number} of the {self.name} split", io.BytesIO(data or b"")


@contextmanager
def translated(data: str | list[str], local: bool) -> Iterator[None]:
    """Turn the errors of reading into one line for the user, and silence `datasets` where it takes part.

    A download shows its bar unless quiet. What is read here without `datasets` does not wait for its import.
    """
    try:
        with _silenced(bars=not (local or is_quiet() or not sys.stderr.isatty())):
            yield
    except UserError:
        raise
    except _errors_of_reading() as error:
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


def _errors_of_reading() -> tuple[type[Exception], ...]:
    """Return what reading raises, by the libraries that took part."""
    errors: list[type[Exception]] = [OSError, ValueError]
    if pyarrow := sys.modules.get("pyarrow"):
        errors.append(pyarrow.ArrowException)
    if datasets := sys.modules.get("datasets"):
        errors.append(datasets.exceptions.DatasetsError)
    return tuple(errors)


@contextmanager
def _silenced(bars: bool) -> Iterator[None]:
    """Silence `datasets` where it has been imported, its progress bars too unless they are wanted."""
    if "datasets" not in sys.modules:
        yield
        return
    import datasets
    import huggingface_hub

    loggers = [(module, module.get_verbosity()) for module in (datasets.logging, huggingface_hub.logging)]
    shown = [module for module in (datasets, huggingface_hub.utils) if not module.are_progress_bars_disabled()]
    for module, _ in loggers:
        module.set_verbosity(logging.CRITICAL)
    if not bars:
        for module in shown:
            module.disable_progress_bars()
    try:
        yield
    finally:
        for module, verbosity in loggers:
            module.set_verbosity(verbosity)
        for module in shown:
            module.enable_progress_bars()


def readable_endings() -> set[str]:
    """The ends of file names, in small letters, that PIL decodes."""
    return {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN} - NO_PIXELS


def decode(splits: Sequence[Rows], size: int | None) -> list[Pixels]:
    """Decode the images of each split, uint8 N×C×H×W; a split has C = 1 if all its images are grey.

    Raises UserError for a damaged image, and where images differ in size and no `size` is given.
    """
    images: list[Pixels] = []
    for rows in splits:
        pixels: Pixels | None = None
        bar_of = progress(f"Reading {rows.name}", len(rows.labels), unit="images")
        with translated(f"the {rows.name} split", local=True), bar_of as bar:
            for index, (where, file) in enumerate(rows):
                image = _pixels(where, file, size)
                if pixels is None:
                    pixels = np.empty((len(rows.labels), *image.shape), dtype=np.uint8)
                if image.shape[1:] != (images or [pixels])[0].shape[2:]:
                    raise _mixed_sizes(splits)
                if len(image) > pixels.shape[1]:  # the first colour after grey images only
                    pixels = np.repeat(pixels, 3, axis=1)
                pixels[index] = image
                bar.advance()
        if pixels is None:
            raise UserError(f"the {rows.name} split has no images")
        images.append(pixels)
    return images


def picture(image: Image.Image, size: int | None) -> Pixels:
    """Return an open image as a file of it is read: upright, in 8 bits, C×H×W, resized to size×size unless None."""
    array = np.asarray(_fit(_grey_or_rgb(ImageOps.exif_transpose(image)), size))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _fit(image: Image.Image, size: int | None) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and crop the centre to size×size."""
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


@contextmanager
def _opened(where: str, file: Any) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of large images and odd metadata
            with Image.open(file) as image:
                yield image
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"the image {where} has more than {limit:,} pixels; make it smaller or remove it") from error
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"cannot read the image {where}: {reason}; replace or remove it") from error


def _pixels(where: str, file: Any, size: int | None) -> Pixels:
    """One image upright in 8 bits, C×H×W."""
    with _opened(where, file) as image:
        if size is not None:
            image.draft(image.mode, (2 * size, 2 * size))  # JPEG decodes large photographs at a fraction
        return picture(image, size)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """In mode L or RGB: 16-bit levels scaled, transparency laid on white."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"its pixels range from {levels.min()} to {levels.max()}, beyond 16 bits")
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, not 8 or 16 bits")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _mixed_sizes(splits: Sequence[Rows]) -> UserError:
    """The error that tells the smallest and the largest image, by the headers of all."""
    sizes = set()
    with progress("Measuring the images", sum(len(rows.labels) for rows in splits), unit="images") as bar:
        for rows in splits:
            for where, file in rows:
                with _opened(where, file) as image:
                    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                    sizes.add(image.size[::-1] if turned else image.size)
                bar.advance()
    (w, h), (width, height) = (choose(sizes, key=lambda s: (s[0] * s[1], s)) for choose in (min, max))
    return UserError(
        f"the images differ in size, from {w}×{h} to {width}×{height} pixels; "
        f"give {Setting('size', 'N')} to resize and crop them all to N×N"
    )
