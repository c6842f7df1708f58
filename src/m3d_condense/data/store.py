"""Decoded images on disk, for data that take more memory than should be filled: mapped, they are read as they are used.

A store is made once, and found again by what it was made of. One that was interrupted goes on with the image it
stopped at.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from torch import Tensor

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.frames import Several
from m3d_condense.data.raster import Pixels
from m3d_condense.machine.mapped import file_of, map_images
from m3d_condense.machine.memory import readable
from m3d_condense.tools import cache
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import write_file
from m3d_condense.tools.locks import in_turn
from m3d_condense.tools.progress import tell

KIND = "stores"
STATE = "state.json"
UNREADABLE = (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SYNC_EVERY = 5.0  # seconds of work that an interrupted decoding may lose
BLOCK = 2**26  # bytes copied at a time


class State(msgspec.Struct, kw_only=True):
    """What is in a store: of each split how many images there shall be, and are, and their channels; H×W of all.

    `several` are the images of several frames among them.
    """

    made_of: str
    counts: list[int]
    shape: tuple[int, int]
    done: list[int]
    channels: list[int]
    several: Several = msgspec.field(default_factory=Several)


class Computed(msgspec.Struct, kw_only=True):
    """What a pass over all images computes, as `ImageDataset.computed` returns it."""

    fingerprint: str
    moments: tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(kw_only=True, eq=False)
class Store:
    """The images of some splits as files of a folder, uint8 N×C×H×W, filled in order.

    Attributes:
        folder: of the store, in the cache; made when it is needed.
        made_of: the identity of the images' source, and of what decodes it.
        used: whether images have been put here, or found.
        several: those of several frames, counted by who puts them here.
    """

    folder: Path
    made_of: str
    used: bool = False
    several: Several = field(default_factory=Several)
    _state: State | None = None
    _synced: float = field(default_factory=time.monotonic)

    def find(self, counts: Sequence[int], shape: tuple[int, int]) -> list[Tensor] | None:
        """Return the images N×C×H×W of each split if all are here; counts are the N, shape is H×W."""
        state = self._read(counts, shape)
        if state is None or state.done != list(counts):
            return None
        parts = enumerate(zip(state.counts, state.channels, strict=True))
        try:
            images = [map_images(self.path_of(number, c), (count, c, *shape)) for number, (count, c) in parts]
        except (OSError, ValueError):  # files are gone, or cut
            return None
        self.used, self.several = True, state.several
        size = sum(part.nbytes for part in images)
        with suppress(OSError):
            os.utime(self.folder / STATE)  # when it was last used
        tell(f"Decoded before, and now read from {self.folder} as it is used ({readable(size)})")
        return images

    def room(self) -> int | None:
        """Return the bytes that the disk has for the store, what is in it included; None where it does not tell."""
        try:
            cache.folder_of(KIND)
            held = self.folder.iterdir() if self.folder.is_dir() else []
            return shutil.disk_usage(self.folder.parent).free + sum(file.stat().st_size for file in held)
        except OSError as error:
            raise self.failed(error) from error

    def begin(self, counts: Sequence[int], shape: tuple[int, int], channels: int) -> list[Shelf]:
        """Return a shelf for each split, with what an interrupted decoding has put there; see `find`.

        Raises:
            UserError: the folder cannot be made.
        """
        try:
            state = self._read(counts, shape)
            if state is None or not self._holds(state):
                shutil.rmtree(self.folder, ignore_errors=True)
                none, each = [0] * len(counts), [channels] * len(counts)
                state = State(made_of=self.made_of, counts=list(counts), shape=shape, done=none, channels=each)
            self.folder.mkdir(exist_ok=True)
            shelves = [Shelf(self, number, state) for number in range(len(counts))]
        except OSError as error:
            raise self.failed(error) from error
        self.used, self.several, self._state = True, state.several, state
        return shelves

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Fill it alone while this lasts, once no other process does.

        Raises:
            UserError: the folder of the stores cannot be used.
        """
        with ExitStack() as held:
            try:
                cache.folder_of(KIND)
                waiting = f"Another process decodes these images into {self.folder}: waiting for it"
                held.enter_context(in_turn(self.folder, waiting))
            except OSError as error:
                raise self.failed(error) from error
            yield

    def checkpoint(self, shelves: Sequence[Shelf]) -> None:
        """Make sure, from time to time, of what is on the shelves."""
        if time.monotonic() - self._synced >= SYNC_EVERY:
            self._sync(shelves)

    def finish(self, shelves: Sequence[Shelf]) -> list[Tensor]:
        """Return all images once they are on their shelves; of several splits, all in colour if one is."""
        if len({shelf.channels for shelf in shelves}) > 1:
            for shelf in shelves:
                shelf.widen()
        self._sync(shelves)
        for shelf in shelves:
            shelf.file.close()
        return [map_images(shelf.path, (shelf.done, shelf.channels, *shelf.shape)) for shelf in shelves]

    def forget(self) -> None:
        """Let nobody find what is here: its source has changed, or cannot be told from another."""
        (self.folder / STATE).unlink(missing_ok=True)

    def _sync(self, shelves: Sequence[Shelf]) -> None:
        """Make sure of what is on the shelves, and note it."""
        assert self._state is not None
        try:
            for shelf in shelves:
                shelf.file.flush()
                os.fsync(shelf.file.fileno())
            self._state.done = [shelf.done for shelf in shelves]
            self._state.channels = [shelf.channels for shelf in shelves]
            with write_file(self.folder / STATE) as new:
                new.write_bytes(msgspec.json.encode(self._state))
        except OSError as error:
            raise self.failed(error) from error
        self._synced = time.monotonic()

    def _read(self, counts: Sequence[int], shape: tuple[int, int]) -> State | None:
        """Return the state, if it is of these images."""
        try:
            state = msgspec.json.decode((self.folder / STATE).read_bytes(), type=State)
        except UNREADABLE:
            return None
        same = (state.made_of, state.counts, state.shape) == (self.made_of, list(counts), shape)
        whole = len(state.done) == len(state.channels) == len(counts)
        return state if same and whole else None

    def _holds(self, state: State) -> bool:
        """Whether the files have all that the state says is done."""
        image = state.shape[0] * state.shape[1]
        shelves = enumerate(zip(state.done, state.channels, strict=True))
        files = [(self.path_of(number, channels), done * channels * image) for number, (done, channels) in shelves]
        return all(path.is_file() and path.stat().st_size >= size for path, size in files if size > 0)

    def path_of(self, number: int, channels: int) -> Path:
        """Return the file of a split's images."""
        return self.folder / f"{number}-{channels}.u8"

    def failed(self, error: OSError) -> UserError:
        """Return what to raise where the system refuses."""
        reason = error.strerror or str(error)
        return UserError(f"{self.folder}: {reason}; M3D_CACHE names another place")


class Shelf:
    """The images of one split in their file, put there one batch after another.

    Attributes:
        done: how many are there.
        channels, shape: of each: one channel until the first that is in colour, and H×W.
        path, file: where they are; open to append.
    """

    def __init__(self, store: Store, number: int, state: State) -> None:
        self._store, self._number = store, number
        self.done, self.channels, self.shape = state.done[number], state.channels[number], state.shape
        self._open()
        self.file.truncate(self.done * self.channels * self.shape[0] * self.shape[1])

    def put(self, batch: Pixels) -> None:
        """Add images N×C×H×W."""
        if batch.shape[1] > self.channels:
            self.widen()
        try:
            wide = np.broadcast_to(batch, (len(batch), self.channels, *self.shape))
            self.file.write(np.ascontiguousarray(wide).data)
        except OSError as error:
            raise self._store.failed(error) from error
        self.done += len(batch)

    def _open(self) -> None:
        self.path = self._store.path_of(self._number, self.channels)
        self.file = self.path.open("ab")

    def widen(self) -> None:
        """Write what is there again, in colour, if it is grey; the grey file stays until the store is removed."""
        if self.channels == 3:
            return
        grey, plane = self.path, self.shape[0] * self.shape[1]
        try:
            self.file.close()
            self.channels = 3
            self._open()
            self.file.truncate(0)
            with grey.open("rb") as planes:
                while block := planes.read(max(BLOCK // plane, 1) * plane):
                    self.file.write(np.repeat(np.frombuffer(block, np.uint8).reshape(-1, 1, plane), 3, axis=1).data)
        except OSError as error:
            raise self._store.failed(error) from error


def recalled(dataset: ImageDataset) -> ImageDataset:
    """Return the data set; where its images are of a store, with what a pass over all of them computes, kept there."""
    file = file_of(dataset.train.images)
    if file is None:
        return dataset
    labels = hashlib.blake2b(digest_size=8)
    for split in (dataset.train, dataset.test):
        labels.update(split.labels.numpy().data)
    kept = file.parent / f"computed-{labels.hexdigest()}.json"
    try:
        computed = msgspec.json.decode(kept.read_bytes(), type=Computed)
        dataset.recall(msgspec.structs.asdict(computed))
    except UNREADABLE:
        tell("Taking the mean, the deviation and the fingerprint of all images")
        computed = Computed(**dataset.computed())
        with suppress(OSError), write_file(kept) as new:
            new.write_bytes(msgspec.json.encode(computed))
    return dataset
