"""Images in files, mapped into memory in place of being read: pages come when they are used, and can be let go.

What is mapped counts as resident while its pages are there, though the system takes them back when it needs room:
letting them go keeps a process's memory flat, and what is used again soon is still in the system's cache.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

_maps: WeakValueDictionary[int, _Map] = WeakValueDictionary()  # by the address of the first byte


class _Map(mmap.mmap):
    """A mapping that knows its file, and can be held weakly."""

    path: Path


def map_images(path: Path, shape: Sequence[int]) -> Tensor:
    """Return the bytes of a file as a tensor, uint8, of a shape, to be read: what is written to it is lost by `let_go`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not of that many bytes.
    """
    size = math.prod(shape)
    if path.stat().st_size != size:
        raise ValueError(f"{path} holds {path.stat().st_size} bytes, not {size}")
    with path.open("rb") as file:
        mapping = _Map(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapping.path = path
    images = torch.frombuffer(mapping, dtype=torch.uint8).view(*shape)
    _maps[images.data_ptr()] = mapping  # which lives as long as the tensors of its memory
    return images


def file_of(images: Tensor) -> Path | None:
    """Return the file in whose memory these images lie; None for others."""
    mapping = _mapping(images)
    return None if mapping is None else mapping.path


def read_ahead(images: Tensor, rows: Tensor) -> None:
    """Ask the system to read rows N of mapped images while other work goes on; does nothing for others."""
    mapping = _mapping(images)
    if mapping is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = images[0].numel()
    for row in rows.tolist():
        first = images.storage_offset() + row * size
        start = first // mmap.PAGESIZE * mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, start, min(first + size, len(mapping)) - start)


def _mapping(images: Tensor) -> _Map | None:
    """Return the mapping that images lie in, all or some of its own; None for others."""
    return _maps.get(images.untyped_storage().data_ptr())


def let_go() -> None:
    """Let go of all pages of all mapped files: they are no longer the process's, and are read again when used."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for mapping in list(_maps.values()):
            mapping.madvise(mmap.MADV_DONTNEED)
