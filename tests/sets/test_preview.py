from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from condensed_sets import make
from PIL import Image

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.preview import preview


def drawn(condensed: CondensedSet) -> Image.Image:
    return preview(condensed.images, condensed.labels, condensed.class_names)


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_has_a_row_a_class(channels: int) -> None:
    condensed = make(num_classes=4, ipc=12, shape=(channels, 8, 8))
    picture = drawn(condensed)
    pixels = np.asarray(picture)
    assert (picture.mode, picture.height) == ("RGB", 3 + 4 * (64 + 3))
    painted = (pixels[:, 60:700] != 255).any(axis=(1, 2))  # rows of pixels that are not all white
    assert int((np.diff(painted.astype(int)) == 1).sum()) == 4
    last = condensed.images[-3].permute(1, 2, 0).numpy()  # tenth image of the last class: two are hidden
    right = int(np.flatnonzero((pixels[-8] != 255).any(axis=1) & (pixels[-60] != 255).any(axis=1))[-1])
    assert np.array_equal(pixels[-7, right - 3], np.broadcast_to(last[-1, -1], 3))


@pytest.mark.parametrize("num_classes", [10, 50, 100, 250])
@pytest.mark.parametrize("ipc", [1, 10])
def test_preview_of_many_classes_has_near_the_shape_of_a_screen(num_classes: int, ipc: int) -> None:
    picture = drawn(make(num_classes=num_classes, ipc=ipc, shape=(1, 8, 8)))
    assert 0.7 < picture.width / picture.height < 2.2


def test_classes_run_down_the_columns_and_then_across() -> None:
    colours = torch.tensor([[8 * k, 255 - 8 * k, 100] for k in range(30)])  # no shade of the black text
    images = colours.byte().view(30, 3, 1, 1).expand(30, 3, 8, 8)
    pixels = np.asarray(drawn(make(num_classes=30, ipc=1, images=images)))
    places = []
    for colour in colours.numpy():
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        assert (np.ptp(rows), np.ptp(columns), len(rows)) == (63, 63, 64 * 64)
        places.append((columns.min(), rows.min()))
    assert places == sorted(places)
    assert len({left for left, _ in places}) > 1


def test_preview_limits_images_classes_and_size() -> None:
    small = make(num_classes=2, ipc=10, shape=(1, 8, 8))
    assert drawn(make(num_classes=2, ipc=50, shape=(1, 8, 8))).width > drawn(small).width  # "+40 more"
    full, beyond = (drawn(make(num_classes=count, ipc=1, shape=(1, 8, 8))) for count in (100, 103))
    assert beyond.height == full.height + 30  # the line "+3 more classes"
    assert drawn(make(num_classes=1, ipc=1, shape=(3, 200, 100))).height == 128 + 6
    unequal = make(num_classes=2, ipc=2, labels=torch.tensor([0, 1, 1, 1]))
    assert drawn(unequal).height == 3 + 2 * 67


def test_a_name_is_cut_to_the_margin() -> None:
    short, long = (drawn(make(num_classes=1, ipc=1, class_names=("x" * length,))) for length in (15, 10**6))
    assert long.width <= 150 + 5 * 3 + 67
    assert short.width < long.width


def test_preview_of_a_long_name_takes_no_longer_than_reading_it() -> None:
    condensed = make(num_classes=20, ipc=1, class_names=tuple("word " * 10**5 for _ in range(20)))
    begun = time.process_time()
    drawn(condensed)
    assert time.process_time() - begun < 2


def test_what_cannot_be_drawn_is_not_tried() -> None:
    plain, nasty = (
        np.asarray(drawn(make(num_classes=1, ipc=1, class_names=(name,))))
        for name in ("a ?[31m b", "a\r\n\x1b[31m\u2028\tb")
    )
    assert np.array_equal(plain, nasty)
    number, empty = (np.asarray(drawn(make(num_classes=1, ipc=1, class_names=(name,)))) for name in ("class 0", "\x1b"))
    assert np.array_equal(number, empty)
