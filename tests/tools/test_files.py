from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import check_folder, plain_json, read_json, write_file_atomic, write_folder


def everything(path: Path) -> bool:
    return True


def nothing(path: Path) -> bool:
    return False


def tree(path: Path) -> dict[str, str]:
    return {str(f.relative_to(path)): f.read_text() for f in path.rglob("*") if f.is_file()}


def test_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with write_folder(target, replaceable=nothing) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
    assert tree(tmp_path) == {"deep/out/a.txt": "a"}


def test_folder_replaces_a_whole_older_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with write_folder(target, replaceable=everything) as folder:
        (folder / "new.txt").write_text("new")
        assert tree(target) == {"old.txt": "old"}
    assert tree(tmp_path) == {"out/new.txt": "new"}


def test_folder_takes_an_empty_folder_and_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with write_folder(tmp_path / "link", replaceable=nothing) as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "real") == {"a.txt": "a"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_exception_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")

    def fail() -> None:
        with write_folder(target, replaceable=everything) as folder:
            (folder / "new.txt").write_text("new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert tree(tmp_path) == {"out/old.txt": "old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_failed_second_rename_restores_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")
    rename, calls = Path.rename, []

    def second_fails(self: Path, to: Path) -> Path:
        calls.append(to)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", second_fails)
    with (
        pytest.raises(OSError, match="Input/output"),
        write_folder(target, replaceable=everything) as folder,
    ):
        (folder / "new.txt").write_text("new")
    assert len(calls) == 3
    assert tree(tmp_path) == {"out/old.txt": "old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_foreign_content_and_files_are_refused_before_writing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"), write_folder(tmp_path, replaceable=nothing):
        pass
    with pytest.raises(UserError, match="is a file; name a folder"):
        check_folder(tmp_path / "mine.txt", everything)
    with pytest.raises(UserError, match="is a file, not a folder"):
        check_folder(tmp_path / "mine.txt" / "a" / "b", everything)
    check_folder(tmp_path, everything)
    check_folder(tmp_path / "new" / "er", nothing)
    assert tree(tmp_path) == {"mine.txt": "mine"}
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_not_there_is_not_gone_back_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some calls of the system pass over it, and others do not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for name in ("no/../b", "a/no/../../b", "a/../no/../b"):
        with pytest.raises(UserError, match="there is no folder (a/|a/../)?no to go back from"):
            check_folder(Path(name), nothing)
    check_folder(Path("a/../b/c"), nothing)


def test_the_working_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    for name in (".", "", "..", "../..", "new/..", "../../a"):
        with pytest.raises(UserError, match="is the working folder or lies above it"):
            check_folder(Path(name), everything)
        with pytest.raises(UserError, match="is the working folder"), write_folder(Path(name), replaceable=everything):
            pass
    check_folder(Path("new"), nothing)
    check_folder(Path("../c"), nothing)


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_file_atomic(file, "Größe\n")
    assert file.read_bytes() == "Größe\n".encode()
    write_file_atomic(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    assert [entry.name for entry in file.parent.iterdir()] == ["a.txt"]
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_file_atomic(tmp_path / "deep", "x")


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file_atomic(file, "new")
    assert tree(tmp_path) == {"a.txt": "old"}


def test_json_is_plain_or_refused(tmp_path: Path) -> None:
    assert plain_json("settings", {"lr": (1, 2.5), "name": None}) == {"lr": [1, 2.5], "name": None}
    with pytest.raises(UserError, match="settings cannot be stored"):
        plain_json("settings", {"lr": float("nan")})
    with pytest.raises(UserError, match="settings cannot be stored"):
        plain_json("settings", {"path": tmp_path})
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match=r"list\.json holds no JSON object"):
        read_json(tmp_path / "list.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json cannot be read"):
        read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("write", [files.write_file, partial(files.write_folder, replaceable=nothing)])
def test_an_error_names_the_target(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    original = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda self, *a, **k: original(self, *a, **k) if k else refuse(self))
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path / 'x'}'$"), write(tmp_path / "x"):
        pass


def test_a_folder_is_no_file_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a file"):
        files.read_tensors(tmp_path)
