"""Which number in an array of images is which level of brightness: numbers of any type made 8-bit.

uint8 and other integers up to 255 are 8-bit levels, False and True (or 0 and 1 alone) are black and white, larger
integers fill the fewest bits that hold them, floats lie in [0, 1]. All else has more than one reading and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_condense.data.raster import Pixels
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

WHITE = 255
DARK = 0.1  # of the range: training images whose brightest pixel lies below are pointed out
FEW = 256  # images looked at at a time
ROUNDING = 1e-3  # by which floats may leave [0, 1]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numpy type of images, their lowest and highest number, and what to call them, such as "the images"."""

    what: str
    dtype: np.dtype[Any]
    low: float
    high: float

    @property
    def wide(self) -> bool:
        """Whether they are integers of more than 8 bits or with a sign, so that their type does not tell white."""
        return self.dtype.kind in "iu" and self.dtype != np.uint8


def whites(ranges: Sequence[Range]) -> list[float]:
    """Return the number that is white in each split; integers of one kind share it.

    Says so where it is not told by the type. Raises UserError for levels that have no reading, or more than one.
    """
    found = []
    for one in ranges:
        if one.dtype.kind == "b":
            found.append(1.0)
        elif one.dtype.kind == "f":
            _check_floats(one)
            found.append(1.0)
        elif one.dtype.kind in "iu":
            alike = [other for other in ranges if other.dtype.kind in "iu" and other.wide == one.wide]
            low, high = min(other.low for other in alike), max(other.high for other in alike)
            found.append(_white(Range(what=one.what, dtype=one.dtype, low=low, high=high)))
        else:
            raise UserError(f"{one.what} are of type {one.dtype}: give uint8, or floats in [0, 1]")
    for message in dict.fromkeys(_reading(one, white) for one, white in zip(ranges, found, strict=True)):
        if message is not None:
            notice(message)
    return found


def eight_bit(images: NDArray[Any], white: float) -> Pixels:
    """Return images in 8 bits: 0 stays black, and `white` becomes 255."""
    if images.dtype == np.uint8 and white == WHITE:
        return np.asarray(images, dtype=np.uint8)
    if images.dtype.kind == "f":
        images = images.astype(np.float32) if images.dtype.itemsize < 4 else images
        return np.asarray(np.rint(np.clip(images, 0, 1) * WHITE).astype(np.uint8))
    return np.asarray(np.rint(images * (WHITE / white)).astype(np.uint8))


def _range(pixels: Pixels) -> tuple[int, int]:
    """Return the least and the greatest level of images, or of as many as show that they are not nearly black."""
    low, high = WHITE, 0
    for start in range(0, len(pixels), FEW):
        part = pixels[start : start + FEW]
        low, high = min(low, int(part.min())), max(high, int(part.max()))
        if low < high and high >= DARK * WHITE:
            break
    return low, high


def notice_flat(train: Pixels, test: Pixels) -> None:
    """Say so where the 8-bit images of a split are nearly black, or of one level all over."""
    for split, pixels in (("training", train), ("test", test)):
        low, high = _range(pixels)
        if low < high and high >= DARK * WHITE:
            continue
        if low == high:
            notice(f"Every pixel of the {split} images has the level {low} of {WHITE}")
        else:
            notice(f"The brightest pixel of the {split} images has the level {high} of {WHITE}: they are nearly black")
        return  # the test images are like them


def _check_floats(images: Range) -> None:
    """Raise UserError for floats outside of [0, 1], with what they may be."""
    low, high = images.low, images.high
    if np.isnan(low) or np.isnan(high):
        raise UserError(f"the floats of {images.what} hold NaN (not a number): replace them and scale to [0, 1]")
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    if np.isinf(low) or np.isinf(high):
        advice = "replace the infinite numbers and scale to [0, 1]"
    elif low >= -ROUNDING:
        bits = max(8, int(high).bit_length())
        advice = (
            f"levels of {bits} bits (then divide them by {2**bits - 1}), or numbers whose white is neither 1 nor "
            f"{2**bits - 1} (then divide them by what is white)? Floats are read from 0 to 1"
        )
    elif low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        advice = (
            "scaled to [-1, 1] (then give (images + 1) / 2), or standardised by a mean and a deviation "
            "(then undo that)? Floats are read from 0 to 1"
        )
    else:
        advice = (
            "standardised by a mean and a deviation (then undo that), or with marks for missing pixels "
            "(then replace them)? Floats are read from 0 to 1"
        )
    raise UserError(f"the floats of {images.what} range from {low:g} to {high:g}: {advice}")


def _white(images: Range) -> float:
    """Return the integer that is white, by the highest there is."""
    numbers = f"the {images.dtype} numbers of {images.what} range from {images.low:.0f} to {images.high:.0f}"
    if images.low < 0:
        raise UserError(
            f"{numbers}: shifted levels (then add the shift), or with marks for missing pixels (then replace them)? "
            "Give levels from 0 to 255"
        )
    if images.high > 65535:
        raise UserError(f"{numbers}, beyond 16 bits; give uint8, or floats in [0, 1]")
    if images.high <= 1:
        return 1.0
    return float(max(WHITE, 2 ** int(images.high).bit_length() - 1))


def _reading(images: Range, white: float) -> str | None:
    """Return how integers were read, where their type does not say it."""
    if images.dtype.kind not in "iu" or images.high == 0:
        return None
    if white == 1:
        return f"The numbers of {images.what} are 0 and 1 only: read as black and white"
    if white > WHITE:
        bits = int(white).bit_length()
        return f"The {images.dtype} numbers of {images.what} are read as levels of {bits} bits, from 0 to {white:.0f}"
    if images.dtype.itemsize == 2:
        return f"The {images.dtype} numbers of {images.what} are at most {WHITE}: read as levels of 8 bits"
    return None
