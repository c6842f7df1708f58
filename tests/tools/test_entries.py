from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from m3d_condense.tools.cache import folder_of, kept, read_entry, write_entry
from m3d_condense.tools.entries import entries, remove, trim
from m3d_condense.tools.errors import UserError

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3)}
SETTINGS = {"network": "convnet", "fingerprint": "sha256:0123456789abcdef", "seed": 0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    """Keep two networks of one pool, and two sets of images, the first used before the second; add what is not ours."""
    for number in range(2):
        kept("pools", SETTINGS, number, lambda: TENSORS)
    for age, name in ((200, "ants-00000000000000aa"), (100, "bees-00000000000000bb")):
        file = folder_of("images") / f"{name}.safetensors"
        write_entry(file, {"pixels": torch.zeros(1000, dtype=torch.uint8)}, {"note": name})
        os.utime(file, (10**9 - age, 10**9 - age))
    for name in ("notes.txt", "images/holiday.png", "images/.hidden", "mine/00000000000000aa.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")


def others(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.stat().st_size == 4}


OTHERS = {"notes.txt", "images/holiday.png", "images/.hidden", "mine/00000000000000aa.safetensors"}


def test_entries_tell_what_is_kept(folder: Path) -> None:
    assert entries() == []
    fill(folder)
    bees, ants, pool = entries()
    assert (bees.name, bees.note) == ("images/bees-00000000000000bb", "bees-00000000000000bb")
    assert ants.name == "images/ants-00000000000000aa"
    assert bees.used - ants.used == pytest.approx(100)
    assert bees.nbytes == bees.path.stat().st_size > 1000
    assert pool.path.parent == folder / "pools"
    assert pool.nbytes == sum(file.stat().st_size for file in pool.path.iterdir())
    assert pool.note == "convnet, of data sha256:01234567"


def test_entries_are_removed_by_name_kind_or_all(folder: Path) -> None:
    fill(folder)
    with pytest.raises(UserError, match="nothing of the name images/none is kept in"):
        remove(["images/ants-00000000000000aa", "images/none"])
    assert len(entries()) == 3
    assert [entry.name for entry in remove(["images/ants-00000000000000aa"])] == ["images/ants-00000000000000aa"]
    assert len(remove(["pools"])) == 1
    assert [entry.name for entry in entries()] == ["images/bees-00000000000000bb"]
    fill(folder)
    assert len(remove(None)) == 3
    assert entries() == []
    assert others(folder) == OTHERS
    assert not any(file.suffix == ".safetensors" for file in (folder / "pools").rglob("*"))


def test_the_least_recently_used_give_way(folder: Path) -> None:
    fill(folder)
    size = entries()[0].nbytes
    trim("images", 2 * size + 100)
    assert len(entries()) == 3
    read_entry(folder / "images" / "ants-00000000000000aa.safetensors")  # used just now
    trim("images", size)
    assert [entry.name for entry in entries() if entry.name.startswith("images")] == ["images/ants-00000000000000aa"]
    trim("images", 0)
    assert [entry.path.parent.name for entry in entries()] == ["pools"]
    assert others(folder) == OTHERS


def test_what_a_killed_process_left_is_removed_in_time(folder: Path) -> None:
    old, new = (folder_of("images") / f".x-00000000000000aa.safetensors.{name}.partial" for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(bytes(10))
    os.utime(old, (10**9, 10**9))
    trim("images", 10**9)
    assert (old.exists(), new.exists()) == (False, True)


def test_what_another_process_takes_away_meanwhile_is_no_failure(folder: Path) -> None:
    fill(folder)
    for name in ("cats-00000000000000cc.safetensors", ".x-00000000000000aa.safetensors.new.partial"):
        (folder / "images" / name).symlink_to(folder / "gone")  # in the listing, and gone when it is looked at
    assert len(entries()) == 3
    trim("images", 0)
    assert [entry.path.parent.name for entry in entries()] == ["pools"]


def test_listing_needs_no_torch(folder: Path) -> None:
    kept("pools", SETTINGS, 0, lambda: TENSORS)
    program = (
        "import sys; from m3d_condense.tools.entries import entries; print(len(entries()), 'torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["1", "False"]
