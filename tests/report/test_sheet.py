from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from m3d_condense.report.galleries import tile_of
from m3d_condense.report.sheet import Box, Sheet
from m3d_condense.sets.tiles import cut


def images(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.int32).byte()


def test_every_image_is_in_the_sheet_where_it_was_put_to_the_bit() -> None:
    sheet = Sheet()
    put = [*images(70, 3, 16, 20), *images(3, 1, 9, 7), *images(40, 3, 32, 32)]
    places = [sheet.add(image) for image in put]
    drawn = np.asarray(Image.open(io.BytesIO(sheet.png())))
    assert sheet.size == (drawn.shape[1], drawn.shape[0])
    for place, image in zip(places, put, strict=True):
        found = drawn[place.y : place.y + place.height, place.x : place.x + place.width]
        assert np.array_equal(found, image.permute(1, 2, 0).expand(-1, -1, 3).numpy())


def test_a_sheet_of_grey_images_is_grey() -> None:
    sheet = Sheet()
    sheet.add(images(1, 8, 8))
    assert Image.open(io.BytesIO(sheet.png())).mode == "L"
    assert Image.open(io.BytesIO(Sheet().png())).size == (1, 1)


def test_tiles_are_those_that_are_cut() -> None:
    image = images(3, 9, 7)
    tiles = cut(image.float() / 255, 2)
    for number in range(4):
        place = tile_of(Box(10, 20, 7, 9), 2, number)
        part = image[:, place.y - 20 : place.y - 20 + place.height, place.x - 10 : place.x - 10 + place.width]
        assert torch.equal(tiles[number][:, : place.height, : place.width], part.float() / 255)
