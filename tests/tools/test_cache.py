from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from watches import Credits

from m3d_condense.tools import cache, digests
from m3d_condense.tools.cache import cache_folder, folder_of, kept, read_entry, write_entry

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7), "half": torch.ones(2).bfloat16()}
SETTINGS = {"network": "convnet", "fingerprint": "sha256:0123456789abcdef", "seed": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(left: cache.Tensors, right: cache.Tensors) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def refused() -> cache.Tensors:
    raise AssertionError("it is made again")


# where it lies


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("M3D_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "m3d-condense"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "m3d-condense"


HOMELESS = """
import os, sys
from pathlib import Path
def lost():
    raise RuntimeError("Could not determine home directory.")
Path.home = lost
from m3d_condense.tools.cache import cache_folder, folder_of
print(cache_folder(), folder_of("pools"), os.path.isdir(cache_folder()))
"""


@pytest.mark.parametrize("variable", ["M3D_CACHE", "XDG_CACHE_HOME", None])
def test_without_a_home_a_temporary_folder_serves(tmp_path: Path, variable: str | None) -> None:
    """Path.home asks the system's list of users where HOME is unset; where that fails too, it raises this."""
    plain = {name: value for name, value in os.environ.items() if name not in ("HOME", "M3D_CACHE", "XDG_CACHE_HOME")}
    environment = plain | ({variable: str(tmp_path)} if variable else {})
    done = subprocess.run([sys.executable, "-c", HOMELESS], env=environment, capture_output=True, text=True, check=True)
    place, _, there = done.stdout.split()
    if variable is None:
        assert there == "True"
        assert not Path(place).exists()  # it ends with the process
        assert "no home folder" in done.stderr
        assert "M3D_CACHE" in done.stderr
    else:
        assert place.startswith(str(tmp_path))
        assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="there are no modes on Windows")
def test_nobody_else_can_enter(folder: Path) -> None:
    made = folder_of("pools")
    assert (folder.stat().st_mode & 0o777, made.stat().st_mode & 0o777) == (0o700, 0o700)
    made.chmod(0o777)
    assert folder_of("pools").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners on Windows")
def test_a_folder_of_another_user_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of("pools")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    tensors = kept("pools", SETTINGS, 0, lambda: TENSORS, Credits())
    assert same(tensors, TENSORS)
    assert list((folder / "pools").iterdir()) == []
    assert "belongs to another user" in capsys.readouterr().err


# what is kept


def test_what_was_made_is_found_again() -> None:
    first, second = Credits(), Credits()
    made = kept("pools", SETTINGS, 0, lambda: TENSORS, first)
    found = kept("pools", SETTINGS, 0, refused, second)
    assert same(made, TENSORS)
    assert same(found, TENSORS)
    assert first.given == 0.0 < second.given
    other = kept("pools", SETTINGS | {"seed": 1}, 0, lambda: {"weight": torch.zeros(1)}, Credits())
    assert same(other, {"weight": torch.zeros(1)})


def test_what_is_kept_does_not_change_with_what_it_was_made_from() -> None:
    lent = torch.zeros(3)
    found = cache.kept("reports", {"fingerprint": "x"}, 0, lambda: {"one": lent})
    lent += 1
    assert found["one"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("damage", ["cut", "junk", "empty", "flipped", "zeroed", "text", "unsigned"])
def test_a_damaged_entry_is_said_and_made_again(folder: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    kept("pools", SETTINGS, 0, lambda: TENSORS, Credits())
    file = next(folder.rglob("0.safetensors"))
    data = file.read_bytes()
    end = data.index(b"}}") + 2
    changed = {
        "cut": data[:-5],
        "junk": b"junk",
        "empty": b"",
        "flipped": data[:-1] + bytes([data[-1] ^ 1]),
        "zeroed": data[: len(data) - 30] + bytes(30),
        "text": data.replace(b"of data sha256:0", b"of data sha256:1"),
        "unsigned": data.replace(b'"digest"', b'"digits"'),
    }[damage]
    assert changed != data
    assert end > 0
    file.write_bytes(changed)
    watch = Credits()
    assert same(kept("pools", SETTINGS, 0, lambda: TENSORS, watch), TENSORS)
    assert watch.given == 0.0
    assert f"{file} is damaged" in capsys.readouterr().err
    assert same(kept("pools", SETTINGS, 0, refused, Credits()), TENSORS)


def test_what_cannot_be_kept_is_made_once_by_a_process_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / "cache"))
    for number in range(3):
        assert same(kept("pools", SETTINGS, number, lambda: TENSORS, Credits()), TENSORS)
        assert same(kept("pools", SETTINGS, number, refused, Credits()), TENSORS)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("trained networks cannot be kept for the next run in")
    assert "M3D_CACHE names another folder" in line


def test_a_full_disk_is_said_and_what_was_made_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert same(kept("pools", SETTINGS, 0, lambda: TENSORS, Credits()), TENSORS)
    assert "cannot be kept" in (said := capsys.readouterr().err)
    assert "No space left on device" in said


def test_a_mapped_entry_is_not_changed_through_its_tensors(folder: Path) -> None:
    file = folder / "images" / "0123456789abcdef.safetensors"
    write_entry(file, {"pixels": torch.arange(10)}, {"of": "digits"})
    mapped = read_entry(file, mapped=True)
    assert mapped is not None
    mapped[0]["pixels"][0] = 99
    again = read_entry(file)
    assert again is not None
    assert again[0]["pixels"].tolist() == list(range(10))
    assert again[1] == {"of": "digits"}


def test_of_large_tensors_only_names_and_shapes_are_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHECKED", 10)
    file = folder / "images" / "0123456789abcdef.safetensors"
    write_entry(file, {"pixels": torch.arange(10)}, {"of": "digits"})
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert read_entry(file) is not None
    file.write_bytes(file.read_bytes()[:-1])
    assert read_entry(file) is None
