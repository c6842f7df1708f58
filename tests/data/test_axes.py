from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pictures import folder, noise

from m3d_condense.data.axes import layout_of
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

LABELS = [0, 1] * 5


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((10, 28, 28), "NHW"),
        ((10, 28, 28, 1), "NHWC"),
        ((10, 1, 28, 28), "NCHW"),
        ((10, 32, 24, 3), "NHWC"),
        ((10, 3, 32, 24), "NCHW"),
        ((10, 32, 24, 4), "NHWC"),
        ((10, 4, 32, 24), "NCHW"),
        ((10, 4, 6, 3), "NHWC"),  # RGB comes before RGBA in the other place
        ((10, 3, 6, 4), "NCHW"),
        ((10, 4, 4), "NHW"),
        ((3, 28, 28), "NHW"),
    ],
)
def test_shapes_of_one_reading(shape: tuple[int, ...], layout: str) -> None:
    assert layout_of(shape) == layout
    assert layout_of(shape, layout) == layout


@pytest.mark.parametrize(
    "shape",
    [(10, 1, 28, 3), (10, 3, 28, 3), (10, 3, 28, 1), (10, 1, 28, 1), (10, 3, 3, 3), (10, 4, 9, 4), (10, 1, 1, 3)],
)
def test_shapes_of_two_readings_are_refused_until_one_is_named(shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    with pytest.raises(UserError) as refusal:
        load((images, LABELS))
    assert str(refusal.value).startswith(f"images of shape {shape} may be ")
    assert "(layout=NHWC) or " in str(refusal.value)
    assert "(layout=NCHW): say which" in str(refusal.value)
    last, first = (load((images, LABELS), test=(images, LABELS), layout=one) for one in ("NHWC", "nchw"))
    if 4 not in shape:  # RGBA is laid on white
        np.testing.assert_array_equal(last.train.images.numpy(), images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(first.train.images.numpy(), images)
    assert (last.size, first.size) == (shape[1:3], shape[2:])
    assert (last.source["layout"], first.source["layout"]) == ("NHWC", "NCHW")


@pytest.mark.parametrize("shape", [(10, 3, 3), (10, 5, 3), (10, 1, 784), (10, 784, 1), (10, 3, 1024)])
def test_rows_of_pixels_are_not_taken_for_grey_images_in_silence(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as refusal:
        load((noise(*shape), LABELS))
    height, width = shape[1:]
    assert f"of shape {shape} may be grey images of {height}×{width} pixels (layout=NHW), or" in str(refusal.value)
    assert load((noise(*shape), LABELS), layout="NHW").size == (height, width)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10, 784), "images of shape (10, 784): rows of 784 numbers; reshape them to N×28×28"),
        ((10, 3072), "rows of 3072 numbers; reshape them to N×3×32×32 or N×32×32×3"),
        ((10, 77), "rows of 77 numbers; reshape them to N×H×W, N×H×W×C or N×C×H×W"),
        ((10,), "images of shape (10,): give N×H×W"),
        ((10, 2, 9, 9, 3), "images of shape (10, 2, 9, 9, 3): give N×H×W"),
        ((10, 28, 27, 26), "neither the second nor the last axis has 1, 3 or 4 channels"),
        ((10, 8, 8, 2), "neither the second nor the last axis"),
        ((10, 8, 3, 8), "neither the second nor the last axis"),
        ((10, 8, 8, 0), "images of shape (10, 8, 8, 0): there is no image or no pixel"),
        ((0, 8, 8), "images of shape (0, 8, 8): there is no image or no pixel"),
        ((8, 9, 3, 10), "images of shape (8, 9, 3, 10) and 10 labels: the last axis counts the images"),
        ((8, 9, 10), "images of shape (8, 9, 10) and 10 labels: the last axis counts the images"),
        ((4, 8, 8), "4 images, but labels of shape (10,)"),
    ],
)
def test_shapes_without_a_reading_are_named_as_they_were_given(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        load((noise(*shape), LABELS))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((10, 8, 8, 3), "NCHW", r"of shape \(10, 8, 8, 3\) cannot be layout=NCHW: NHWC fits"),
        ((10, 8, 8), "NHWC", r"cannot be layout=NHWC: NHW fits"),
        ((10, 8, 8, 3), "NHW", r"cannot be layout=NHW: NHWC fits"),
        ((10, 64), "NHW", r"cannot be layout=NHW: rows of 64 numbers; reshape them to N×8×8"),
        ((10, 8, 8, 3), "HWC", "layout=HWC: give NHW, NHWC or NCHW"),
        ((10, 8, 8, 3), 3, "layout=3: a name"),
    ],
)
def test_layouts_that_do_not_fit(shape: tuple[int, ...], layout: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load((noise(*shape), LABELS), layout=layout)


def test_layout_goes_with_arrays_only(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="layout=NHWC: goes with arrays only"):
        load(folder(tmp_path / "pictures"), layout="NHWC")


def test_tensors_are_read_as_arrays_are() -> None:
    images = noise(10, 1, 28, 3)
    with pytest.raises(UserError, match=r"of shape \(10, 1, 28, 3\) may be"):
        load((torch.from_numpy(images), LABELS))
    one = load((torch.from_numpy(images), LABELS), layout="NHWC")
    assert one.fingerprint == load((images, LABELS), layout="NHWC").fingerprint


def test_each_image_of_a_list_is_read_by_the_same_rules() -> None:
    with pytest.raises(UserError, match=r"image 0 of shape \(3, 8, 3\) may be .*: say which"):
        load(([noise(3, 8, 3)] * 10, LABELS))
    assert load(([noise(3, 8, 3)] * 10, LABELS), layout="NHWC").size == (3, 8)
    with pytest.raises(UserError, match=r"image 1 of shape \(64,\): rows of 64 numbers; reshape them to 8×8"):
        load(([noise(8, 8), noise(64)] * 5, LABELS))
    mixed = load(([noise(8, 8), noise(8, 8, 3)] * 5, LABELS), layout="NHWC")
    assert mixed.channels == 3
