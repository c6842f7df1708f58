"""Images that lie in memory, as one array or as a list, turned into 8 bits chunk by chunk.

Legend: N images, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from m3d_condense.data.axes import channels_first, images_last, layout_of, layout_of_one
from m3d_condense.data.frames import Several
from m3d_condense.data.levels import WHITE, Range, eight_bit, whites
from m3d_condense.data.raster import Pixels, has_frames, picture
from m3d_condense.data.room import make_sure_of_room
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

Rows = NDArray[np.int64]
Told = tuple[Sequence[str], Sequence[str]]  # what tells the splits, by name; and the split of each image
CHUNK = 2**18  # numbers converted at a time


@dataclass(frozen=True, kw_only=True)
class Images:
    """N images whose axes are known, and whose levels are not.

    Attributes:
        count: N.
        dtype: of their numbers; None where they are 8-bit already.
        rgba: whether there are images of four channels.
        chunks: takes row numbers, and gives arrays n×C×H×W of these rows in turn, a few images each.
    """

    count: int
    dtype: np.dtype[Any] | None
    rgba: bool
    chunks: Callable[[Rows], Iterator[NDArray[Any]]]

    def select(self, rows: Rows) -> Images:
        """Return some of them."""
        return replace(self, count=len(rows), chunks=lambda chosen: self.chunks(rows[chosen]))


@dataclass(frozen=True, kw_only=True)
class GivenSplit:
    """One split as it was given: its images, or these with known axes, its labels, and what divides it again."""

    images: Any
    labels: Any
    told: Told | None = None


@dataclass(frozen=True, kw_only=True)
class Given:
    """A data set as it was given.

    Attributes:
        pairs: the training split, and the test split where there is one.
        class_names: of the labels 0..K-1; none where the labels are the names.
        partial: whether some of the named classes may be missing: these are left out.
        mirrored: whether a mirrored image keeps its class.
    """

    pairs: Sequence[GivenSplit]
    class_names: Sequence[str] = ()
    partial: bool = False
    mirrored: bool = True


def as_numpy(values: Any) -> NDArray[Any]:
    """Return an array or a tensor as a numpy array, bfloat16 as float32; raises UserError as `plain` does."""
    values = plain(values)
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    narrow = values.dtype.is_floating_point and values.dtype.itemsize <= 2  # numpy has no bfloat16
    return np.asarray(values.float().numpy() if narrow else values.numpy())


def plain(values: Any) -> Any:
    """Return an array or a tensor as it is; raises UserError where numbers are left out, masked or not in memory."""
    if isinstance(values, Tensor) and (values.layout != torch.strided or values.is_quantized or values.is_nested):
        raise UserError("a sparse, nested or quantised tensor: give a dense one, with to_dense() or dequantize()")
    if isinstance(values, Tensor) and values.is_meta:
        raise UserError("a tensor on the device meta holds no numbers: make it on another")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise UserError("a masked array: put numbers where it has none, with filled()")
    return values


def images_of(given: Any, *, layout: str | None = None, size: int | None = None, labels: int | None = None) -> Images:
    """Take images as an array, a tensor, or a list of arrays, tensors or PIL images.

    `layout` is one of `axes.LAYOUTS`, `size` the side to which a list is resized, `labels` how many labels there
    are. Raises UserError for axes that fit no layout or several, and for what holds no images.
    """
    if isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.dtype == object):
        if len(given) == 0:
            raise UserError("a list without an image: give some")
        images = of_list([ready(one, number, layout, size) for number, one in enumerate(given)])
        tell_frames([f"image {number}" for number, one in enumerate(given) if several_frames(one)], images.count)
        return images
    array = plain(given) if isinstance(given, Tensor) else np.asarray(plain(given))
    if array.ndim == 0:
        raise UserError(f"images of type {type(given).__name__}: give an array, a tensor or a list of images")
    if labels is not None and images_last(array.shape, labels):
        raise UserError(
            f"images of shape {tuple(array.shape)} and {labels} labels: the last axis counts the images; "
            "give numpy.moveaxis(images, -1, 0)"
        )
    return of_array(array, layout_of(array.shape, layout))


def of_array(array: NDArray[Any] | Tensor, layout: str) -> Images:
    """Take an array or a tensor whose layout is known."""
    images = channels_first(array, layout)
    tensor = isinstance(images, Tensor)
    step = max(1, CHUNK // int(np.prod(images.shape[1:])))

    def chunks(rows: Rows) -> Iterator[NDArray[Any]]:
        for start in range(0, len(rows), step):
            part: Any = rows[start : start + step]
            if part[-1] - part[0] + 1 == len(part):  # ascending, without a gap: a view in place of a copy
                part = slice(part[0], part[-1] + 1)
            elif tensor:
                part = torch.from_numpy(part).to(images.device)
            yield as_numpy(images[part])

    return Images(count=len(images), dtype=as_numpy(images[:1]).dtype, rgba=images.shape[1] == 4, chunks=chunks)


def of_list(items: Sequence[tuple[NDArray[Any], bool]]) -> Images:
    """Take what `ready` gave for each image."""
    types = dict.fromkeys(None if done else array.dtype for array, done in items)
    if len(types) > 1:
        names = " and ".join("pictures or floats" if kind is None else str(kind) for kind in types)
        raise UserError(f"a list of images of several types, {names}: give all in one type")

    def chunks(rows: Rows) -> Iterator[NDArray[Any]]:
        return (items[row][0][None] for row in rows.tolist())

    rgba = any(len(array) == 4 for array, _ in items)
    return Images(count=len(items), dtype=next(iter(types), None), rgba=rgba, chunks=chunks)


def ready(given: Any, number: int, layout: str | None, size: int | None) -> tuple[NDArray[Any], bool]:
    """Return one image of a list as C×H×W, and whether it is 8-bit: pictures and floats are made so by themselves."""
    what = f"image {number}"
    if isinstance(given, Image.Image):
        if given.mode[0] not in "IF":
            return _picture(given, size, what), True
        given = np.asarray(ImageOps.exif_transpose(given))  # more than 8 bits, whose white all images share
    if given is None or isinstance(given, str | bytes):
        raise UserError(f"{what} is {given!r:.40}: give arrays, tensors or PIL images")
    array = as_numpy(given)
    array = channels_first(array[None], layout_of_one(array.shape, layout, what))
    if array.dtype.kind != "f":
        return array[0], False
    whites([Range(what=what, dtype=array.dtype, low=float(array.min()), high=float(array.max()))])
    return _finished(eight_bit(array, 1.0), size)[0], True


def several_frames(given: Any) -> bool:
    """Whether one image of a list is a PIL image of several frames."""
    return isinstance(given, Image.Image) and has_frames(given)


def tell_frames(pictures: Sequence[str], total: int) -> None:
    """Say how many of the images of a list have several frames, and which of these is taken."""
    several = Several()
    several.add(pictures)
    several.tell(total, "the frame that each is at")


def levels(splits: Sequence[tuple[Images, Rows]]) -> list[float]:
    """Return the number that is white in some rows of each split; raises UserError for levels that cannot be told."""
    if any(images.rgba for images, _ in splits):
        notice("Images of 4 channels are read as RGBA and laid on white")
    names = ["the images"] if len(splits) == 1 else ["the training images", "the test images"]
    ranges = [_range(images, rows, name) for (images, rows), name in zip(splits, names, strict=True)]
    found = iter(whites([one for one in ranges if one is not None]))
    return [float(WHITE) if one is None else next(found) for one in ranges]


def converted(images: Images, rows: Rows, white: float, size: int | None) -> Pixels:
    """Return some rows in 8 bits, uint8 N×C×H×W with C 1 or 3, resized to size×size unless None.

    RGBA is laid on white. Raises UserError for images that differ in size.
    """
    pixels: Pixels | None = None
    start = 0
    if size is not None:  # before the first is enlarged to it
        make_sure_of_room(len(rows), 1, size, size)
    for chunk in images.chunks(rows):
        part = _finished(eight_bit(chunk, white), size)
        if pixels is None:
            make_sure_of_room(len(rows), *part.shape[1:])
            pixels = np.empty((len(rows), *part.shape[1:]), dtype=np.uint8)
        if part.shape[2:] != pixels.shape[2:]:
            (h, w), (height, width) = pixels.shape[2:], part.shape[2:]
            raise UserError(
                f"the images differ in size, from {w}×{h} (image {rows[0]}) to {width}×{height} pixels (image "
                f"{rows[start]}); give {Setting('size', 'N')} to resize and crop them all to N×N"
            )
        if part.shape[1] > pixels.shape[1]:  # the first colour after grey images only
            pixels = np.repeat(pixels, 3, axis=1)
        pixels[start : start + len(part)] = part
        start += len(part)
    assert pixels is not None, "a split has rows"
    return pixels


def _range(images: Images, rows: Rows, what: str) -> Range | None:
    """Return the lowest and highest number, or None for images that are 8-bit."""
    if images.dtype is None:
        return None
    if images.dtype.kind not in "biuf":  # text and complex numbers have no order
        return Range(what=what, dtype=images.dtype, low=0, high=0)
    ends = [(float(chunk.min()), float(chunk.max())) for chunk in images.chunks(rows)]
    lows, highs = (np.array(values) for values in zip(*ends, strict=True))
    return Range(what=what, dtype=images.dtype, low=float(lows.min()), high=float(highs.max()))


def _finished(images: Pixels, size: int | None) -> Pixels:
    """Lay RGBA on white and resize, as pictures in files are: the shorter side to `size`, the centre cropped."""
    if images.shape[1] < 4 and (size is None or images.shape[2:] == (size, size)):
        return images
    whole = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    return np.stack([picture(Image.fromarray(np.ascontiguousarray(image)), size) for image in whole])


def _picture(image: Image.Image, size: int | None, what: str) -> Pixels:
    try:
        return picture(image, size)
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise UserError(f"cannot read {what}: {error}; replace or remove it") from error
