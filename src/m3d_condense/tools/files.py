"""Writing that is complete or did not happen, and reading that says what is wrong with a file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.leftovers import REPLACED, SPARE, held, is_partial, restore_folder, sweep, temporary_name
from m3d_condense.tools.places import check_outside_sets

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_folder",
    "check_name",
    "check_file",
    "check_place",
    "open_tensors",
    "plain_json",
    "read_json",
    "read_tensors",
    "write_file",
    "write_file_atomic",
    "write_folder",
]

NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # of a disk, a file, a user's share
MAX_DEPTH = 100  # of lists and dicts within one another, in what is stored as JSON


def check_folder(path: Path, replaceable: Callable[[Path], bool]) -> None:
    """Raise `UserError` unless `write_folder` may write to `path`; call it before a long job.

    It may where nothing is, in an empty folder, and over a folder of which `replaceable` is true; never over the
    working folder, which would be taken away from under the process, nor in a condensed set. Leftovers of killed
    processes do not count. A folder that one of them had moved from `path` is put back first.
    """
    check_place(path)
    restore_folder(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; name a folder")
    if path.exists() and not all(is_partial(entry) for entry in path.iterdir()) and not replaceable(path):
        raise UserError(f"{path} holds other files, which would be lost; choose a new or empty folder")
    here = Path.cwd()
    if path.resolve() in (here, *here.parents):
        raise UserError(f"{path} is the working folder or lies above it; name a folder of its own")


def check_place(path: Path, *, in_set: bool = False) -> None:
    """Raise `UserError` where no output may be: under an impossible name, below a file, or in a condensed set.

    Args:
        path: of a file or folder, which need not exist.
        in_set: whether it belongs to the condensed set that it lies in.
    """
    check_name(path)
    if not in_set:
        check_outside_sets(path)
    blocker = next((parent for parent in path.parents if parent.exists()), None)
    if blocker is not None and not blocker.is_dir():
        raise UserError(f"{path}: {blocker} is a file, not a folder; choose another place")


def check_file(
    path: Path, kind: str, is_ours: Callable[[Path], bool], *, overwrite: bool, in_set: bool = False
) -> None:
    """Raise `UserError` unless a file may be written at `path`; call it before a long job.

    Args:
        path: where nothing may be, or a file of the same kind.
        kind: what is written, such as "report".
        is_ours: tells whether a file that is there is one.
        overwrite: whether such a one gives way.
        in_set: whether it belongs to the condensed set that it lies in.
    """
    check_place(path, in_set=in_set)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if path.exists() and not is_ours(path):
        raise UserError(f"{path} is another file, which would be lost; choose another name")
    if path.exists() and not overwrite:
        raise UserError(f"{path} holds a {kind}; choose another name, or give {Setting('overwrite', True)}")


def check_name(path: Path) -> None:
    """Raise `UserError` where nothing can be written at `path`, whoever asks; see `tools.locks` for permissions.

    That is a name with a null byte, one that is too long with what is put behind it meanwhile, a circle of links, or
    a home folder as a shell writes it, which would become a folder called ~.
    """
    if path.parts[:1] == ("~",):
        raise UserError(f"{path}: ~ stands for no home folder here; write the folder's whole name")
    back = [parent for parent in path.parents if parent.name == ".." and not parent.exists()]
    if back:
        raise UserError(f"{path}: there is no folder {back[-1].parent} to go back from; write the path without it")
    try:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.stat()  # finds a circle of links, which resolve() lets pass from Python 3.13 on
        whole = path.resolve()
        there = next(parent for parent in (*whole.parents, whole) if parent.is_dir())  # a missing one tells no length
        temporary_name(there / f"{whole.name}{SPARE}").lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: nothing can be written there ({reason}); choose another place") from None


@contextmanager
def write_folder(path: Path, *, replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place once the block ends without an exception.

    A folder already at `path` stays until the new one is complete, and as it was if anything fails.
    Missing parents are made.

    Raises:
        UserError: `path` is a file, or a folder with something in it of which `replaceable` is false.
        OSError: as the system says (disk full, no permission); what was written is removed.
    """
    path = path.resolve()  # a link keeps pointing at the folder it names
    check_folder(path, replaceable)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    new = temporary_name(path)
    try:
        new.mkdir()
        with held(new):
            yield new
            for file in new.rglob("*"):
                if file.is_file():
                    _flush(file)
            _swap(new, path)
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)
        _name_target(error, new, path)
        raise


@contextmanager
def write_file(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path` that takes its place once the block ends without an exception.

    A reader sees the old content or all of the new. Missing parents are made; a file already at `path` stays as it was
    if anything fails.

    Raises:
        UserError: `path` is a folder.
        OSError: as the system says (disk full, no permission); what was written is removed.
    """
    path = path.resolve()
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    new = temporary_name(path)
    try:
        new.touch()
        with held(new):
            yield new
            _flush(new)
            new.replace(path)
    except BaseException as error:
        with suppress(OSError):
            new.unlink()
        _name_target(error, new, path)
        raise


def _name_target(error: BaseException, new: Path, path: Path) -> None:
    """Have an error of the system name what was to be written, not the file or folder beside it."""
    if isinstance(error, OSError) and error.filename is None and error.errno in NO_ROOM:
        error.filename = str(path)
    elif isinstance(error, OSError) and str(error.filename).startswith(str(new)):
        error.filename = f"{path}{str(error.filename).removeprefix(str(new))}"


def write_file_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` as `write_file` does; text as UTF-8, a half character of a file's name as its escape."""
    with write_file(path) as new:
        new.write_bytes(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)


def plain_json(name: str, value: Any) -> Any:
    """Return `value` as JSON gives it back (tuples become lists).

    Raises:
        UserError: JSON cannot hold it, it has a number that is not finite, or lists and dicts are nested too deep; the
            message has `name` in it.
    """
    if not _nests_within(value, MAX_DEPTH):
        raise UserError(f"{name} cannot be stored: lists and dicts are nested more than {MAX_DEPTH} deep")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot be stored ({error}); use text, finite numbers, lists and dicts") from None


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; raise `UserError` where the file is unreadable or holds anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error}); fetch or make it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no JSON object; fetch or make it again")
    return content


@contextmanager
def open_tensors(file: Path, framework: str = "pt") -> Iterator[Any]:
    """Open a safetensors file for reading, as `safe_open`, which takes no path but of UTF-8.

    Raises:
        OSError: as the system says: no permission.
        SafetensorError: the file is cut short, or of another kind.
    """
    with file.open("rb") as opened:
        path = file if _is_text(str(file)) else f"/dev/fd/{opened.fileno()}"
        with safe_open(path, framework=framework) as stored:
            yield stored


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file; nothing is unpickled.

    Raises:
        UserError: the file is missing, cut short, or of another kind.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder; name a file")
    if not file.is_file():
        raise UserError(f"{file} is missing; fetch or make it again")
    try:
        with open_tensors(file) as stored:
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
            return tensors, stored.metadata() or {}
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); see to it that it can, or make it again") from None
    except SafetensorError as error:
        raise UserError(f"{file} is damaged or not in safetensors ({error}); fetch or make it again") from None


def _is_text(path: str) -> bool:
    """Whether a path is Unicode, and not bytes of another encoding, which Python keeps as half characters."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nests_within(value: Any, levels: int) -> bool:
    """Whether lists and dicts are nested at most `levels` deep."""
    if not isinstance(value, dict | list | tuple):
        return True
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_nests_within(item, levels - 1) for item in items)


def _flush(file: Path) -> None:
    """Have the file on the disk before its name is, lest a power cut leave a name without content."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _swap(new: Path, path: Path) -> None:
    """Put the folder `new` at `path`; on failure the one that was there is back in its place."""
    if not path.exists():
        new.rename(path)
        return
    old = temporary_name(path, REPLACED)
    with held(path):  # the hold goes with the folder to its other name
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)  # the new one is in place: a leftover is no failure
