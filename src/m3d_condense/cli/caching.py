"""``m3d cache``: what is kept between runs, listed and removed."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from jsonargparse import Namespace

from m3d_condense.machine.memory import readable
from m3d_condense.tools.cache import cache_folder, not_kept_said
from m3d_condense.tools.entries import CacheEntry, entries, remove
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.limit import kept_bytes
from m3d_condense.tools.text import shown

NOTE = 200  # characters of what is said of an entry


def check_environment() -> None:
    """Say where the folder that M3D_CACHE names cannot be made, before anything is to be kept in it.

    Raises:
        UserError: M3D_CACHE_LIMIT is no size.
    """
    kept_bytes()
    if named := os.environ.get("M3D_CACHE"):
        with not_kept_said("what is worked out"):
            if not next(path for path in (Path(named), *Path(named).absolute().parents) if path.exists()).is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def run(given: Namespace) -> int:
    """List what is kept, or remove what is named."""
    if given.action == "list":
        if given.names or given.all:
            raise UserError("m3d cache list takes no names")
        found = entries()
        print(*_lines(found), sep="\n")
        return 0
    if given.all == bool(given.names):
        raise UserError("name what to remove, as m3d cache list shows it, or give --all")
    removed = remove(None if given.all else given.names)
    size = sum(entry.nbytes for entry in removed)
    print(*(entry.name for entry in removed), f"{len(removed)} removed, {readable(size)}", sep="\n")
    return 0


def _lines(found: list[CacheEntry]) -> list[str]:
    """Return a line for each entry, and one for all."""
    width = max((len(entry.name) for entry in found), default=0)
    lines = [
        f"{entry.name:{width}}  {readable(entry.nbytes):>9}  {_when(entry.used)}  {shown(entry.note, NOTE)}".rstrip()
        for entry in found
    ]
    return [*lines, shown(f"{readable(sum(entry.nbytes for entry in found))} in {cache_folder()}")]


def _when(used: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
