"""Images of whole splits, decoded into their final place on all cores, and room for them made sure of beforehand.

PIL holds Python's lock while it decodes, so that threads would only take turns: processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np

from m3d_condense.data.frames import Several
from m3d_condense.data.levels import Range, whites
from m3d_condense.data.pictures import Rows, translated
from m3d_condense.data.raster import (
    Batch,
    DamagedError,
    Item,
    OtherSizeError,
    Pixels,
    WideError,
    attempt,
    decode_batch,
    header,
    is_grey,
    unreadable,
    wide_range,
)
from m3d_condense.data.room import make_sure_of_room
from m3d_condense.data.store import Store
from m3d_condense.data.workers import in_order, processes
from m3d_condense.machine.memory import available_memory, readable
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import progress, tell
from m3d_condense.tools.text import listed

MOST, MOST_BYTES = 256, 2**22  # images, and bytes of their pixels, that are decoded at a time
OVERHEAD = 2**12  # pixels whose decoding takes as long as opening an image does
WORTH = 2**27  # pixels, the overhead of each image included, from which on processes are started
SHARE = 0.5  # of the memory that is free: what takes more is decoded onto disk


class Sink(Protocol):
    """Where the images of a split are put, one batch after another; `done` are there."""

    done: int

    def put(self, batch: Pixels) -> None:
        """Add images N×C×H×W."""


def decode(splits: Sequence[Rows], size: int | None, store: Store | None = None) -> list[Pixels]:
    """Decode the images of each split, uint8 N×C×H×W; a split has C = 1 if all its images are grey.

    Says how many have several frames, of which the first is decoded, and what is white in images of more than 8 bits.

    Args:
        splits: what is decoded; one that is divided makes several.
        size: images are resized and cropped to it.
        store: where they are put if they take more memory than should be filled; what it has is not decoded again.

    Raises:
        UserError: for damaged images, where images differ in size and no `size` is given, and where the decoded images
            fit neither the memory that is free nor the store's disk.
    """
    try:
        return _decode(splits, size, store)
    except DamagedError as first:
        raise _with_others(first, splits) from first


def _with_others(first: DamagedError, splits: Sequence[Rows]) -> UserError:
    """Return the error of the first damaged image with the names of the others, so that all can be mended at once."""
    others: list[str] = []
    total = left = sum(len(rows.labels) for rows in splits)
    tell(f"{first.where} cannot be read: the others are looked through for more")
    with processes(total * OVERHEAD >= WORTH) as pool, progress("Looking for damage", total, unit="images") as bar:
        for rows in splits:
            with translated(f"the {rows.name} split", local=True):
                for found in in_order(_batches(iter(rows), MOST), unreadable, partial(attempt, unreadable), pool):
                    others += [where for where in found if where != first.where]
                    bar.advance(min(MOST, left))
                    left -= MOST
    if not others:
        return first
    return UserError(f"{first}; and {len(others)} more: {listed(others, 8)}")


def _decode(splits: Sequence[Rows], size: int | None, store: Store | None) -> list[Pixels]:
    mode, height, width = _first(splits)
    shape = (height, width) if size is None else (size, size)
    counts = [len(part) for rows in splits for part in rows.divided()]
    total = sum(len(rows.labels) for rows in splits)
    found = None if store is None else store.find(counts, shape)
    if found is None:
        store = _on_disk(counts, shape, mode, store)
        if store is None:
            sinks, several = [InMemory(count) for count in counts], Several()
            _fill_all(splits, size, shape, sinks, several, lambda: None)
            several.tell(total)
            return [sink.pixels for sink in sinks]
        with store.alone():
            found = store.find(counts, shape)  # which another process has made meanwhile
            if found is None:
                shelves = store.begin(counts, shape, 1 if is_grey(mode) else 3)
                _fill_all(splits, size, shape, shelves, store.several, partial(store.checkpoint, shelves))
                found = store.finish(shelves)
    assert store is not None
    store.several.tell(total)
    return [images.numpy() for images in found]


def _fill_all(
    splits: Sequence[Rows],
    size: int | None,
    shape: tuple[int, int],
    sinks: Sequence[Sink],
    several: Several,
    after: Callable[[], None],
) -> None:
    """Decode all images into their sinks; the levels of all are looked at first where some have more than 8 bits."""
    try:
        _fill(splits, size, shape, sinks, several, after)
    except WideError:
        _fill(splits, size, shape, sinks, several, after, _white(splits, shape))


def _white(splits: Sequence[Rows], shape: tuple[int, int]) -> int:
    """Return what is white in the images of more than 8 bits, by the rule of arrays, and say so."""
    lows, highs, total = [0], [0], sum(len(rows.labels) for rows in splits)
    with (
        processes(total * (shape[0] * shape[1] + OVERHEAD) >= WORTH) as pool,
        progress("Measuring the levels", total, unit="images") as bar,
    ):
        for rows in splits:
            with translated(f"the {rows.name} split", local=True):
                batches = _batches(iter(rows), _together(shape))
                for low, high in in_order(batches, wide_range, partial(attempt, wide_range), pool):
                    lows.append(low)
                    highs.append(high)
            bar.advance(len(rows.labels))
    what, dtype = "the pictures of more than 8 bits", np.dtype(np.uint16)
    return int(whites([Range(what=what, dtype=dtype, low=min(lows), high=max(highs))])[0])


def _together(shape: tuple[int, int]) -> int:
    """Return how many images are decoded at a time."""
    return max(1, min(MOST, MOST_BYTES // (3 * shape[0] * shape[1])))


def _fill(
    splits: Sequence[Rows],
    size: int | None,
    shape: tuple[int, int],
    sinks: Sequence[Sink],
    several: Several,
    after: Callable[[], None],
    white: int | None = None,
) -> None:
    """Decode all images into their sinks, on all cores where that pays, and count those of several frames.

    `after` is called behind each batch; see `decode_batch` for `white`.
    """
    left = sum(len(rows.labels) for rows in splits) - sum(sink.done for sink in sinks)
    rest = iter(sinks)
    with processes(left * (shape[0] * shape[1] + OVERHEAD) >= WORTH) as pool:
        for rows in splits:
            own = list(islice(rest, len(rows.divided())))
            done = sum(sink.done for sink in own)
            here = partial(decode_batch, size=size, shape=shape, white=white, mode=rows.mode)
            with translated(f"the {rows.name} split", local=True):
                batches = in_order(
                    _batches(islice(rows, done, None), _together(shape)), here, partial(attempt, here), pool
                )
                try:
                    _put(rows, _counted(batches, several), own, after)
                except OtherSizeError:
                    raise _mixed_sizes(splits) from None


def _first(splits: Sequence[Rows]) -> tuple[str, int, int]:
    """Return mode, height and width that the first image of all is decoded to.

    Raises UserError for a split without images.
    """
    firsts = []
    for rows in splits:
        with translated(f"the {rows.name} split", local=True):
            first = next(iter(rows), None)
        if first is None:
            raise UserError(f"the {rows.name} split has no images")
        firsts.append(first)
    mode, height, width = header(firsts[0])
    return splits[0].mode or mode, height, width


def _on_disk(counts: Sequence[int], shape: tuple[int, int], mode: str, store: Store | None) -> Store | None:
    """Return the store where the decoded images would fill the memory that is free, and say so; else None.

    Raises UserError where there is no store, and they would not fit.
    """
    channels = 1 if is_grey(mode) else 3
    if store is None:
        make_sure_of_room(sum(counts), channels, *shape)
        return None
    need, free = sum(counts) * channels * shape[0] * shape[1], available_memory()
    if free is None or need <= SHARE * free:
        return None
    size = f"{sum(counts):,} images of {shape[1]}×{shape[0]} pixels take {readable(need)} of memory"
    why = f"{size}, and {readable(free)} are free"
    room = store.room()
    if room is not None and need > room:
        raise UserError(
            f"{why}, and {readable(room)} of disk in {store.folder.parent}; {Setting('size', 'N')} with a smaller N "
            "makes them N×N, M3D_CACHE names another place"
        )
    tell(f"{why}: they are decoded into {store.folder}, and read as they are used")
    return store


class InMemory:
    """The images of one split in memory."""

    def __init__(self, count: int) -> None:
        self.count, self.done = count, 0
        self.pixels = np.empty((0, 1, 1, 1), dtype=np.uint8)

    def put(self, batch: Pixels) -> None:
        """Add images N×C×H×W."""
        if self.done == 0:
            self.pixels = np.empty((self.count, *batch.shape[1:]), dtype=np.uint8)
        if batch.shape[1] > self.pixels.shape[1]:  # the first colour after grey images only
            self.pixels = np.repeat(self.pixels, 3, axis=1)
        self.pixels[self.done : self.done + len(batch)] = batch
        self.done += len(batch)


def _put(rows: Rows, batches: Iterable[Pixels], sinks: Sequence[Sink], after: Callable[[], None]) -> None:
    """Put the decoded images of a split in their sinks as they come, and tell of it."""
    parts, done = rows.divided(), sum(sink.done for sink in sinks)
    with progress(f"Reading {rows.name}", len(rows.labels), done=done, unit="images") as bar:
        for batch in batches:
            for part, sink in zip(parts, sinks, strict=True):
                first, last = np.searchsorted(part, [done, done + len(batch)])
                if last - first == len(batch):
                    sink.put(batch)
                elif last > first:
                    sink.put(batch[part[first:last] - done])
            done += len(batch)
            after()
            bar.advance(len(batch))


def _counted(batches: Iterable[Batch], several: Several) -> Iterator[Pixels]:
    """Yield the images of each batch once those are counted of which not all is read."""
    for pixels, where, cut in batches:
        several.add(where, cut)
        yield pixels


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
