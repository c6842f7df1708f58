"""What is compiled is opened only where nobody else can have put it, and as it was written."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from m3d_condense.machine.native import building
from m3d_condense.tools.entries import entries, remove

SCRIPT = """#!/bin/sh
while [ "$1" != "-o" ]; do shift; done
echo "$2" >> {log}
cp {library} "$2"
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled once."""
    if building.compiler() is None:
        pytest.skip("no C++ compiler here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M3D_CACHE", str(tmp_path_factory.mktemp("compiled")))
        building.build(("-O0",))
        [entry] = entries()
        return library(entry.path)


def library(found: Path) -> Path:
    [file] = found.iterdir()
    return file


class Compiler:
    """A compiler that hands out what was compiled before, and counts."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.log = folder / "log"
        self.script = folder / "c++"
        self.hands_out(library)

    def hands_out(self, library: Path) -> None:
        self.script.write_text(SCRIPT.format(log=self.log, library=library))
        self.script.chmod(0o700)

    @property
    def calls(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def compiler(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    made = Compiler(tmp_path, compiled)
    monkeypatch.setenv("CXX", str(made.script))
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return made


def entry() -> Path:
    [found] = entries()
    return found.path


def test_it_is_compiled_once_and_then_found(compiler: Compiler) -> None:
    for _ in range(2):
        assert building.build(()).panel() > 0
    assert compiler.calls == 1
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (entry().parent, entry(), *entry().iterdir())]
    assert all(mode & 0o077 == 0 for mode in modes)
    assert [one.name.partition("/")[0] for one in remove(["native"])] == ["native"]
    building.build(())
    assert compiler.calls == 2


def put(found: Path, data: bytes) -> None:
    """Write another library to the place."""
    file = library(found)
    file.unlink()
    file.write_bytes(data)
    file.chmod(0o600)


def cut(found: Path) -> None:
    put(found, library(found).read_bytes()[:5000])


def empty(found: Path) -> None:
    put(found, b"")


def planted(found: Path) -> None:
    put(found, b"\x7fELF of somebody else")


def no_digest(found: Path) -> None:
    library(found).rename(found / "block.so")


def two(found: Path) -> None:
    (found / f"{'0' * 64}.so").write_bytes(b"\x7fELF of somebody else")


def no_library(found: Path) -> None:
    library(found).unlink()


def a_folder(found: Path) -> None:
    name = library(found)
    no_library(found)
    name.mkdir()


def a_file(found: Path) -> None:
    for part in found.iterdir():
        part.unlink()
    found.rmdir()
    found.write_text("a file")


def a_link(found: Path) -> None:
    file = library(found)
    file.rename(found.parent / "elsewhere.so")
    file.symlink_to(found.parent / "elsewhere.so")


def a_linked_folder(found: Path) -> None:
    found.rename(found.with_name("elsewhere"))
    found.symlink_to(found.with_name("elsewhere"))


def writable_by_others(found: Path) -> None:
    library(found).chmod(0o666)


def folder_writable_by_others(found: Path) -> None:
    found.chmod(0o777)


def of_another_user(found: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(library(found), 12345, 12345)


def without_functions(found: Path) -> None:
    """A library that is what its digest says, and lacks what is called."""
    data = library(found).read_bytes().replace(b"block_dot_backward", b"block_dot_backwarp")
    put(found, data)
    library(found).rename(found / f"{hashlib.sha256(data).hexdigest()}.so")


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        empty,
        planted,
        no_digest,
        two,
        no_library,
        a_folder,
        a_file,
        a_link,
        a_linked_folder,
        writable_by_others,
        folder_writable_by_others,
        of_another_user,
        without_functions,
    ],
)
def test_what_is_not_as_it_was_written_is_compiled_again(
    compiler: Compiler, spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.build(())
    shutil.copytree(tmp_path / "cache", tmp_path / "other")  # the system loads no path twice in a process
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "other"))
    spoil(entry())
    assert isinstance(building.build(()), ctypes.CDLL)
    assert compiler.calls == 2
    building.build(())
    assert compiler.calls == 2, "what was compiled again is not found"


def test_what_a_killed_compiler_left_is_removed(compiler: Compiler, tmp_path: Path) -> None:
    building.build(())
    for name in (entry().name, "0123456789abcdef"):
        left = entry().with_name(f".{name}.01234567.partial")
        left.mkdir()
        (left / "made").write_text("half")
    remove(["native"])
    building.build(())
    assert [path.name for path in (tmp_path / "cache" / "native").iterdir()] == [entry().name]


def test_a_compiler_that_makes_something_else_is_an_error_and_not_opened(compiler: Compiler, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no library")
    compiler.hands_out(tmp_path / "text")
    with pytest.raises(OSError, match="cannot be loaded"):
        building.build(())
