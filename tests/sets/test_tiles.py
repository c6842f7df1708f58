from __future__ import annotations

import numpy as np
import pytest
import references
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.sets.tiles import cut, decode, has_room, mosaic, tile_size
from m3d_condense.tools.seeds import generator

SIZES = [(8, 8), (7, 9), (28, 28), (9, 6)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_cut_and_decode_tile_by_tile(factor: int, size: tuple[int, int], channels: int) -> None:
    images = noise(3, channels, *size)
    got_tiles, got = cut(images, factor), decode(images, factor)
    assert got_tiles.shape == (3, factor**2, channels, *tile_size(size, factor))
    assert got.shape == (3 * factor**2, channels, *size)
    for n, image in enumerate(images):
        for t, tile in enumerate(references.tiles(image, factor)):
            assert torch.equal(got_tiles[n, t], tile)
            large = F.interpolate(tile.unsqueeze(0), size=size, mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(got[n * factor**2 + t], large, rtol=0, atol=1e-6)


def test_one_tile_is_the_image_itself() -> None:
    images = noise(2, 3, 5, 7)
    assert torch.equal(decode(images, 1), images)
    assert torch.equal(mosaic(images, 1), images)


def test_what_lies_beyond_the_side_is_half_grey() -> None:
    images = torch.zeros(1, 1, 5, 5)
    corner = cut(images, 2)[0, 3, 0]  # 3×3, of which 2×2 are the image's
    assert corner.tolist() == [[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (5, 9), (1, 1)])
def test_tiles_have_room_where_each_holds_a_pixel_of_the_image(size: tuple[int, int]) -> None:
    image = torch.ones(1, 1, *size)
    for factor in range(1, max(size) + 2):
        holds_a_pixel = (cut(image, factor).flatten(2) == 1.0).any(-1)
        assert has_room(size, factor) == bool(holds_a_pixel.all()), factor
    assert not has_room(size, 0)


def test_constant_tiles_decode_to_constant_images() -> None:
    image = torch.zeros(1, 1, 8, 8)
    levels = [0.1, 0.2, 0.3, 0.4]  # row by row
    image[0, 0, :4, :4], image[0, 0, :4, 4:], image[0, 0, 4:, :4], image[0, 0, 4:, 4:] = levels
    for level, decoded in zip(levels, decode(image, 2), strict=True):
        torch.testing.assert_close(decoded, torch.full((1, 8, 8), level))


def test_decode_bilinear_against_the_sampler_by_hand() -> None:
    image = noise(1, 4, 6)
    for tile, decoded in zip(references.tiles(image, 2), decode(image.unsqueeze(0), 2), strict=True):
        for i in range(4):
            for j in range(6):
                y, x = max((i + 0.5) / 2 - 0.5, 0), max((j + 0.5) / 2 - 0.5, 0)  # edges are repeated
                top, left = int(y), int(x)
                bottom, right = min(top + 1, 1), min(left + 1, 2)
                upper = tile[0, top, left] * (1 - x + left) + tile[0, top, right] * (x - left)
                lower = tile[0, bottom, left] * (1 - x + left) + tile[0, bottom, right] * (x - left)
                expected = upper * (1 - y + top) + lower * (y - top)
                assert float(decoded[0, i, j]) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(("factor", "size"), [(2, (8, 8)), (3, (9, 6)), (2, (32, 32))])
def test_a_mosaic_cut_again_gives_the_images_down_scaled(factor: int, size: tuple[int, int]) -> None:
    images = noise(2 * factor**2, 3, *size)
    stored = mosaic(images, factor)
    assert stored.shape == (2, 3, *size)
    small = cut(stored, factor).flatten(0, 1)
    height, width = tile_size(size, factor)
    for image, tile in zip(images, small, strict=True):
        for channel, got in zip(image, tile, strict=True):  # Pillow's bilinear is the independent, antialiased one
            expected = Image.fromarray(channel.numpy()).resize((width, height), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(got.numpy(), np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_mosaic_may_keep_single_pixels_or_the_mean_of_four(factor: int) -> None:
    images = noise(factor**2, 3, 12, 12)
    nearest, bilinear = (cut(mosaic(images, factor, scaling), factor)[0] for scaling in ("nearest", "bilinear"))
    assert torch.equal(nearest, images[:, :, ::factor, ::factor])
    expected = F.avg_pool2d(images, 2) if factor == 2 else images[:, :, 1::3, 1::3]  # the centre of each three
    torch.testing.assert_close(bilinear, expected)


def test_a_mosaic_of_a_side_that_is_not_divided_loses_the_far_edge_only() -> None:
    images = torch.arange(1, 10).float().view(9, 1, 1, 1).expand(9, 1, 8, 8) / 10
    stored = mosaic(images, 3)  # tiles of 3 in a side of 8
    assert stored.shape == (1, 1, 8, 8)
    assert stored[0, 0, ::3, ::3].flatten().tolist() == pytest.approx([n / 10 for n in range(1, 10)])
    torch.testing.assert_close(stored[0, 0, 6:, 6:], torch.full((2, 2), 0.9))


def streams(classes: range, step: int = 0) -> list[torch.Generator]:
    return [generator(0, "test", step, k) for k in classes]


def test_draw_without_a_limit_gives_every_tile_in_order() -> None:
    values = noise(3, 2, 1, 7, 7)
    pixels = Pixels(values, 2)
    assert pixels.decoded_per_class == 8
    drawn = pixels.draw(range(3), 8, streams(range(3)))
    for k in range(3):
        assert torch.equal(drawn[k], decode(values[k], 2))


def test_draw_under_a_limit_takes_distinct_tiles_by_the_class_alone() -> None:
    values = noise(4, 3, 1, 8, 8)
    pixels = Pixels(values, 2)
    drawn = pixels.draw(range(4), 5, streams(range(4)))
    assert drawn.shape == (4, 5, 1, 8, 8)
    chosen = []
    for k in range(4):
        every = decode(values[k], 2)
        matches = [[t for t, tile in enumerate(every) if torch.equal(tile, image)] for image in drawn[k]]
        assert all(len(match) == 1 for match in matches)
        chosen.append(tuple(match[0] for match in matches))
        assert len(set(chosen[-1])) == 5
    assert len(set(chosen)) > 1  # classes differ
    assert torch.equal(drawn, pixels.draw(range(4), 5, streams(range(4))))
    assert not torch.equal(drawn, pixels.draw(range(4), 5, streams(range(4), step=1)))
    for part in (range(0, 1), range(1, 3), range(3, 4)):
        assert torch.equal(drawn[part.start : part.stop], pixels.draw(part, 5, streams(part)))


def test_every_tile_is_drawn_equally_often() -> None:
    pixels = Pixels(noise(1, 3, 1, 4, 4), 2)
    with torch.no_grad():  # tile t of the class holds t
        pixels.values.copy_(torch.arange(12.0).view(3, 2, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None])
    counts = torch.zeros(12)
    for step in range(600):
        counts[pixels.draw(range(1), 4, streams(range(1), step))[0, :, 0, 0, 0].round().long()] += 1
    assert counts.min() > 150  # 200 are expected, with a deviation of 12
    assert counts.max() < 250


def test_gradients_reach_the_right_tiles_only() -> None:
    pixels = Pixels(noise(2, 2, 1, 8, 8), 2)
    pixels.draw(range(1, 2), 8, [])[0, 7].sum().backward()  # the last tile of the second image of class 1
    touched = pixels.values.grad != 0
    expected = torch.zeros_like(touched)
    expected[1, 1, 0, 4:, 4:] = True
    assert torch.equal(touched, expected)
    assert float(pixels.values.grad.sum()) == pytest.approx(64)  # bilinear weights of each output add to one


def test_padding_takes_no_gradient_away() -> None:
    pixels = Pixels(noise(1, 1, 1, 5, 5), 2)
    pixels.draw(range(1), 4, []).sum().backward()
    assert (pixels.values.grad > 0).all()
    assert float(pixels.values.grad.sum()) < 4 * 25


def test_initial_values_are_copied() -> None:
    values = noise(1, 1, 1, 4, 4)
    pixels = Pixels(values, 1)
    with torch.no_grad():
        pixels.values.add_(1)
    assert float(values.max()) < 1
    assert pixels.values.is_leaf


def test_clamp_brings_pixels_back() -> None:
    pixels = Pixels(torch.tensor([-0.5, 0.0, 0.25, 1.0, 7.0, -1e-9]).view(1, 1, 1, 2, 3), 1)
    pixels.clamp()
    assert pixels.values.flatten().tolist() == [0.0, 0.0, 0.25, 1.0, 1.0, 0.0]
    assert pixels.values.requires_grad


def test_to_uint8_rounds_to_the_nearest_and_labels_class_by_class() -> None:
    every = torch.arange(256).float() / 255
    exact, labels = Pixels(every.view(2, 2, 1, 8, 8), 1).to_uint8()
    assert exact.flatten().tolist() == list(range(256))
    assert labels.tolist() == [0, 0, 1, 1]
    assert (exact.dtype, labels.dtype) == (torch.uint8, torch.int64)
    near = torch.tensor([0.49, 0.51, 1.49, 254.51]) / 255
    assert Pixels(near.view(1, 1, 1, 2, 2), 1).to_uint8()[0].flatten().tolist() == [0, 1, 1, 255]
