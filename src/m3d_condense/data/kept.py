"""Decoded images, kept from one start to the next in the cache folder where decoding them took long.

What was read of local files is found again without opening any of them. Data of the hub is looked up first, and spares
the decoding alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from m3d_condense.data import identity
from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.data.pictures import named_files
from m3d_condense.data.store import KIND as STORES
from m3d_condense.data.store import Store
from m3d_condense.machine.memory import readable
from m3d_condense.tools import cache
from m3d_condense.tools.entries import trim
from m3d_condense.tools.limit import kept_bytes
from m3d_condense.tools.progress import notice, recorded, tell

if TYPE_CHECKING:
    from m3d_condense.data.pictures import Rows
    from m3d_condense.data.raster import Pixels

KIND = "images"
WORTH = 2.0  # seconds that reading must take for its result to be kept
SPLITS = ("train", "test")

Made = TypeVar("Made")


def remembered(data: Any, options: Mapping[str, Any], read: Callable[[Store | None], ImageDataset]) -> ImageDataset:
    """Return what `read` makes of local data, from the cache where it has read the same files before.

    The notices of that reading are given again. A table that names image files elsewhere is read each time: whether
    these have changed, nothing but reading the table tells.

    Args:
        data: a path or several, absolute; anything else has no files, and is read.
        options: all that determines the result beside the files; JSON-able.
        read: reads the data; into the store it is given, where they take more memory than should be filled.

    Raises:
        UserError: M3D_CACHE_LIMIT is no number; and whatever `read` raises.
    """
    paths = [data] if isinstance(data, str) else data if isinstance(data, list) else []
    if not paths or not all(Path(path).is_absolute() for path in paths):
        return read(None)
    name = Path(paths[0]).name if len(paths) == 1 else Path(paths[0]).parent.name
    elsewhere: list[Path] = []

    def of_files() -> str | None:
        return None if elsewhere else identity.of_files(paths)

    def read_all(store: Store | None) -> ImageDataset:
        with named_files() as named:
            dataset = read(store)
        given = [Path(path).resolve() for path in paths]
        elsewhere.extend(file for file in named if not any(file.is_relative_to(path) for path in given))
        return dataset

    return _once(name, {"paths": paths, "options": options}, of_files, read_all, _packed, _unpacked)


def decoded(
    splits: Sequence[Rows],
    size: int | None,
    name: str,
    decode: Callable[[Sequence[Rows], int | None, Store | None], list[Pixels]],
    store: Store | None,
) -> list[Pixels]:
    """Return what `decode` makes of the splits of a data set of the hub, from the cache where it has done so before.

    Splits of local files are decoded into the store that `remembered` has for them, where they are large.
    """

    def pack(images: list[Pixels]) -> cache.Stored:
        tensors = {str(number): torch.from_numpy(pixels) for number, pixels in enumerate(images)}
        return tensors, {"note": _note(name, list(tensors.values()))}

    def unpack(tensors: cache.Tensors, texts: Mapping[str, str]) -> list[Pixels]:
        return [tensors[str(number)].numpy() for number in range(len(tensors))]

    parts = [hashlib.sha256(part.tobytes()).hexdigest() for rows in splits for part in rows.divided()]
    key = {"name": name, "splits": [rows.name for rows in splits], "parts": parts, "size": size}
    of_tables = functools.partial(identity.of_tables, splits)
    return _once(name, key, of_tables, lambda own: decode(splits, size, own or store), pack, unpack)


def _once(
    name: str,
    key: Mapping[str, Any],
    made_of: Callable[[], str | None],
    make: Callable[[Store | None], Made],
    pack: Callable[[Made], cache.Stored],
    unpack: Callable[[cache.Tensors, Mapping[str, str]], Made],
) -> Made:
    """Return what is kept under a key if it was made of the same; else make it, and keep it where that took long."""
    folder, limit, source = cache.lasting_folder(), kept_bytes(), made_of()
    if folder is None or source is None:
        return make(None)
    name = f"{_plain(name)}-{cache.key_of(key)}"
    file, whole = folder / KIND / f"{name}.safetensors", f"{source} by {identity.decoder()}"
    found = _found(file, whole) if limit else None
    if found is not None:
        return unpack(*found)
    begun, store = time.monotonic(), Store(folder=folder / STORES / name, made_of=whole)
    with recorded() as notices:
        made = make(store)
    same = made_of() == source  # else files have changed meanwhile
    if store.used:
        if not same:
            store.forget()
    elif limit and same and time.monotonic() - begun >= WORTH:
        tensors, texts = pack(made)
        _keep(file, tensors, {**texts, "made_of": whole, "notices": json.dumps(notices)}, limit)
    return made


def _plain(name: str) -> str:
    """Return a name as a file can bear it."""
    return re.sub(r"\W+", "-", name)[:40] or "data"


def _found(file: Path, made_of: str) -> cache.Stored | None:
    """Return an entry, and give its notices again; None where there is none that was made of this."""
    found = None
    with suppress(OSError):
        if file.is_file():
            cache.folder_of(KIND)  # where nobody else can have written
            found = cache.read_entry(file, mapped=True)
    if found is None or found[1].get("made_of") != made_of:
        return None
    tell(f"Decoded before, and now read from {file} ({readable(_nbytes(found[0]))})")
    for message in json.loads(found[1]["notices"]):
        notice(message)
    return found


def _keep(file: Path, tensors: cache.Tensors, texts: Mapping[str, str], limit: int) -> None:
    """Write an entry and say so, and let the least recently used give way to it; say where there is no room."""
    size = _nbytes(tensors)
    with cache.not_kept_said(cache.KINDS[KIND]):
        free = shutil.disk_usage(cache.folder_of(KIND)).free // 2
        if size > limit:
            tell(f"{readable(size)} of decoded images are not kept: M3D_CACHE_LIMIT, in GiB, allows {readable(limit)}")
        elif size > free:
            tell(f"{readable(size)} of decoded images are not kept: {file.parent} has room for {readable(2 * free)}")
        else:
            trim(KIND, limit - size)
            cache.write_entry(file, tensors, texts)
            tell(f"The decoded images are kept for the next start in {file} ({readable(size)})")


def _packed(dataset: ImageDataset) -> cache.Stored:
    """Return the tensors of a data set, and all else that it is, as text."""
    splits = {name: getattr(dataset, name) for name in SPLITS}
    tensors = {f"{name}.images": split.images for name, split in splits.items()}
    tensors |= {f"{name}.labels": split.labels for name, split in splits.items()}
    plain = {field.name: getattr(dataset, field.name) for field in fields(dataset) if field.name not in SPLITS}
    note = _note(dataset.name, [split.images for split in splits.values()])
    return tensors, {"plain": json.dumps(plain), "computed": json.dumps(dataset.computed()), "note": note}


def _unpacked(tensors: cache.Tensors, texts: Mapping[str, str]) -> ImageDataset:
    parts: dict[str, Any] = json.loads(texts["plain"])
    parts["class_names"] = tuple(parts["class_names"])
    for name in SPLITS:
        parts[name] = Split(images=tensors[f"{name}.images"], labels=tensors[f"{name}.labels"])
    dataset = ImageDataset(**parts)
    dataset.recall(json.loads(texts["computed"]))
    return dataset


def _note(name: str, images: Sequence[torch.Tensor]) -> str:
    _, _, height, width = images[0].shape
    return f"{sum(map(len, images)):,} images of {name}, {width}×{height} pixels"


def _nbytes(tensors: cache.Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
