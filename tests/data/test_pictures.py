import warnings

import numpy as np
import pytest
import torch
from pictures import folder, noise
from PIL import Image

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError


def same(left: ImageDataset, right: ImageDataset):
    assert left.fingerprint == right.fingerprint
    assert left.class_names == right.class_names


def test_mixed_sizes_need_a_size(tmp_path):
    folder(tmp_path, count=4)
    Image.new("RGB", (30, 20)).save(tmp_path / "bee" / "z.png")
    with pytest.raises(UserError, match=r"from 8×6 to 30×20 pixels.*size=N"):
        load(tmp_path)
    data = load(tmp_path, size=5)
    assert data.size == (5, 5)
    same(data, load(**data.source))


def test_resize_keeps_the_centre(tmp_path):
    folder(tmp_path)
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).convert("RGB").save(tmp_path / "ant" / "0.png")
    data = load(tmp_path, size=10)
    images = torch.cat([data.train.images, data.test.images])
    assert (images == 200).flatten(1).all(dim=1).sum() == 1


def decoded(tmp_path, image, **options):
    """The pixels C×H×W of one image saved by PIL, beside grey ones of its size."""
    suffix = options.pop("suffix", "png")
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.new("L", (4, 4), 9).save(tmp_path / "test" / name / "x.png")
    image.save(tmp_path / "train" / "a" / f"0.{suffix}", **options)
    Image.new("L", (4, 4), 7).save(tmp_path / "train" / "b" / "0.png")
    return load(tmp_path).train.images[0].numpy()


def test_sixteen_bit_grey_is_scaled(tmp_path):
    levels = np.array([0, 128, 129, 257, 32768, 65000, 65535, 257 * 200] * 2, np.uint16).reshape(4, 4)
    np.testing.assert_array_equal(decoded(tmp_path, Image.fromarray(levels))[0], np.rint(levels / 257))


def test_one_bit_is_black_and_white(tmp_path):
    bits = noise(4, 4) > 127
    np.testing.assert_array_equal(decoded(tmp_path, Image.fromarray(bits))[0], bits * 255)


def test_palette_is_colour(tmp_path):
    image = Image.new("RGB", (4, 4), (10, 200, 30))
    assert decoded(tmp_path, image.quantize(4))[:, 2, 2].tolist() == [10, 200, 30]


def test_transparency_lies_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    pixels = decoded(tmp_path, image)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert pixels[:, 1, 1].tolist() == [255, 255, 255]


def test_transparent_grey_stays_grey(tmp_path):
    image = Image.new("LA", (4, 4), (100, 255))
    assert decoded(tmp_path, image).tolist() == [[[100] * 4] * 4]


def test_cmyk_becomes_rgb(tmp_path):
    red = decoded(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), suffix="jpg", quality=100)
    assert red.shape[0] == 3
    assert red[0].min() > 200
    assert red[1:].max() < 60


def test_exif_orientation_turns_the_image(tmp_path):
    upright = np.zeros((4, 4), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    stored = Image.fromarray(np.rot90(upright).copy())
    np.testing.assert_array_equal(decoded(tmp_path, stored, exif=exif)[0], upright)


def test_one_colour_image_makes_all_rgb(tmp_path):
    root = folder(tmp_path, shape=(6, 8))
    assert load(root).channels == 1
    Image.new("RGB", (8, 6), (1, 2, 3)).save(root / "bee" / "9.png")
    data = load(root)
    assert data.channels == 3
    images = torch.cat([data.train.images, data.test.images])
    assert int((images[:, 0] == images[:, 2]).flatten(1).all(dim=1).sum()) == 10


@pytest.mark.parametrize("damage", ["cut", "junk", "empty"])
def test_a_damaged_image_is_named(tmp_path, damage):
    root = folder(tmp_path, shape=(40, 40, 3))
    file = root / "bee" / "3.png"
    file.write_bytes({"cut": file.read_bytes()[:900], "junk": b"junk", "empty": b""}[damage])
    with pytest.raises(UserError, match=r"bee/3\.png.*replace or remove"):
        load(root)


def test_a_large_image_is_read_without_warnings(tmp_path, monkeypatch):
    root = folder(tmp_path)
    Image.new("L", (30, 20)).save(root / "bee" / "z.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        load(root, size=4)
    assert not raised
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(UserError, match=r"bee/z\.png has more than 400 pixels; make it smaller"):
        load(root, size=4)
