"""Names beside what is being written: what they are, which process holds one, and what a killed process left behind.

What is written appears under ``.NAME.XXXXXXXX.partial`` and takes the place of NAME when it is complete. A folder that
is replaced stands aside as ``.NAME.XXXXXXXX.replaced`` meanwhile, and ``.NAME.m3d-lock`` keeps others from writing
there. The names outlive only a process that is killed: whoever writes NAME next removes them, unless another process is
writing there now.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which lets nobody remove what is open
    fcntl = None  # type: ignore[assignment]

CHECKPOINT, METRICS, PREVIEW, TIMETABLE = ".checkpoint", ".metrics.jsonl", ".preview.png", ".timetable.json"
GROUPS, TENSORBOARD = ".class-groups", ".tensorboard"
BESIDE = (CHECKPOINT, METRICS, PREVIEW, TIMETABLE, GROUPS, TENSORBOARD)
"""What is put behind a set's name for what lies beside it while it is made."""

SPARE = max(BESIDE, key=len)
PARTIAL, REPLACED, LOCK = "partial", "replaced", "m3d-lock"
PATTERN = re.compile(rf"\.(?P<name>.+)\.(?:[0-9a-f]{{8}}\.(?:{PARTIAL}|{REPLACED})|{LOCK})", re.DOTALL)


def temporary_name(path: Path, ending: str = PARTIAL) -> Path:
    """Return an unused hidden name beside `path`: on the same file system, so that a rename suffices."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{ending}")


def lock_name(path: Path) -> Path:
    """Return the hidden name beside `path` by which a process writes there alone, see `tools.locks`."""
    return path.with_name(f".{path.name}.{LOCK}")


def written_name(entry: Path) -> str | None:
    """Return the name of what was being written under a temporary name; None where `entry` has no such name."""
    match = PATTERN.fullmatch(entry.name)
    return match["name"] if match else None


def is_partial(entry: Path) -> bool:
    """Tell by its name whether a path is what a killed process left of a file or folder it was writing."""
    return written_name(entry) is not None


@contextmanager
def held(entry: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a file or folder against other processes, and yield whether it is held.

    The system ends the hold with the process, however that ends. Where another process holds it, or the file system
    has no locks, nothing is held; with `wait`, the other process is waited for.
    """
    descriptor = None
    try:
        descriptor = _locked(entry, wait)
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(entry: Path, wait: bool) -> int | None:
    if fcntl is None:
        return None
    try:
        descriptor = os.open(entry, os.O_RDONLY if entry.is_dir() else os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def restore_folder(path: Path) -> None:
    """Put the folder back at `path` that a process killed while replacing it had moved aside; else do nothing."""
    try:
        path = path.resolve()
        if path.exists():
            return
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a circle of links
        return
    aside = [entry for entry in _leftovers(path) if entry.suffix == f".{REPLACED}"]
    if len(aside) != 1:
        return
    with held(aside[0], wait=True):  # a process that is replacing it now ends first
        if aside[0].exists() and not path.exists():
            aside[0].rename(path)


def sweep(path: Path) -> None:
    """Remove what killed processes left behind while they wrote `path`."""
    for entry in _leftovers(path):
        if entry.suffix == f".{REPLACED}" and not path.exists():
            continue  # the only copy
        with held(entry) as ours:
            if ours and entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif ours:
                entry.unlink(missing_ok=True)


def sweep_within(folder: Path) -> None:
    """Remove what killed processes left behind in a folder, whatever they wrote there."""
    for name in {written_name(entry) for entry in folder.iterdir()} - {None}:
        sweep(folder / str(name))


def _leftovers(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.parent.iterdir() if written_name(entry) == path.name]
    except OSError:  # no such folder
        return []
