"""The entries of the cache folder: listed, removed by name, and trimmed to a limit."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from m3d_condense.tools.cache import KINDS, cache_folder
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import open_tensors
from m3d_condense.tools.locks import is_held
from m3d_condense.tools.progress import tell

OURS = re.compile(r"(?:.+-)?[0-9a-f]{16}")  # the names of entries, without their endings
STALE = 24 * 3600  # seconds after which a file that is being written has been left behind by a killed process


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """What is kept under one name.

    Attributes:
        name: KIND/KEY, by which it is removed.
        path: a file, or a folder of files.
        nbytes: its size.
        used: when it was last read or written, in seconds since 1970.
        note: what it is of, where that is stored.
    """

    name: str
    path: Path
    nbytes: int
    used: float
    note: str


def entries() -> list[CacheEntry]:
    """List what is kept, kind by kind, the most recently used first."""
    found = []
    for kind in KINDS:
        folder = cache_folder() / kind
        paths = [path for path in folder.glob("[!.]*") if OURS.fullmatch(path.stem)]
        of_kind = []
        for path in paths:
            with suppress(FileNotFoundError):  # another process removes or replaces it
                of_kind.append(_entry(kind, path))
        found += sorted(of_kind, key=lambda entry: -entry.used)
    return found


def _entry(kind: str, path: Path) -> CacheEntry:
    files = _files(path)
    status = [file.stat() for file in files]
    notes = (_note(file) for file in files if file.suffix == ".safetensors")
    return CacheEntry(
        name=f"{kind}/{path.stem}",
        path=path,
        nbytes=sum(one.st_size for one in status),
        used=max((one.st_mtime for one in status), default=path.stat().st_mtime),
        note=next(notes, ""),
    )


def _files(path: Path) -> list[Path]:
    """Return the file of an entry, or those in its folder."""
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _note(file: Path) -> str:
    try:
        with open_tensors(file, "np") as opened:
            return str((opened.metadata() or {}).get("note", ""))
    except (OSError, SafetensorError):
        return "damaged"


def remove(names: Sequence[str] | None) -> list[CacheEntry]:
    """Remove entries by their names, or those of a kind by its name; None removes all.

    Files in the cache folder that are not entries stay, and so does what another process is just making, which is said.
    Returns what was removed.

    Raises:
        UserError: there is nothing of a name; then nothing is removed.
        OSError: as the system says.
    """
    found = entries()
    for name in names or ():
        if not any(name in (entry.name, entry.name.partition("/")[0]) for entry in found):
            raise UserError(f"nothing of the name {name} is kept in {cache_folder()}")
    chosen = [entry for entry in found if names is None or {entry.name, entry.name.partition("/")[0]} & set(names)]
    removed = []
    for entry in chosen:
        if is_held(entry.path):
            tell(f"{entry.name}: another process is making it; it stays")
        else:
            _discard(entry.path)
            removed.append(entry)
    return removed


def trim(kind: str, limit: int) -> None:
    """Remove the least recently used entries of a kind until the rest is within a limit, in bytes."""
    folder = cache_folder() / kind
    for path in folder.glob(".*.partial"):
        with suppress(FileNotFoundError):  # another process has just finished writing it
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
    found = [entry for entry in entries() if entry.name.startswith(f"{kind}/")]
    while found and sum(entry.nbytes for entry in found) > limit:
        _discard(found.pop().path)


def _discard(path: Path) -> None:
    """Remove an entry; what else lies in its folder stays."""
    for file in _files(path):
        file.unlink(missing_ok=True)
    if path.is_dir():
        with suppress(OSError):
            path.rmdir()
