"""One image as 8-bit pixels: a file or encoded bytes, read by the formats that are named here alone.

The processes that decode beside this one import hardly more of the package: it is free of torch and `datasets`.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.MpoImagePlugin import MpoImageFile
from PIL.TiffImagePlugin import TiffImageFile

from m3d_condense.tools.errors import UserError

Pixels = NDArray[np.uint8]
Item = tuple[str, str | bytes]
"""Where an image lies, in words, and its path or its encoded bytes."""
Made = TypeVar("Made")
Batch = tuple[Pixels, list[str], list[str]]
"""Decoded images N×C×H×W, where those lie that have frames beside the one that is read, and those that lose bits."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how files of that format begin

# PIL's names, the usual ones first. What is not named is not opened, whatever a file is called: EPS starts Ghostscript,
# WMF asks the system, IPTC opens anything inside it, and BUFR, GRIB, HDF5 and MPEG hold no image that PIL could decode.
# fmt: off
RASTER = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL", "QOI", "TGA", "ICO", "DIB",
    "PCX", "DCX", "DDS", "PSD", "SGI", "SUN", "XBM", "XPM", "MSP", "CUR", "ICNS", "FITS", "FLI", "BLP", "FTEX", "GBR",
    "IM", "PIXAR", "PCD",
)
# fmt: on


class OtherSizeError(Exception):
    """An image has another height or width than the first one."""


class WideError(Exception):
    """An image has levels of more than 8 bits, and which of them is white is not known."""


class DamagedError(UserError):
    """An image, `where`, cannot be read."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where = where


def readable_endings() -> set[str]:
    """Return the ends of file names, in small letters, of the images that are decoded."""
    formats = _formats()
    return {end for end, kind in Image.registered_extensions().items() if kind in formats}


def decode_batch(
    items: Sequence[Item],
    size: int | None,
    shape: tuple[int, int],
    white: int | None = None,
    mode: str | None = None,
) -> Batch:
    """Decode images of one height and width, uint8 N×C×H×W; C = 1 if all of them are grey, else 3; see `Batch`.

    `white` is the level of white in grey images of more than 8 bits. All are made grey by `mode` L, coloured by RGB.

    Raises:
        UserError: for the first one that cannot be read.
        OtherSizeError: for the first one that has not the height and width of `shape`.
        WideError: for the first one that needs `white`, where it is None.
    """
    pixels, several, cut = np.empty((len(items), 1, *shape), dtype=np.uint8), [], []
    with _without_warnings():
        for index, (where, file) in enumerate(items):
            image, more, low = _pixels(where, file, size, white, mode)
            if more:
                several.append(where)
            if low:
                cut.append(where)
            if image.shape[1:] != shape:
                raise OtherSizeError
            if len(image) > pixels.shape[1]:  # the first colour after grey images only
                pixels = np.repeat(pixels, 3, axis=1)
            pixels[index] = image
    return pixels, several, cut


def wide_range(items: Sequence[Item]) -> tuple[int, int]:
    """Return the lowest and highest level of the images of more than 8 bits; 0 and 0 where there are none.

    Raises UserError for the first image that cannot be read.
    """
    low, high = 0, 0
    with _without_warnings():
        for item in items:
            with _opened(*item) as image:
                if _is_wide(image):
                    levels = _levels(image)
                    low, high = min(low, int(levels.min())), max(high, int(levels.max()))
    return low, high


def unreadable(items: Sequence[Item]) -> list[str]:
    """Return which of the images cannot be read."""
    found = []
    with _without_warnings():
        for where, file in items:
            try:
                with _opened(where, file) as image:
                    image.load()
            except UserError:
                found.append(where)
    return found


def attempt(work: Callable[[Sequence[Item]], Made], items: Sequence[Item]) -> Made | None:
    """Return what `work` makes of images; None where it raises anything."""
    try:
        return work(items)
    except Exception:  # said where the same is tried again, in the process that was asked
        return None


def header(item: Item) -> tuple[str, int, int]:
    """Return the mode, the height and the width of an upright image, from its header.

    Raises:
        UserError: it cannot be read.
    """
    with _without_warnings(), _opened(*item) as image:
        width, height = _upright_size(image)
        return image.mode, height, width


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and the height of an open image, not loaded yet, once it is upright."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    if turned and isinstance(image, TiffImageFile):  # of which PIL may give the upright size already
        width, height = (int(image.tag_v2[tag]) for tag in (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength))
        return height, width
    return image.size[::-1] if turned else image.size


def picture(image: Image.Image, size: int | None, white: int | None = None, mode: str | None = None) -> Pixels:
    """Return an open image upright in 8 bits, C×H×W, resized to size×size unless that is None; see `decode_batch`.

    Raises WideError for one of more than 8 bits, unless `white` says which of its levels is white.
    """
    negative = _is_negative(image)
    image = _grey_or_rgb(ImageOps.exif_transpose(image), white, negative)
    array = np.asarray(fit(image if mode is None else image.convert(mode), size))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def fit(image: Image.Image, size: int | None) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and crop the centre to size×size."""
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def has_frames(image: Image.Image) -> bool:
    """Whether an open image has frames or pages beside the one that it is at; layers and smaller copies are none."""
    try:
        several = image.format != "PSD" and getattr(image, "is_animated", False)
        return bool(several) and not _only_copies(image)
    except Exception:  # what lies behind the first frame is damaged, or the file is closed
        return False


def _only_copies(image: Image.Image) -> bool:
    """Whether all other images of a TIFF or an MPO are, as these say, smaller copies of the first, or its masks."""
    if isinstance(image, MpoImageFile):
        entries = (image.mpinfo or {})[0xB002]
        return all("Thumbnail" in entry["Attribute"]["MPType"] for entry in entries[1:])
    if not isinstance(image, TiffImageFile):
        return False
    here = image.tell()
    try:
        return all(_is_copy(image, number) for number in range(image.n_frames) if number != here)
    finally:
        image.seek(here)


def _is_copy(image: TiffImageFile, number: int) -> bool:
    """Whether an image of a TIFF is by its NewSubfileType a smaller copy of another, or a mask."""
    image.seek(number)
    return bool(int(image.tag_v2.get(ExifTags.Base.NewSubfileType, 0)) & 0b101)


def is_grey(mode: str) -> bool:
    """Whether images of a mode of PIL's are decoded to one channel."""
    return mode in ("1", "L", "LA", "La") or mode.startswith("I")


def _formats() -> list[str]:
    """Return the names of `RASTER` that PIL knows here, those of plugins included."""
    Image.init()
    return [name for name in RASTER if name in Image.OPEN]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence PIL's warnings, of large images and odd metadata."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _opened(where: str, file: str | bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else _regular(file), formats=_formats()) as image:
            yield image
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"the image {where} has more than {limit:,} pixels; make it smaller or remove it") from error
    except (MemoryError, WideError):
        raise
    except Exception as error:  # a decoder may raise anything on damaged bytes
        reason, advice = " ".join(str(error).split()), "replace or remove it"
        if isinstance(error, UnidentifiedImageError) and _begin(file).startswith(TIFF):
            reason, advice = (
                "a damaged TIFF, or of a kind or of bands that are not read",
                "save it as RGB, or give arrays",
            )
        elif isinstance(error, UnidentifiedImageError):
            reason = "not an image"
        raise DamagedError(where, f"cannot read the image {where}: {reason}; {advice}") from error


def _begin(file: str | bytes) -> bytes:
    """Return the first bytes of a file."""
    if isinstance(file, bytes):
        return file[:4]
    with Path(file).open("rb") as opened:
        return opened.read(4)


def _regular(path: str) -> str:
    """Return the path of a regular file: to open a pipe or a device may wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise ValueError("not a regular file")
    return path


def _pixels(
    where: str, file: str | bytes, size: int | None, white: int | None, mode: str | None
) -> tuple[Pixels, bool, bool]:
    """Decode one image, upright in 8 bits, C×H×W, and tell whether it has several frames, and whether it loses bits."""
    with _opened(where, file) as image:
        cut = _is_cut(image)
        if size is not None:
            image.draft(image.mode, (2 * size, 2 * size))  # JPEG decodes large photographs at a fraction
        return picture(image, size, white, mode), has_frames(image), cut


def _is_wide(image: Image.Image) -> bool:
    """Whether an open image has levels of more than 8 bits."""
    return image.mode.startswith("I")


def _is_cut(image: Image.Image) -> bool:
    """Whether an open image, not loaded yet, has 16 bits a channel of which PIL keeps 8: all but grey ones."""
    return not _is_wide(image) and any(";16" in str(part[3]) for part in getattr(image, "tile", ()))


def _is_negative(image: Image.Image) -> bool:
    """Whether an open image has more than 8 bits and 0 for white, which PIL leaves so, as X-rays may."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) and _is_wide(image) else {}
    return tags.get(ExifTags.Base.PhotometricInterpretation) == 0


def _levels(image: Image.Image) -> NDArray[np.int64]:
    """Return the levels of an image of more than 8 bits; raises ValueError for those beyond 16."""
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(f"its pixels range from {levels.min()} to {levels.max()}, beyond 16 bits")
    return levels


def _grey_or_rgb(image: Image.Image, white: int | None, negative: bool) -> Image.Image:
    """In mode L or RGB: more than 8 bits scaled by the level of white, transparency laid on white."""
    if _is_wide(image):
        if white is None:
            raise WideError
        levels = white - _levels(image) if negative else _levels(image)
        shades = ((2 * 255 * levels + white) // (2 * white)).astype(np.uint8)
        clear = image.info.get("transparency")  # of a PNG: one level
        return Image.fromarray(
            np.where(_levels(image) == clear, np.uint8(255), shades) if clear is not None else shades
        )
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, not 8 or 16 bits")
    mode = "L" if is_grey(image.mode) else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)
