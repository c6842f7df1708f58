from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3d_condense.tools import locks
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import is_partial, sweep
from m3d_condense.tools.locks import alone, is_held


@contextmanager
def another_process_writes(path: Path) -> Iterator[int]:
    """Have a child write at `path` until it is killed; yield its number once it has begun."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with alone(path):
            os.write(tell, b"x")
            signal.pause()
        os._exit(0)
    os.read(told, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "set"
    with (
        another_process_writes(path),
        pytest.raises(UserError, match=r"runs/set: another process is writing there.*out"),
        alone(path),
    ):
        pytest.fail("two at once")


def test_a_look_tells_whether_another_process_writes_and_leaves_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "set")
    assert not list(tmp_path.iterdir())
    with another_process_writes(tmp_path / "set"):
        assert is_held(tmp_path / "set")


def test_a_disk_that_takes_no_files_is_said_as_a_closed_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, nbytes: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(locks, "_write_beside", refuse)
    with (
        pytest.raises(UserError, match=r"cannot be written to \(Read-only file system\); choose"),
        alone(tmp_path / "set"),
    ):
        pytest.fail("it can be written")


def test_another_place_is_free(tmp_path: Path) -> None:
    with another_process_writes(tmp_path / "one"), alone(tmp_path / "other"):
        pass


def test_a_second_thread_of_a_process_is_refused(tmp_path: Path) -> None:
    with alone(tmp_path / "set"), pytest.raises(UserError, match="another process"), alone(tmp_path / "set"):
        pytest.fail("two at once")


def test_a_link_is_the_place_it_names(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with alone(tmp_path / "set"), pytest.raises(UserError, match="another process"), alone(tmp_path / "link"):
        pytest.fail("two at once")


def test_a_dead_process_keeps_nobody_out_and_its_lock_is_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with another_process_writes(path):
        pass
    assert [is_partial(entry) for entry in tmp_path.iterdir()] == [True]
    with alone(path):
        sweep(path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_nothing_was_written(tmp_path: Path) -> None:
    with alone(tmp_path / "some" / "runs" / "set", nbytes=3 * 2**20 + 1):
        assert (tmp_path / "some" / "runs").is_dir()
    assert list(tmp_path.iterdir()) == []
    with alone(tmp_path / "some" / "runs" / "set"):
        (tmp_path / "some" / "runs" / "set").touch()
    assert (tmp_path / "some" / "runs" / "set").exists()


@pytest.mark.parametrize("path", ["n" * 300, "n" * 250, "file/set", "n\0"])
def test_a_name_that_cannot_be_written_is_found_before_the_work(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((OSError, ValueError, UserError)), alone(tmp_path / path):
        pytest.fail("it can be written")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder that takes no files, whoever writes")
@pytest.mark.parametrize("path", ["/proc/set", "/proc/some/set"])
def test_a_folder_that_takes_no_files_is_named(path: str) -> None:
    folder = Path(path).parent
    with (
        pytest.raises(
            UserError, match=rf"{path}: the folder {folder} cannot be written to \(.*\); choose another place"
        ),
        alone(Path(path)),
    ):
        pytest.fail("it can be written")
