from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pictures import noise

from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

LABELS = [0, 1] * 5
EIGHT = noise(10, 8, 8)


def levels(images: Any, **options: Any) -> NDArray[Any]:
    """Return the 8-bit levels that images are read as."""
    images = images if isinstance(images, list) else [images, images]
    return load((images[0], LABELS), test=(images[1], LABELS), **options).train.images[:, 0].numpy()


@pytest.mark.parametrize(
    "given",
    [
        EIGHT,
        EIGHT.astype(np.int64),
        EIGHT.astype(np.int32),
        EIGHT.astype(np.uint16),
        EIGHT.astype(">u2"),
        EIGHT.astype(np.uint16) * 257,
        EIGHT.astype(np.int32) * 257,
        EIGHT / 255,
        (EIGHT / 255).astype(np.float32),
        (EIGHT / 255).astype(np.float16),
        EIGHT / 255 * 1.000001,
        np.where(EIGHT == 0, -5e-4, np.where(EIGHT == 255, 1.0005, EIGHT / 255)),
        torch.from_numpy(EIGHT),
        torch.from_numpy(EIGHT / 255).half(),
        torch.from_numpy(EIGHT).long(),
        torch.from_numpy(EIGHT / 255).float().requires_grad_(),
    ],
    ids=lambda given: str(given.dtype),
)
def test_numbers_of_any_type_are_the_same_levels(given: Any) -> None:
    np.testing.assert_array_equal(levels(given), EIGHT)


def test_bfloat16_is_read_as_precisely_as_it_is() -> None:
    given = torch.from_numpy(EIGHT / 255).bfloat16()
    assert np.abs(levels(given).astype(int) - EIGHT).max() <= 1
    assert levels(given.to(torch.float8_e4m3fn)).max() > 200


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
def test_0_and_1_are_black_and_white(dtype: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(np.unique(levels((EIGHT > 99).astype(dtype)))) == {0, 255}
    said = capsys.readouterr().err
    assert ("are 0 and 1 only: read as black and white" in said) == (dtype in (np.uint8, np.int64))
    assert "nearly black" not in said


def test_0_and_1_alone_in_the_test_images_are_levels_of_the_training_images(capsys: pytest.CaptureFixture[str]) -> None:
    data = load((EIGHT, LABELS), test=((EIGHT > 99).astype(np.uint8), LABELS))
    assert int(data.test.images.max()) == 1
    assert "The brightest pixel of the test images has the level 1 of 255" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("highest", "bits", "white"),
    [(4095, 12, 4095), (4000, 12, 4095), (1000, 10, 1023), (300, 9, 511), (40000, 16, 65535)],
)
def test_more_than_8_bits_are_scaled_by_their_own_range(
    highest: int, bits: int, white: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = np.linspace(0, highest, 640).astype(np.uint16).reshape(10, 8, 8)
    np.testing.assert_array_equal(levels(given), np.rint(given * (255 / white)))
    assert f"are read as levels of {bits} bits, from 0 to {white}" in capsys.readouterr().err


def test_training_and_test_images_share_their_white() -> None:
    given = np.arange(640, dtype=np.uint16).reshape(10, 8, 8)
    data = load((given * 6, LABELS), test=(given, LABELS))
    assert int(data.train.images.max()) > 200
    assert 30 < int(data.test.images.max()) < 45


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_16_bit_images_of_8_bit_levels_are_pointed_out(dtype: type, capsys: pytest.CaptureFixture[str]) -> None:
    levels(EIGHT.astype(dtype))
    assert "are at most 255: read as levels of 8 bits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (EIGHT // 20, "The brightest pixel of the training images has the level 12 of 255: they are nearly black"),
        (EIGHT / 255 / 255, "The brightest pixel of the training images has the level 1 of 255"),
        (np.zeros_like(EIGHT), "Every pixel of the training images has the level 0 of 255"),
        (np.full_like(EIGHT, 9), "Every pixel of the training images has the level 9 of 255"),
    ],
)
def test_images_that_are_nearly_black_are_pointed_out(
    given: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    levels(given)
    assert said in capsys.readouterr().err


def test_images_that_are_bright_enough_are_not_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    levels([EIGHT // 9, noise(10, 8, 8, seed=1) // 9])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "readings"),
    [
        (
            lambda x: x * 1.0,
            ["range from 0 to 255: levels of 8 bits (then divide them by 255), or numbers whose white"],
        ),
        (lambda x: x / 200, ["range from 0 to 1.275: levels of 8 bits", "or numbers whose white is neither 1 nor 255"]),
        (lambda x: x * 16.0, ["range from 0 to 4080: levels of 12 bits (then divide them by 4095), or"]),
        (
            lambda x: x / 127.5 - 1,
            ["range from -1 to 1: scaled to [-1, 1] (then give (images + 1) / 2), or standardised"],
        ),
        (lambda x: (x / 255 - 0.5) / 0.2, ["range from -2.5 to 2.5: standardised", "or with marks for missing pixels"]),
        (lambda x: np.where(x > 250, np.nan, x / 255), ["hold NaN (not a number)"]),
        (lambda x: np.where(x > 250, np.inf, x / 255), ["replace the infinite numbers"]),
        (
            lambda x: x.view(np.int8),
            ["the int8 numbers of the images range from -128 to 127: shifted levels", "or with"],
        ),
        (lambda x: x.astype(np.int32) * 300, ["range from 0 to 76500, beyond 16 bits"]),
        (lambda x: x.astype(complex), ["are of type complex128: give uint8, or floats"]),
        (lambda x: x.astype(str), ["are of type <U3"]),
    ],
)
def test_levels_of_two_readings_are_refused(change: Callable[[Any], Any], readings: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        load((change(EIGHT), LABELS))
    for reading in readings:
        assert reading in str(refusal.value)


def test_the_split_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UserError, match="the floats of the test images range from 0 to 255"):
        load((EIGHT, LABELS), test=(EIGHT * 1.0, LABELS))
    with pytest.raises(UserError, match="the floats of image 3 range from .* to 2: levels"):
        load(([*([EIGHT[0] / 255] * 3), EIGHT[0] * 2.0 / EIGHT[0].max()], [0, 1, 0, 1]))
