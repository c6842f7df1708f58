"""Images of whole splits, decoded into their final place on all cores, and room for them made sure of beforehand.

PIL holds Python's lock while it decodes, so that threads would only take turns: processes share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from m3d_condense.data.pictures import Rows, translated
from m3d_condense.data.raster import Item, OtherSizeError, Pixels, attempt_batch, decode_batch, header, is_grey
from m3d_condense.data.room import make_sure_of_room
from m3d_condense.data.workers import in_order, processes
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import progress

MOST, MOST_BYTES = 256, 2**22  # images, and bytes of their pixels, that are decoded at a time
OVERHEAD = 2**12  # pixels whose decoding takes as long as opening an image does
WORTH = 2**27  # pixels, the overhead of each image included, from which on processes are started


def decode(splits: Sequence[Rows], size: int | None) -> list[Pixels]:
    """Decode the images of each split, uint8 N×C×H×W; a split has C = 1 if all its images are grey.

    Raises UserError for the first damaged image, where images differ in size and no `size` is given, and where the
    decoded images would take more than the memory that is free.
    """
    mode, height, width = _first(splits)
    shape = (height, width) if size is None else (size, size)
    count = sum(len(rows.labels) for rows in splits)
    copies = 2 if len(splits) == 1 else 1  # a test split is copied out
    make_sure_of_room(copies * count, 1 if is_grey(mode) else 3, *shape)
    together = max(1, min(MOST, MOST_BYTES // (3 * shape[0] * shape[1])))
    here, attempt = partial(decode_batch, size=size, shape=shape), partial(attempt_batch, size=size, shape=shape)
    images = []
    with processes(count * (height * width + OVERHEAD) >= WORTH) as pool:
        for rows in splits:
            with translated(f"the {rows.name} split", local=True):
                try:
                    images.append(_collected(rows, in_order(_batches(iter(rows), together), here, attempt, pool)))
                except OtherSizeError:
                    raise _mixed_sizes(splits) from None
    return images


def _first(splits: Sequence[Rows]) -> tuple[str, int, int]:
    """Return mode, height and width of the first image of all; raises UserError for a split without images."""
    firsts = []
    for rows in splits:
        with translated(f"the {rows.name} split", local=True):
            first = next(iter(rows), None)
        if first is None:
            raise UserError(f"the {rows.name} split has no images")
        firsts.append(first)
    return header(firsts[0])


def _collected(rows: Rows, batches: Iterable[Pixels]) -> Pixels:
    """Put the decoded images of a split in their places as they come, and tell of it."""
    pixels: Pixels | None = None
    done = 0
    with progress(f"Reading {rows.name}", len(rows.labels), unit="images") as bar:
        for batch in batches:
            if pixels is None:
                pixels = np.empty((len(rows.labels), *batch.shape[1:]), dtype=np.uint8)
            if batch.shape[1] > pixels.shape[1]:  # the first colour after grey images only
                pixels = np.repeat(pixels, 3, axis=1)
            pixels[done : done + len(batch)] = batch
            done += len(batch)
            bar.advance(len(batch))
    assert pixels is not None
    return pixels


def _batches(items: Iterator[Item], count: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, count)):
        yield batch


def _mixed_sizes(splits: Sequence[Rows]) -> UserError:
    """The error that tells the smallest and the largest image, by the headers of all."""
    sizes = set()
    with progress("Measuring the images", sum(len(rows.labels) for rows in splits), unit="images") as bar:
        for rows in splits:
            for item in rows:
                sizes.add(header(item)[1:])
                bar.advance()
    (h, w), (height, width) = (choose(sizes, key=lambda s: (s[0] * s[1], s[::-1])) for choose in (min, max))
    return UserError(
        f"the images differ in size, from {w}×{h} to {width}×{height} pixels; "
        f"give {Setting('size', 'N')} to resize and crop them all to N×N"
    )
