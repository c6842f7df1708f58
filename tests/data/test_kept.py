from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pictures import folder, moving, noise
from PIL import Image, ImageFile

from m3d_condense.data import decoding, identity, kept, sources
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.tools import cache
from m3d_condense.tools.entries import entries
from m3d_condense.tools.errors import UserError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep everything, however quickly it was read, in a folder of the test's own."""
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "WORTH", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = folder(tmp_path / "photos", classes=("ant", "bee"))
    moving(root / "bee" / "3.png")
    (root / "ant" / "notes.txt").write_text("no image")
    return root


def same(left: ImageDataset, right: ImageDataset) -> None:
    assert torch.equal(left.train.images, right.train.images)
    assert torch.equal(left.train.labels, right.train.labels)
    assert torch.equal(left.test.images, right.test.images)
    assert torch.equal(left.test.labels, right.test.labels)
    assert (left.name, left.class_names, left.source, left.mirrored) == (
        right.name,
        right.class_names,
        right.source,
        right.mirrored,
    )
    assert (left.fingerprint, left.mean, left.std) == (right.fingerprint, right.mean, right.std)


def found(capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the last load found what an earlier one had decoded."""
    return "Decoded before" in capsys.readouterr().err


def test_what_was_decoded_is_found_again(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = load(photos)
    told = capsys.readouterr().err.splitlines()
    again = load(photos)
    told_again = capsys.readouterr().err.splitlines()
    same(first, again)
    assert type(again.mean) is type(first.mean) is tuple
    assert not any("Reading" in line for line in told_again)
    kept_said, notices = told[-1], [line for line in told[:-1] if not line.startswith("Reading ")]
    assert kept_said.startswith("The decoded images are kept for the next start in ")
    assert told_again[0].startswith("Decoded before, and now read from ")
    assert notices == told_again[1:]
    assert len(notices) == 3  # of the text file, of the test split that was held out, and of the frames
    [entry] = entries()
    assert entry.name.startswith("images/photos-")
    assert entry.note == "10 images of photos, 8×6 pixels"


def test_neither_datasets_nor_the_images_are_needed_again(photos: Path) -> None:
    load(photos, size=5)
    program = (
        "import sys; from m3d_condense.data.load import load; data = load(sys.argv[1], size=5); "
        "print(len(data.train), sorted({'datasets', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(photos)]
    assert subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip() == "8 []"


def touched(photos: Path) -> None:
    file = photos / "bee" / "3.png"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def rewritten(photos: Path) -> None:
    """Other pixels of the same size, with the old time of change put back, as an archive's unpacking may."""
    file = photos / "bee" / "3.png"
    status = file.stat()
    data = bytearray(file.read_bytes())
    file.unlink()
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "touched": touched,
    "rewritten": rewritten,
    "larger": lambda photos: Image.fromarray(noise(6, 8, 3, seed=77)).save(photos / "bee" / "3.png", compress_level=0),
    "one more": lambda photos: Image.fromarray(noise(6, 8, 3)).save(photos / "bee" / "9.png"),
    "one less": lambda photos: (photos / "bee" / "3.png").unlink(),
    "renamed": lambda photos: (photos / "bee" / "3.png").rename(photos / "bee" / "8.png"),
    "another class": lambda photos: (photos / "bee" / "3.png").rename(photos / "ant" / "3b.png"),
    "no image, but told of": lambda photos: (photos / "bee" / "more.txt").touch(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_read_anew(photos: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    load(photos)
    CHANGES[change](photos)
    capsys.readouterr()
    again = load(photos)
    assert not found(capsys)
    same(load(photos), again)
    assert found(capsys)
    assert len(entries()) == 1  # the new one has taken the place of the old


def test_tables_whose_files_are_gone_have_no_identity(tmp_path: Path) -> None:
    table = SimpleNamespace(cache_files=[{"filename": str(tmp_path / "gone.arrow")}], _fingerprint="1")
    assert identity.of_tables([SimpleNamespace(images=table)]) is None  # type: ignore[list-item]


def test_an_empty_class_folder_is_seen(photos: Path) -> None:
    load(photos)
    (photos / "cat").mkdir()
    with pytest.raises(UserError, match="cat"):
        load(photos)


def test_results_among_the_data_change_nothing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(photos)
    out = photos / "runs" / "photos-m3d-ipc1"
    out.mkdir(parents=True)
    (out / "condensed.json").touch()
    capsys.readouterr()
    load(photos)
    assert found(capsys)


def test_other_arguments_are_another_entry(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [load(photos, size=size).size for size in (None, 5, None, 5)]
    assert sizes == [(6, 8), (5, 5), (6, 8), (5, 5)]
    assert capsys.readouterr().err.count("Decoded before") == 2
    assert not torch.equal(load(photos, seed=1).test.images, load(photos, seed=2).test.images)


def test_what_pil_decoded_under_other_settings_is_not_used(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = photos / "bee" / "3.png"
    Image.fromarray(noise(6, 8, 3)).save(file, compress_level=0)
    file.write_bytes(file.read_bytes()[:150])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    load(photos)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    with pytest.raises(UserError, match=r"bee/3\.png"):
        load(photos)


def test_links_in_circles_come_to_an_end(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "bee" / "again").symlink_to(photos)
    load(photos / "bee" / "..")
    capsys.readouterr()
    load(photos / "bee" / "..")
    assert found(capsys)


def test_parquet_and_archives_are_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(noise(5, 5, 3, seed=i)) for i in range(12)], "label": [i % 3 for i in range(12)]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y", "z"])}),
    )
    (tmp_path / "p").mkdir()
    table.to_parquet(tmp_path / "p" / "train.parquet")
    table.to_parquet(tmp_path / "p" / "test.parquet")
    np.savez(tmp_path / "set.npz", x=noise(10, 4, 4), y=np.arange(10) % 2)
    for source in (tmp_path / "p", sorted((tmp_path / "p").iterdir(), reverse=True), tmp_path / "set.npz"):
        first = load(source)
        assert not found(capsys)
        same(first, load(source))
        assert found(capsys)


def test_a_table_that_names_images_elsewhere_is_read_each_time(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"{name}/{i}.png" for name in ("ant", "bee") for i in range(5)]
    table = pa.table({"file": files, "label": [file.partition("/")[0] for file in files]})
    pq.write_table(table, photos / "list.parquet")
    first = load(photos / "list.parquet")
    Image.fromarray(noise(6, 8, 3, seed=9)).save(photos / "ant" / "0.png")
    again = load(photos / "list.parquet")
    assert not found(capsys)
    assert first.fingerprint != again.fingerprint


def test_arrays_and_the_embedded_digits_are_not_kept() -> None:
    load("digits")
    load((noise(10, 4, 4), np.arange(10) % 2))
    assert entries() == []


def test_what_is_read_quickly_is_not_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH", 60.0)
    load(photos)
    assert entries() == []


def test_files_that_change_while_they_are_read_are_not_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = sources.find

    def finding(*given: Any) -> Any:
        touched(photos)
        return find(*given)

    monkeypatch.setattr("m3d_condense.data.load.find", finding)
    load(photos)
    assert entries() == []


def test_a_damaged_entry_is_made_again(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = load(photos)
    [entry] = entries()
    data = bytearray(entry.path.read_bytes())
    data[-100] ^= 1
    entry.path.write_bytes(data)
    capsys.readouterr()
    same(first, load(photos))
    assert "is damaged (its digest is another), and is made again" in capsys.readouterr().err
    same(first, load(photos))
    assert found(capsys)


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / "cache"))
    same(load(photos), load(photos))
    told = capsys.readouterr().err
    assert told.count("decoded images cannot be kept for the next run") == 1
    assert "M3D_CACHE names another folder" in told


def test_without_a_home_nothing_is_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "lasting_folder", lambda: None)
    same(load(photos), load(photos))


def test_the_limit_is_the_user_s(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M3D_CACHE_LIMIT", "0.000001")  # GiB, some 1,070 bytes
    load(photos)
    assert entries() == []
    assert "1.5 KiB of decoded images are not kept: M3D_CACHE_LIMIT, in GiB, allows 1.0 KiB" in capsys.readouterr().err
    monkeypatch.setenv("M3D_CACHE_LIMIT", "0.000005")  # two of them
    for seed in range(3):
        load(photos, seed=seed)
    kept_now = {entry.name for entry in entries()}
    assert 0 < len(kept_now) < 3
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("M3D_CACHE_LIMIT", wrong)
        with pytest.raises(UserError, match=f"M3D_CACHE_LIMIT is a number of GiB, not '{wrong}'"):
            load(photos)


def test_nothing_is_kept_that_would_fill_the_disk(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 2000}))
    load(photos)
    assert entries() == []
    assert "1.5 KiB of decoded images are not kept:" in capsys.readouterr().err


# the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A data set that `datasets` has stored in files; what is decoded of it is listed."""
    table = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(noise(5, 5, 3, seed=i)) for i in range(12)], "label": [i % 3 for i in range(12)]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y", "z"])}),
    )
    table.save_to_disk(tmp_path / "stored")

    def read(*given: Any) -> dict[str, datasets.Dataset]:
        stored = datasets.load_from_disk(tmp_path / "stored")
        return {"train": stored, "test": stored.select(range(6))}

    decoded: list[str] = []
    original = decoding.decode

    def decode(rows: Any, *others: Any) -> Any:
        decoded.extend(split.name for split in rows)
        return original(rows, *others)

    monkeypatch.setattr(datasets, "load_dataset", read)
    monkeypatch.setattr("m3d_condense.data.load.decode", decode)
    return decoded


def test_data_of_the_hub_are_decoded_once(hub: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first, again = load("someone/thing"), load("someone/thing")
    same(first, again)
    assert hub == ["train", "test"]
    assert found(capsys)
    load("someone/thing", size=3)
    assert hub == ["train", "test"] * 2


def test_a_new_version_on_the_hub_is_decoded(hub: list[str], tmp_path: Path) -> None:
    load("someone/thing")
    for file in (tmp_path / "stored").glob("*.arrow"):
        os.utime(file, (10**9, 10**9))
    load("someone/thing")
    assert hub == ["train", "test"] * 2
