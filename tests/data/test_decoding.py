import datasets
import pytest
import torch
from pictures import folder, moving, noise
from PIL import Image, ImageFile

from m3d_condense.data import decoding, room, workers
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError


def same(left: ImageDataset, right: ImageDataset):
    assert left.fingerprint == right.fingerprint
    assert left.class_names == right.class_names


def shared(monkeypatch):
    """Have images decoded in other processes, four at a time."""
    monkeypatch.setattr(decoding, "WORTH", 0)
    monkeypatch.setattr(decoding, "MOST", 4)
    monkeypatch.setattr(workers.loky, "cpu_count", lambda: 2)


def test_mixed_sizes_need_a_size(tmp_path):
    folder(tmp_path, count=4)
    Image.new("RGB", (30, 20)).save(tmp_path / "bee" / "z.png")
    with pytest.raises(UserError, match=r"from 8×6 to 30×20 pixels.*size=N"):
        load(tmp_path)
    data = load(tmp_path, size=5)
    assert data.size == (5, 5)
    same(data, load(**data.source))


def test_one_colour_image_makes_all_rgb(tmp_path):
    root = folder(tmp_path, shape=(6, 8))
    assert load(root).channels == 1
    Image.new("RGB", (8, 6), (1, 2, 3)).save(root / "bee" / "9.png")
    data = load(root)
    assert data.channels == 3
    images = torch.cat([data.train.images, data.test.images])
    assert int((images[:, 0] == images[:, 2]).flatten(1).all(dim=1).sum()) == 10


def test_processes_decode_to_the_same_bits(tmp_path, monkeypatch, capsys):
    root = folder(tmp_path, classes=("ant", "bee", "cat"), count=9, shape=(6, 8))
    for number in (2, 5):  # colour comes after whole batches of grey
        Image.fromarray(noise(6, 8, 3, seed=number)).save(root / "bee" / f"{number}.png")
    alone = load(root, size=5)
    shared(monkeypatch)
    same(load(root, size=5), alone)
    assert alone.channels == 3
    assert capsys.readouterr().err.count("Reading train: 27/27 images") == 2


def test_the_first_damaged_image_in_order_is_named(tmp_path, monkeypatch):
    root = folder(tmp_path, classes=("ant", "bee", "cat"), count=9, shape=(40, 40, 3))
    for name in ("cat/8", "bee/7", "bee/5"):
        file = root / f"{name}.png"
        file.write_bytes(file.read_bytes()[:900])
    shared(monkeypatch)
    with pytest.raises(
        UserError, match=r"bee/5\.png: .*; replace or remove it; and 2 more: .*bee/7\.png, .*cat/8\.png$"
    ):
        load(root)


def test_all_damaged_images_are_named_at_once(tmp_path, capsys):
    root = folder(tmp_path, classes=("ant", "bee", "cat"), count=9, shape=(40, 40, 3))
    for name in ("ant/0", "bee/7", "cat/5"):
        (root / f"{name}.png").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"ant/0\.png: not an image; .*; and 2 more: .*bee/7\.png, .*cat/5\.png$"):
        load(root)
    assert "ant/0.png cannot be read: the others are looked through for more" in capsys.readouterr().err


def test_processes_tell_mixed_sizes(tmp_path, monkeypatch):
    root = folder(tmp_path, count=9, shape=(40, 40, 3))
    Image.new("RGB", (30, 20)).save(root / "bee" / "3.png")
    shared(monkeypatch)
    with pytest.raises(UserError, match=r"from 30×20 to 40×40 pixels.*size=N"):
        load(root)


def test_processes_respect_how_pil_was_set_here(tmp_path, monkeypatch):
    root = folder(tmp_path, shape=(40, 40, 3))
    file = root / "bee" / "3.png"
    file.write_bytes(file.read_bytes()[:900])
    shared(monkeypatch)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert len(load(root).train) == 8


def test_more_images_than_memory_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    root = folder(tmp_path, shape=(64, 64, 3))
    images = [Image.open(file) for file in sorted(root.rglob("*.png"))]
    table = datasets.Dataset.from_dict({"image": images, "label": [0] * 5 + [1] * 5}).cast_column(
        "image", datasets.Image()
    )
    monkeypatch.setattr(room, "available_memory", lambda: 100_000)
    with pytest.raises(
        UserError, match=r"10 images of 64×64 pixels take 120 KiB of memory, and 98 KiB are free; size=N"
    ):
        load(table)  # in memory, it has no name by which a store on disk could be found again
    monkeypatch.setattr(room, "available_memory", lambda: None)  # where the system does not tell
    assert len(load(table).train) == 8


def test_frames_that_are_not_used_are_told_once_whoever_decodes(tmp_path, monkeypatch, capsys):
    root = folder(tmp_path, classes=("ant", "bee"), count=9)
    for name in ("ant/8.png", "ant/9.gif", "bee/2.png", "bee/caf\udce9.tif"):
        moving(root / name)
    said = "4 of 20 images have several frames or pages, as "
    for share in (lambda patch: None, shared):
        share(monkeypatch)
        load(root)
        told = capsys.readouterr().err
        assert told.count("several frames") == 1
        assert f"{said}{root / 'ant' / '8.png'}: the first of each is used" in told
    load(root, classes=["bee", "ant"])
    assert f"{said}{root / 'bee' / '2.png'}: " in capsys.readouterr().err
