"""What decoded images are made of, as a text that is quick to ask: files by name, size and times, and the decoder."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3d_condense.tools.places import CONDENSED, STUDIES

if TYPE_CHECKING:
    from m3d_condense.data.pictures import Rows

RESULTS = {CONDENSED, *STUDIES}  # of this package, and no data


def of_files(paths: Sequence[str]) -> str | None:
    """Return the identity of files, or of all in folders, by names, sizes and times of change; None if any is hidden.

    Folders of this package's results, which may lie among the data, do not count.
    """
    digest = hashlib.sha256()
    try:
        for path in paths:
            for name in _files(path) if os.path.isdir(path) else [path]:  # noqa: PTH112
                status = os.stat(name)  # noqa: PTH116
                times = status.st_mtime_ns, status.st_ctime_ns  # an unpacked archive sets the first as it likes
                digest.update(json.dumps([name, status.st_mode, status.st_size, *times]).encode())
    except OSError:  # no permission, or gone meanwhile: whoever reads says it
        return None
    return digest.hexdigest()


def of_tables(splits: Sequence[Rows]) -> str | None:
    """Return the identity of images that `datasets` has stored in files; None where it has not."""
    tables: list[Any] = []
    for rows in splits:
        files = [file["filename"] for file in getattr(rows.images, "cache_files", None) or []]
        if not files:
            return None
        identity = of_files(files)
        if identity is None:
            return None
        tables.append([getattr(rows.images, "_fingerprint", None), identity])
    return hashlib.sha256(json.dumps(tables).encode()).hexdigest()


def decoder() -> str:
    """Return the identity of what reads and decodes: this package's code, PIL, and how PIL was set."""
    files = sys.modules.get("PIL.ImageFile")
    truncated = bool(getattr(files, "LOAD_TRUNCATED_IMAGES", False))
    return f"{_code()} pillow {version('pillow')}{' truncated' if truncated else ''}"


@functools.cache
def _code() -> str:
    """Return a digest of the code of this folder, which alone says how sources are read."""
    code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.blake2b(code, digest_size=8).hexdigest()


def _files(top: str) -> Iterator[str]:
    """Yield all files below, and the folders that are empty, in order; links to folders are followed once."""

    def refuse(error: OSError) -> None:
        raise error

    entered = set()
    for folder, below, names in os.walk(top, onerror=refuse, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116
        own = folder != top and not RESULTS.isdisjoint(names)
        if own or (status.st_dev, status.st_ino) in entered:
            below.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        below.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))  # noqa: PTH118
        if not below and not names:
            yield folder
