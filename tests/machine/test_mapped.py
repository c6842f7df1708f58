"""Images that are mapped from a file are the file's, whatever of them is in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from pictures import noise
from torch import Tensor

from m3d_condense.machine.mapped import file_of, let_go, map_images, read_ahead

SHAPE = (50, 3, 40, 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    noise(*SHAPE).tofile(tmp_path / "images.u8")
    return tmp_path / "images.u8"


def resident() -> int:
    """Bytes of files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssFile:"))


def test_mapped_images_are_the_file_s(path: Path) -> None:
    images = map_images(path, SHAPE)
    assert torch.equal(images, torch.from_numpy(noise(*SHAPE)))
    assert file_of(images) == path
    assert file_of(images.clone()) is None


@pytest.mark.parametrize("rows", [[], [0], [49], [3, 3, 17, 49]])
def test_reading_ahead_and_letting_go_change_nothing(path: Path, rows: list[int]) -> None:
    images, other = map_images(path, SHAPE), torch.from_numpy(noise(*SHAPE))
    for some in (images, other):
        read_ahead(some, torch.tensor(rows, dtype=torch.int64))
    part: Tensor = images[10:20]
    let_go()
    assert torch.equal(images, other)
    assert torch.equal(part, other[10:20])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what is resident")
def test_what_is_let_go_is_no_longer_resident(tmp_path: Path) -> None:
    shape = (4096, 1, 64, 64)  # 16 MiB
    noise(*shape).tofile(tmp_path / "large.u8")
    images = map_images(tmp_path / "large.u8", shape)
    let_go()
    before = resident()
    total = int(images.sum(dtype=torch.int64))
    assert resident() - before > 12 * 2**20
    let_go()
    assert resident() - before < 4 * 2**20
    assert int(images.sum(dtype=torch.int64)) == total


def test_a_file_of_another_size_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="holds 240000 bytes, not 235200"):
        map_images(path, (49, *SHAPE[1:]))


def test_a_mapping_ends_with_its_images(path: Path) -> None:
    part = map_images(path, SHAPE)[:1]
    gc.collect()
    assert file_of(part) == path  # the part keeps it
