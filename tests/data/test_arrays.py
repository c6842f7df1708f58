from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pictures import noise
from PIL import Image

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

LABELS = [0, 1] * 5
Array = NDArray[Any]


def png(image: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


PNG = png(noise(32, 32))


def pictures(images: Array) -> list[Image.Image]:
    return [Image.fromarray(image) for image in images]


def files(root: Path, images: Array) -> Path:
    """Write each image as a PNG into a folder of its class, in an order that keeps that of the rows of a class."""
    for row, image in enumerate(images):
        (root / str(LABELS[row])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / str(LABELS[row]) / f"{row:02}.png")
    return root


@pytest.mark.parametrize("form", ["array", "first", "float", "tensor", "list", "pictures"])
def test_rgba_is_laid_on_white_as_in_files(tmp_path: Path, form: str) -> None:
    images = noise(10, 8, 8, 4)
    given: Any = {
        "array": images,
        "first": images.transpose(0, 3, 1, 2),
        "float": images / 255,
        "tensor": torch.from_numpy(images),
        "list": list(images),
        "pictures": pictures(images),
    }[form]
    order = [*range(0, 10, 2), *range(1, 10, 2)]  # of the files: class after class
    from_files = load(files(tmp_path, images))
    data = load((given, LABELS), test=(given, LABELS))
    assert data.channels == 3
    both = torch.cat([from_files.train.images, from_files.test.images]).flatten(1)
    assert {tuple(row.tolist()) for row in both} == {tuple(row.tolist()) for row in data.train.images[order].flatten(1)}


def test_rgba_arrays_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    load((noise(10, 8, 8, 4), LABELS))
    assert "Images of 4 channels are read as RGBA and laid on white" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["array", "tensor", "list", "pictures"])
def test_size_resizes_arrays_as_it_resizes_files(tmp_path: Path, form: str) -> None:
    images = noise(10, 9, 12, 3)
    given: Any = {
        "array": images,
        "tensor": torch.from_numpy(images).permute(0, 3, 1, 2),
        "list": list(images),
        "pictures": pictures(images),
    }[form]
    data = load((given, LABELS), test=(given, LABELS), size=6)
    from_files = load(files(tmp_path, images), size=6)
    assert data.size == (6, 6)
    both = torch.cat([from_files.train.images, from_files.test.images]).flatten(1)
    assert {tuple(row.tolist()) for row in both} == {tuple(row.tolist()) for row in data.train.images.flatten(1)}


@pytest.mark.parametrize("kind", ["arrays", "floats", "tensors", "pictures", "object", "tuple", "16 bits"])
def test_images_of_differing_sizes_take_a_size(kind: str) -> None:
    arrays = [noise(8 + row % 3, 9, 3, seed=row) for row in range(10)]
    given: Any = {
        "arrays": arrays,
        "floats": [array / 255 for array in arrays],
        "tensors": [torch.from_numpy(array).permute(2, 0, 1) for array in arrays],
        "pictures": [Image.fromarray(array) for array in arrays],
        "object": np.array([*arrays, None], dtype=object)[:-1],
        "tuple": tuple(arrays),
        "16 bits": [array.astype(np.uint16) * 257 for array in arrays],
    }[kind]
    data = load((given, LABELS), test=(given, LABELS), size=8)
    expected = load((arrays, LABELS), test=(arrays, LABELS), size=8)
    assert data.fingerprint == expected.fingerprint
    with pytest.raises(UserError, match=r"the images differ in size, from 9×8 \(image 0\) to 9×9 .*give size=N"):
        load((given, LABELS))


def test_a_list_of_grey_and_colour_is_colour() -> None:
    images = noise(10, 8, 8, 3)
    given = [image if row % 2 else image[..., 0] for row, image in enumerate(images)]
    data = load((given, LABELS), test=(given, LABELS))
    assert torch.equal(data.train.images[1::2], torch.from_numpy(images[1::2]).permute(0, 3, 1, 2))
    grey = torch.from_numpy(images[::2, ..., 0])[:, None]
    assert torch.equal(data.train.images[::2], grey.expand(-1, 3, -1, -1))


def test_pil_images_are_read_as_their_files_are() -> None:
    stored = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # on its side
    Image.fromarray(noise(6, 8, 3)).save(stored, "PNG", exif=exif)
    turned = [Image.open(io.BytesIO(stored.getvalue())) for _ in range(10)]
    data = load((turned, LABELS), test=(turned, LABELS))
    np.testing.assert_array_equal(data.train.images[0].permute(1, 2, 0).numpy(), np.rot90(noise(6, 8, 3), -1))
    assert turned[0].size == (8, 6)  # the user's own is left as it is
    palette = [Image.fromarray(image).convert("P") for image in noise(10, 6, 8, 3)]
    assert load((palette, LABELS)).channels == 3


def test_pictures_of_more_than_8_bits_share_their_white(capsys: pytest.CaptureFixture[str]) -> None:
    levels = np.linspace(0, 4000, 640).astype(np.uint16).reshape(10, 8, 8)
    deep = [Image.fromarray(image) for image in levels]
    data = load((deep, LABELS), test=(deep, LABELS))
    np.testing.assert_array_equal(data.train.images[:, 0].numpy(), np.rint(levels * (255 / 4095)))
    assert "are read as levels of 12 bits" in capsys.readouterr().err
    floats = [Image.fromarray((image / 4000).astype(np.float32)) for image in levels]
    assert int(load((floats, LABELS)).train.images.max()) > 200


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["a.png"] * 10, "image 0 is 'a.png': give arrays, tensors or PIL images"),
        ([None] * 10, "image 0 is None"),
        ([noise(8, 8), noise(8, 8) / 255] * 5, "a list of images of several types, uint8 and pictures or floats"),
        ([noise(8, 8), noise(8, 8).astype(int)] * 5, "several types, uint8 and int64"),
        ([Image.fromarray(noise(8, 8) * np.float32(1))] * 10, "the floats of image 0 range from"),
        ([Image.open(io.BytesIO(PNG[:300])) for _ in range(10)], "cannot read image 0: "),
        ((noise(8, 8) for _ in range(10)), "images of type generator: give an array, a tensor or a list"),
        (np.ma.masked_equal(noise(10, 8, 8), 7), "a masked array: put numbers where it has none"),
        (torch.empty(10, 8, 8, device="meta"), "a tensor on the device meta"),
        (torch.from_numpy(noise(10, 8, 8)).to_sparse(), "a sparse, nested or quantised tensor: give a dense one"),
        ([], "a list without an image"),
        (np.array([], dtype=object), "a list without an image"),
    ],
)
def test_lists_that_hold_no_images(images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load((images, LABELS))


def test_the_arrays_that_are_given_are_left_as_they_are() -> None:
    images = noise(10, 8, 8) / 255 * 1.0005
    before = images.copy()
    data = load((images, LABELS))
    np.testing.assert_array_equal(images, before)
    pixels = noise(10, 8, 8)
    data = load((pixels, LABELS), test=(pixels, LABELS))
    pixels[:] = 0
    assert int(data.train.images.max()) > 200


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "bfloat16"])
def test_arrays_are_converted_chunk_by_chunk(dtype: str) -> None:
    eight_bit = noise(4000, 32, 32, 3)
    given: Any = eight_bit
    if dtype == "bfloat16":
        given = torch.from_numpy(eight_bit).permute(0, 3, 1, 2).div(255).bfloat16()
    elif dtype != "uint8":
        given = (eight_bit / 255 if dtype.startswith("float") else eight_bit).astype(dtype)
    labels = np.arange(4000) % 10
    load((given[:20], labels[:20]))  # what is imported and cached once
    tracemalloc.start()
    load((given, labels))  # a test split is held out
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.6 * eight_bit.nbytes, peak / eight_bit.nbytes
