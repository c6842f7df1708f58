"""What is kept between runs to spare work: trained networks, moments of features, decoded images, compiled code.

It lies in the user's cache folder, in a folder for each kind that nobody else can enter. Entries are written beside,
synced and renamed, and what is read is checked by a stored digest; whatever is wrong is made again. Free of torch
until tensors are read or written, so that listing is quick.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from safetensors import SafetensorError

from m3d_condense.tools.digests import digest_of
from m3d_condense.tools.files import open_tensors, write_file
from m3d_condense.tools.progress import tell
from m3d_condense.tools.stopwatch import Stopwatch

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "dict[str, Tensor]"
Stored: TypeAlias = "tuple[Tensors, dict[str, str]]"
"""Tensors on the CPU, and text by name."""

KINDS = {
    "images": "decoded images",
    "moments": "moments of features",
    "native": "compiled code",
    "pools": "trained networks",
    "reports": "what networks of reports name",
    "selectors": "trained networks",
    "stores": "decoded images",
}
"""What is kept, by the folder of its kind."""


def cache_folder() -> Path:
    """Return where entries are kept: the lasting folder, else a temporary one for this process."""
    return lasting_folder() or _temporary_folder()


def lasting_folder() -> Path | None:
    """Return $M3D_CACHE, or m3d-condense in the user's cache folder; None where there is no home either."""
    if own := os.environ.get("M3D_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "m3d-condense"
    try:
        return Path.home() / ".cache" / "m3d-condense"
    except RuntimeError:
        return None


def temporary_folder() -> Path:
    """Make a folder that is there until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="m3d-condense-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _temporary_folder() -> Path:
    folder = temporary_folder()
    tell(
        f"There is no home folder: what could be kept for the next run is in {folder} until this one ends; "
        "the environment variable M3D_CACHE names another place"
    )
    return folder


def folder_of(kind: str) -> Path:
    """Make the folder of a kind of entries, which nobody else can enter, and return it.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    assert kind in KINDS  # or nothing lists and removes it
    folder = cache_folder() / kind
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & 0o077:
        with suppress(OSError):  # a file system that knows no modes
            folder.chmod(0o700)
    return folder


def kept(
    kind: str,
    made_from: Mapping[str, Any],
    number: int,
    make: Callable[[], Tensors],
    watch: Stopwatch | None = None,
) -> Tensors:
    """Return the tensors that `make` returns, on the CPU, from a file where it has run before.

    Where the file is damaged, a notice says so, and they are made. Where they cannot be kept, another does, and this
    process alone finds them again.

    Args:
        kind: one of `KINDS`, a folder's name.
        made_from: all that determines the tensors but the number; JSON-able.
        number: tells apart what is made of the same, as the networks of a pool.
        make: makes the tensors.
        watch: is credited with the seconds that finding them spares.
    """
    file = cache_folder() / kind / key_of(made_from) / f"{number}.safetensors"
    found = _held.get(file)
    with not_kept_said(KINDS[kind]):
        folder_of(kind)
        found = read_entry(file) or found
    if found is not None:
        tensors, metadata = found
        if watch is not None:
            watch.credit(float(metadata["seconds"]))
        return tensors
    begun = time.monotonic()
    tensors = {name: value.detach().contiguous().cpu().clone() for name, value in make().items()}
    if _keeping:
        note = f"{made_from.get('network', 'a network')}, of data {str(made_from.get('fingerprint', ''))[:15]}"
        metadata = {"seconds": str(time.monotonic() - begun), "note": note}
        _held[file] = tensors, metadata
        with not_kept_said(KINDS[kind]):
            folder_of(kind)
            write_entry(file, tensors, metadata)
            del _held[file]
    return tensors


_held: dict[Path, Stored] = {}
"""What could not be written, by the file it would be in."""


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let `kept` write nothing while this lasts: for trials, of which nothing is of use later."""
    global _keeping
    before, _keeping = _keeping, False
    try:
        yield
    finally:
        _keeping = before


_keeping = True


def key_of(made_from: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits for what determines an entry; JSON-able."""
    return hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=8).hexdigest()


def read_entry(file: Path, *, mapped: bool = False) -> Stored | None:
    """Return what `write_entry` wrote; None where there is nothing, or, with a notice, nothing that can be used.

    With `mapped`, the tensors' memory is the file's: it is read when it is used, and what is changed there stays here.
    """
    if not file.is_file():
        return None
    try:
        with open_tensors(file) as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = dict(opened.metadata() or {})
        if metadata.pop("digest", None) != digest_of(tensors, metadata):
            raise ValueError("its digest is another")
    except (OSError, SafetensorError, ValueError) as error:
        tell(f"{file} is damaged ({error}), and is made again")
        return None
    with suppress(OSError):
        os.utime(file)  # by which the least recently used are known
    return (tensors if mapped else {name: tensor.clone() for name, tensor in tensors.items()}), metadata


def write_entry(file: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write contiguous tensors on the CPU, and text, to a file of the folder of a kind.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.torch import save_file

    with write_file(file) as new:
        try:
            save_file(tensors, new, {**metadata, "digest": digest_of(tensors, metadata)})
        except SafetensorError as error:  # what the system refuses, as on a full disk
            raise OSError(str(error)) from error


@contextmanager
def not_kept_said(what: str) -> Iterator[None]:
    """Say, once, that the cache folder cannot be used where the system refuses, and go on behind the block."""
    try:
        yield
    except OSError as error:
        _say_not_kept(what, cache_folder(), error.strerror or str(error))


def _say_not_kept(what: str, folder: Path, reason: str) -> None:
    if folder in _refused:
        return
    _refused.add(folder)
    tell(f"{what} cannot be kept for the next run in {folder} ({reason}); M3D_CACHE names another folder")


_refused: set[Path] = set()
"""Folders that cannot be used, of which that is said."""
