"""Data that take more memory than should be filled are decoded onto disk, and are the same data there."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from pictures import folder, moving, noise
from PIL import Image

from m3d_condense.cli.main import main
from m3d_condense.condensing.condensation import condense
from m3d_condense.data import decoding
from m3d_condense.data import store as stores
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.mapped import file_of, let_go
from m3d_condense.tools import locks
from m3d_condense.tools.entries import entries
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import lock_name


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decode two images at a time, make sure of each batch, and have a cache of the test's own."""
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "MOST", 2)
    monkeypatch.setattr(stores, "SYNC_EVERY", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder(tmp_path / "photos" / "train", classes=("ant", "bee"), count=7)
    folder(tmp_path / "photos" / "test", classes=("ant", "bee"), count=3)
    return tmp_path / "photos"


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with little memory."""
    monkeypatch.setattr(decoding, "available_memory", lambda: 100)


def same(left: ImageDataset, right: ImageDataset) -> None:
    for a, b in ((left.train, right.train), (left.test, right.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert (left.fingerprint, left.mean, left.std) == (right.fingerprint, right.mean, right.std)


def mapped(dataset: ImageDataset) -> bool:
    return all(file_of(split.images) is not None for split in (dataset.train, dataset.test))


def in_memory(source: Any, **options: Any) -> ImageDataset:
    """Load as a machine with enough memory does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "available_memory", lambda: None)
        patch.setattr(stores.Store, "find", lambda *_: None)
        return load(source, **options)


def interrupted(monkeypatch: pytest.MonkeyPatch, batches: int, source: Any) -> None:
    """Load until so many batches have been decoded, and be interrupted then."""
    original, seen = decoding._put, 0

    def put(rows: Any, some: Any, places: Any, after: Callable[[], None]) -> None:
        def counted() -> None:
            nonlocal seen
            after()
            seen += 1
            if seen == batches:
                raise KeyboardInterrupt

        original(rows, some, places, counted)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_put", put)
        with pytest.raises(KeyboardInterrupt):
            load(source)


@pytest.mark.usefixtures("little")
def test_large_data_are_decoded_onto_disk_and_are_the_same(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = in_memory(photos)
    assert not mapped(whole)
    made = load(photos)
    told = capsys.readouterr().err
    assert "20 images of 8×6 pixels take 2.8 KiB of memory, and 100 B are free: they are decoded into" in told
    assert mapped(made)
    same(made, whole)
    again = load(photos)
    told = capsys.readouterr().err
    assert "Decoded before" in told
    assert "Reading" not in told
    assert "fingerprint" not in told
    assert mapped(again)
    same(again, whole)
    let_go()
    same(again, whole)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("batches", [None, 1, 3, 8])
def test_frames_that_are_not_used_are_told_each_time(
    photos: Path, monkeypatch: pytest.MonkeyPatch, batches: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train/ant/caf\udce9.tif", "train/bee/1.png", "test/ant/1.png"):
        moving(photos / name)
    if batches is not None:
        interrupted(monkeypatch, batches, photos)
    for _ in range(3):
        load(photos)
        said = capsys.readouterr().err
        assert said.count("3 of 21 images have several frames or pages, as ") == said.count("several frames") == 1
        assert "caf\\udce9.tif: the first of each is used" in said


@pytest.mark.usefixtures("little")
def test_what_is_held_out_is_the_same(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", count=9)
    for seed in (0, 1):
        whole, made = in_memory(photos, seed=seed), load(photos, seed=seed)
        assert mapped(made)
        same(made, whole)


@pytest.mark.usefixtures("little")
def test_parquet_files_are_stored_likewise(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 4)):
        files = sorted(folder(tmp_path / split, count=count // 2).rglob("*.png"))
        rows = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
        (tmp_path / "tables").mkdir(exist_ok=True)
        pq.write_table(pa.table(rows), tmp_path / "tables" / f"{split}.parquet")
    whole, made = in_memory(tmp_path / "tables"), load(tmp_path / "tables")
    assert mapped(made)
    same(made, whole)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("batches", [1, 3, 7, 9])
def test_an_interrupted_decoding_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch, batches: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = in_memory(photos)
    interrupted(monkeypatch, batches, photos)
    for file in sorted(photos.rglob("*.png"))[:1]:
        assert file.is_file()
    decoded: list[str] = []
    original = decoding.decode_batch

    def decode_batch(items: Any, **options: Any) -> Any:
        decoded.extend(where for where, _ in items)
        return original(items, **options)

    monkeypatch.setattr(decoding, "decode_batch", decode_batch)
    capsys.readouterr()
    same(load(photos), whole)
    assert len(decoded) == 20 - 2 * batches


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("batches", [None, 1, 2, 4])
def test_colour_behind_grey_images_makes_all_coloured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int | None
) -> None:
    photos = tmp_path / "photos"
    folder(photos / "train", classes=("ant",), count=5, shape=(6, 8))
    folder(photos / "train", classes=("bee",), count=5)
    folder(photos / "test", classes=("ant", "bee"), count=2, shape=(6, 8))
    whole = in_memory(photos)
    if batches is not None:
        interrupted(monkeypatch, batches, photos)
    made = load(photos)
    assert mapped(made)
    assert made.channels == 3
    same(made, whole)
    same(load(photos), whole)


@pytest.mark.usefixtures("little")
def test_a_disk_that_is_full_before_all_are_coloured_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, shape in (("train", (6, 8, 3)), ("test", (6, 8))):
        folder(tmp_path / "photos" / split, count=3, shape=shape)

    original = stores.Shelf._open

    def full(shelf: stores.Shelf) -> None:
        if shelf._number == 1 and shelf.channels == 3:  # the test split, which is grey until the end
            raise OSError(28, "No space left on device")
        original(shelf)

    monkeypatch.setattr(stores.Shelf, "_open", full)
    with pytest.raises(UserError, match="No space left on device; M3D_CACHE names another place"):
        load(tmp_path / "photos")


@pytest.mark.usefixtures("little")
def test_changed_files_are_decoded_anew(photos: Path) -> None:
    before = load(photos)
    Image.fromarray(noise(6, 8, 3, seed=99)).save(photos / "train" / "ant" / "0.png")
    after = load(photos)
    assert mapped(after)
    assert before.fingerprint != after.fingerprint
    same(after, in_memory(photos))


@pytest.mark.usefixtures("little")
def test_images_that_a_table_names_elsewhere_are_decoded_each_time(photos: Path) -> None:
    files = sorted(str(file.relative_to(photos)) for file in (photos / "train").rglob("*.png"))
    pq.write_table(pa.table({"file": files, "label": [Path(f).parent.name for f in files]}), photos / "list.parquet")
    before = load(photos / "list.parquet")
    Image.fromarray(noise(6, 8, 3, seed=99)).save(photos / "train" / "ant" / "0.png")
    assert before.fingerprint != load(photos / "list.parquet").fingerprint


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("damage", ["cut", "gone", "state", "foreign"])
def test_a_damaged_store_is_made_again(photos: Path, place: Path, damage: str) -> None:
    whole = load(photos)
    fingerprint = whole.fingerprint
    del whole
    gc.collect()
    (folder_of_store,) = (place / "stores").iterdir()
    state = folder_of_store / "state.json"
    images = sorted(folder_of_store.glob("0-*.u8"))[-1]  # behind the grey file that one in colour has replaced
    if damage == "cut":
        images.write_bytes(images.read_bytes()[: images.stat().st_size // 2])
    elif damage == "gone":
        images.unlink()
    elif damage == "state":
        state.write_text("[" * 10_000)
    else:
        state.write_text(json.dumps(json.loads(state.read_text()) | {"done": "all", "channels": {}}))
    again = load(photos)
    assert mapped(again)
    assert again.fingerprint == fingerprint
    same(again, in_memory(photos))


@pytest.mark.usefixtures("little")
def test_processes_that_decode_the_same_take_turns(photos: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, 3, photos)
    (store,) = (place / "stores").iterdir()
    lock = FileLock(lock_name(store))
    lock.acquire()
    told: Queue[str] = Queue()
    monkeypatch.setattr(locks, "tell", told.put)
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(load, photos)
        assert "waiting for it" in told.get(timeout=60)
        state = (store / "state.json").read_text()
        lock.release()
        same(waiting.result(), in_memory(photos))
    assert json.loads(state)["done"] == [6, 0]
    assert [entry.name for entry in entries() if entry.name.startswith("stores/")] == [f"stores/{store.name}"]


@pytest.mark.usefixtures("little")
def test_a_disk_without_room_is_said_before_the_work(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        UserError, match=r"2\.8 KiB of memory, and 100 B are free, and 1000 B of disk in .*stores; size=N .*M3D_CACHE"
    ):
        load(photos)


@pytest.mark.usefixtures("little")
def test_a_store_is_made_though_no_comfort_is_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3D_CACHE_LIMIT", "0")
    assert mapped(load(photos))


def test_what_fits_half_of_the_memory_stays_there(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 20 * 3 * 6 * 8
    monkeypatch.setattr(decoding, "available_memory", lambda: 2 * size)
    assert not mapped(load(photos))
    monkeypatch.setattr(decoding, "available_memory", lambda: 2 * size - 2)
    assert mapped(load(photos))


@pytest.mark.usefixtures("little")
def test_a_store_is_listed_and_removed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(photos)
    (entry,) = entries()
    assert entry.name.startswith("stores/photos-")
    assert entry.nbytes > 20 * 3 * 6 * 8
    capsys.readouterr()
    assert main(["cache", "remove", "stores"]) == 0
    assert entry.name in capsys.readouterr().out
    assert entries() == []


def test_condensing_and_scoring_from_disk_make_the_same(
    photos: Path, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"ipc": 1, "iterations": 3, "batch_real": 4, "execution": plain, "size": 8}
    made = []
    for free in (None, 100):
        monkeypatch.setattr(decoding, "available_memory", lambda free=free: free)
        dataset = load(photos, size=settings["size"])
        assert mapped(dataset) == (free is not None)
        made.append(condense(dataset, **{name: value for name, value in settings.items() if name != "size"}))
    assert torch.equal(made[0].images, made[1].images)
    assert np.array_equal(made[0].labels, made[1].labels)
