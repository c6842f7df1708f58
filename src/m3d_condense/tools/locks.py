"""One process at a time writes what is at a path, and knows before its work that it can be written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import check_name
from m3d_condense.tools.leftovers import SPARE, lock_name, sweep, temporary_name
from m3d_condense.tools.progress import tell

CLOSED = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS}  # of a folder that cannot be written to
PATIENCE = 0.5  # seconds that a process which is just ending may take to let go


@contextmanager
def alone(path: Path, nbytes: int = 0) -> Iterator[None]:
    """Write what is at `path` alone while this lasts; reading is not held up.

    The system ends the hold with the process, however that ends; the empty file that it leaves is no obstacle.
    Missing parents are made, and removed again where nothing comes into them.

    Args:
        path: of a file or folder; need not exist.
        nbytes: that will be written at least.

    Raises:
        UserError: another process is writing there, or nothing can be written under this name or in this folder.
        OSError: as the system says: a full disk.
    """
    check_name(path)
    path = path.resolve()
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        _probe(path, nbytes)
        lock = FileLock(lock_name(path))
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            advice = f"wait for it to end, or give another {Setting('out')}"
            raise UserError(f"{path}: another process is writing there; {advice}") from None
        with _released(lock, path):
            yield
    finally:
        for parent in missing:
            with suppress(OSError):  # something is in it
                parent.rmdir()


def check_writable(path: Path) -> None:
    """Raise where nothing can be written at `path`, as `alone` does: to know it before work that takes long."""
    with alone(path):
        pass


@contextmanager
def in_turn(path: Path, waiting: str) -> Iterator[None]:
    """Hold `path`, in a folder that is there, alone while this lasts; say `waiting` where another process has it first.

    Raises:
        OSError: as the system says.
    """
    lock = FileLock(lock_name(path))
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        tell(waiting)
        lock.acquire()
    with _released(lock, path):
        yield


def is_held(path: Path) -> bool:
    """Whether another process holds `path` at this moment."""
    lock = FileLock(lock_name(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    with _released(lock, path):
        return False


@contextmanager
def _released(lock: FileLock, path: Path) -> Iterator[None]:
    """Remove the file of a path's lock, and release it, when this ends."""
    try:
        yield
    finally:
        with suppress(OSError):
            lock_name(path).unlink(missing_ok=True)
        lock.release()


def _probe(path: Path, nbytes: int) -> None:
    """Write so many bytes beside `path`, under a name as long as any will be, and remove them.

    Raises:
        UserError: the folder cannot be made, or not be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(path, nbytes)
    except OSError as error:
        if error.errno not in CLOSED:
            raise
        said = f"the folder {path.parent} cannot be written to ({error.strerror})"
        raise UserError(f"{path}: {said}; choose another place") from None


def _write_beside(path: Path, nbytes: int) -> None:
    spare = path.with_name(path.name + SPARE)
    sweep(spare)  # what a process left that was killed here
    file = temporary_name(spare)
    try:
        with file.open("wb") as opened:
            for _ in range(nbytes // 2**20):
                opened.write(bytes(2**20))
            opened.write(bytes(nbytes % 2**20))
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
