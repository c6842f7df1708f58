from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3d_condense.tools.files import check_folder, write_file, write_file_atomic, write_folder
from m3d_condense.tools.leftovers import held, is_partial, restore_folder, sweep, temporary_name, written_name


@contextmanager
def another_process(holds: Path) -> Iterator[None]:
    """Have another process hold a file or folder while this lasts."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def hold() -> None:
        with held(holds) as is_held:
            theirs.send(is_held)
            theirs.recv()

    process = context.Process(target=hold)
    process.start()
    assert ours.recv()
    yield
    ours.send("enough")
    process.join()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="holds need a POSIX system")


def everything(path: Path) -> bool:
    return True


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_temporary_names_tell_what_was_being_written() -> None:
    for name in ("set", "condensed.json", ".hidden", "two.words.partial", "a\nb"):
        assert written_name(temporary_name(Path("folder") / name)) == name
        assert is_partial(temporary_name(Path("folder") / name))
    for name in ("set", ".set.partial", ".set.0123456.partial", ".set.0123456g.partial", "set.01234567.partial"):
        assert written_name(Path(name)) is None
        assert not is_partial(Path(name))


def test_leftovers_of_a_name_are_swept_when_it_is_written_next(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.01234567.partial").write_text("cut off")
    (tmp_path / ".set.01234567.partial").mkdir()
    (tmp_path / ".set.01234567.partial" / "b.txt").write_text("cut off")
    write_file_atomic(tmp_path / "a.txt", "a")
    assert names(tmp_path) == [".set.01234567.partial", "a.txt"]
    with write_folder(tmp_path / "set", replaceable=everything):
        pass
    assert names(tmp_path) == ["a.txt", "set"]


@needs_fork
def test_what_another_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    theirs = [tmp_path / ".a.txt.01234567.partial", tmp_path / ".set.01234567.partial"]
    theirs[0].write_text("theirs")
    theirs[1].mkdir()
    with another_process(theirs[0]), another_process(theirs[1]):
        write_file_atomic(tmp_path / "a.txt", "a")
        with write_folder(tmp_path / "set", replaceable=everything):
            pass
        assert names(tmp_path) == [*(entry.name for entry in theirs), "a.txt", "set"]
    sweep(tmp_path / "a.txt")
    sweep(tmp_path / "set")
    assert names(tmp_path) == ["a.txt", "set"]


@needs_fork
def test_what_is_being_written_is_held(tmp_path: Path) -> None:
    with write_file(tmp_path / "a.txt") as new, held(new) as ours:
        assert not ours
    with write_folder(tmp_path / "set", replaceable=everything) as folder, held(folder) as ours:
        assert not ours
    with held(tmp_path / "a.txt") as ours:
        assert ours


def test_a_folder_moved_aside_is_put_back_where_nothing_is(tmp_path: Path) -> None:
    aside = tmp_path / ".set.01234567.replaced"
    aside.mkdir()
    (aside / "old.txt").write_text("old")
    (tmp_path / ".set.89abcdef.partial").mkdir()
    check_folder(tmp_path / "set", everything)
    assert names(tmp_path) == [".set.89abcdef.partial", "set"]
    assert (tmp_path / "set" / "old.txt").read_text() == "old"


def test_a_folder_moved_aside_is_a_leftover_where_the_new_one_is(tmp_path: Path) -> None:
    (tmp_path / ".set.01234567.replaced").mkdir()
    (tmp_path / "set").mkdir()
    restore_folder(tmp_path / "set")
    assert names(tmp_path) == [".set.01234567.replaced", "set"]
    sweep(tmp_path / "set")
    assert names(tmp_path) == ["set"]


def test_nothing_is_put_back_or_swept_where_it_is_not_clear_which(tmp_path: Path) -> None:
    for digits in ("01234567", "89abcdef"):
        (tmp_path / f".set.{digits}.replaced").mkdir()
    restore_folder(tmp_path / "set")
    sweep(tmp_path / "set")
    assert names(tmp_path) == [".set.01234567.replaced", ".set.89abcdef.replaced"]


def test_a_folder_with_leftovers_alone_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / ".table.json.01234567.partial").write_text("cut off")
    check_folder(tmp_path, lambda path: False)


def test_names_that_no_file_can_have_are_left_alone(tmp_path: Path) -> None:
    restore_folder(tmp_path / "no" / "such" / "folder")
    restore_folder(Path("a\0b"))
    restore_folder(tmp_path / ("x" * 1000))
    (tmp_path / "circle").symlink_to("circle")
    restore_folder(tmp_path / "circle")
