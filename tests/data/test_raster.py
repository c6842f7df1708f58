import io
import os
import struct
import warnings
import zlib

import datasets
import numpy as np
import pytest
import torch
from pictures import folder, noise
from PIL import Image

from m3d_condense.data import decoding, raster, workers
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError


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


def test_a_level_of_sixteen_bits_that_is_transparent_lies_on_white(tmp_path):
    levels = np.array([0, 300, 65535, 300] * 4, np.uint16).reshape(4, 4)
    found = decoded(tmp_path, Image.fromarray(levels), transparency=300)
    assert found[0].tolist() == [[0, 255, 255, 255]] * 4


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


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_the_size_of_a_picture_that_is_to_be_turned_is_that_of_the_upright_one(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / f"0.{suffix}", exif=exif)
    file = str(tmp_path / f"0.{suffix}")
    assert raster.header(("0", file)) == ("RGB", 8, 4)
    assert raster.decode_batch([("0", file)], None, (8, 4))[0].shape == (1, 3, 8, 4)


def test_sixteen_bits_whose_zero_is_white_are_turned_over(tmp_path):
    levels = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    turned = decoded(tmp_path, Image.fromarray(levels), suffix="tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(turned[0], np.rint((65535 - levels.astype(float)) / 257))


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


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp", "avif", "jpg"])
def test_the_first_of_many_frames_is_read_and_told(tmp_path, suffix, capsys):
    frames = [Image.new("L", (4, 4), level) for level in (10, 200, 90)]
    stereo = {"format": "MPO"} if suffix == "jpg" else {}
    pixels = decoded(tmp_path, frames[0], suffix=suffix, save_all=True, append_images=frames[1:], **stereo)
    assert pixels.max() < 20
    said = capsys.readouterr().err
    assert said.count("1 of 4 images has several frames or pages, as ") == 1
    assert f"a/0.{suffix}: the first of each is used, the others are not" in said


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp", "jpg"])
def test_a_single_frame_is_not_told(tmp_path, suffix, capsys):
    options = {} if suffix in ("jpg", "webp") else {"save_all": True}
    decoded(tmp_path, Image.new("L", (4, 4), 10), suffix=suffix, **options)
    assert "frames" not in capsys.readouterr().err


def test_smaller_copies_are_no_pages(tmp_path, capsys):
    copy, page = Image.new("L", (2, 2), 10), Image.new("L", (4, 4), 20)
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    first = Image.new("L", (4, 4), 10)
    for name, others, told in (("copy", [copy], False), ("page", [copy, page], True)):
        (tmp_path / name).mkdir()
        copy.encoderconfig = page.encoderconfig = ()
        decoded(tmp_path / name, first, suffix="tif", save_all=True, append_images=others)
        assert ("several frames or pages" in capsys.readouterr().err) == told
    thumbnail = io.BytesIO()
    first.save(thumbnail, "MPO", save_all=True, append_images=[copy])
    with Image.open(thumbnail) as image:
        assert raster.has_frames(image)
        image.mpinfo[0xB002][1]["Attribute"]["MPType"] = "Large Thumbnail (VGA Equivalent)"
        assert not raster.has_frames(image)


def test_frames_that_are_damaged_do_not_keep_the_first_from_being_read(tmp_path, capsys):
    folder(tmp_path)
    frames = [Image.new("RGB", (8, 6), (level, 0, 0)) for level in (10, 200)]
    file = tmp_path / "ant" / "9.tif"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    file.write_bytes(file.read_bytes()[:-60])
    assert len(load(tmp_path).train) == 9
    assert "1 of 11 images has several frames" in capsys.readouterr().err


def test_postscript_under_another_name_starts_no_program(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    root = folder(tmp_path / "set")
    header = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\n"
    (root / "bee" / "9.png").write_text(header + "showpage\n%%EOF\n")
    with pytest.raises(UserError, match=r"bee/9\.png: not an image; replace or remove it"):
        load(root)
    assert not (tmp_path / "started").exists()


def test_a_tiff_that_is_not_read_is_called_so(tmp_path):
    root = folder(tmp_path)
    Image.new("RGB", (8, 6)).save(root / "bee" / "9.tif")
    whole = (root / "bee" / "9.tif").read_bytes()
    bands = (277).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")  # a tag of one number
    assert whole.count(bands) == 1
    (root / "bee" / "9.tif").write_bytes(whole.replace(bands + b"\3", bands + b"\15"))  # 13 for 3
    with pytest.raises(UserError, match=r"bee/9\.tif: a damaged TIFF, or .* of bands .*; save it as RGB"):
        load(root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    root = folder(tmp_path)
    os.mkfifo(root / "bee" / "9.png")
    assert len(load(root).train) == 8
    with pytest.raises(UserError, match=r"9\.png: not a regular file; replace or remove it"):
        raster.header(("9.png", str(root / "bee" / "9.png")))


def test_a_plugin_for_a_known_format_is_used(tmp_path, monkeypatch):
    Image.init()
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN["PPM"])
    monkeypatch.setitem(Image.EXTENSION, ".heic", "HEIF")
    root = folder(tmp_path, shape=(6, 8))
    Image.new("L", (8, 6), 3).save(root / "bee" / "9.ppm")
    (root / "bee" / "9.ppm").rename(root / "bee" / "9.heic")
    assert len(load(root).train) + len(load(root).test) == 11


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize("bits", [1, 8, 12, 15, 16])
def test_wide_pictures_share_the_white_of_their_brightest(tmp_path, kind, bits, monkeypatch):
    levels = (noise(12, 4, 4).astype(np.int64) * 257 >> (16 - bits)).astype(kind)
    levels[:, 0, 0] = 0
    levels[11, 3, 3] = 2**bits - 1
    labels = [0, 1] * 6
    expected = load((levels, labels)).fingerprint
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"image": list(levels), "label": labels}, features=features)
    assert load(table).fingerprint == expected
    table.to_parquet(tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").fingerprint == expected
    monkeypatch.setattr(decoding, "WORTH", 0)
    monkeypatch.setattr(decoding, "MOST", 4)
    monkeypatch.setattr(workers.loky, "cpu_count", lambda: 2)
    assert load(table).fingerprint == expected


def test_wide_pictures_behind_8_bit_ones_are_measured_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "MOST", 2)
    root = folder(tmp_path, shape=(6, 8))
    dark = noise(6, 8, seed=5).astype(np.uint16) * 16
    Image.fromarray(dark).save(root / "bee" / "9.png")
    data = load(root)
    assert "pictures of more than 8 bits are read as levels of 12 bits, from 0 to 4095" in capsys.readouterr().err
    images = torch.cat([data.train.images, data.test.images])[:, 0]
    wanted = torch.from_numpy(np.rint(dark * (255 / 4095)).astype(np.uint8))
    assert (images == wanted).flatten(1).all(dim=1).sum() == 1


def png_of_16_bits(levels: np.ndarray) -> bytes:
    """A PNG of H×W×C levels of 16 bits, which PIL does not write: grey and alpha, RGB, or RGBA."""
    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colour_of_16_bits_is_told(tmp_path, channels, capsys):
    root = folder(tmp_path, shape=(6, 8))
    load(root)
    assert "16 bits" not in capsys.readouterr().err
    levels = noise(6, 8, channels).astype(np.uint16) * 257
    levels[..., 3:] = 65535
    (root / "bee" / "9.png").write_bytes(png_of_16_bits(levels))
    data = load(root)
    told = f"1 of 11 images is in colour with 16 bits a channel, as {root / 'bee' / '9.png'}: the high 8 are used"
    assert told in capsys.readouterr().err
    if channels > 2:
        images = torch.cat([data.train.images, data.test.images])
        wanted = torch.from_numpy((levels[..., :3] >> 8).astype(np.uint8)).permute(2, 0, 1)
        assert (images == wanted).flatten(1).all(dim=1).sum() == 1
    load(root)
    assert told in capsys.readouterr().err
