from __future__ import annotations

import numpy as np
import pytest
import torch

from m3d_condense.report.nearest import nearest


def test_a_copy_is_found_at_distance_zero_and_another_class_is_not_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.int32).byte()
    real_labels = torch.arange(20) % 2
    tiles = real[[4, 5]].float() / 255
    found = nearest(tiles, torch.tensor([0, 0]), real, real_labels)
    assert found.index[0] == 4
    assert found.distance[0] == 0
    others = [n for n in range(20) if n % 2 == 0]
    distances = [float((real[5].float() - real[n].float()).square().mean().sqrt()) for n in others]
    assert found.index[1] == others[int(np.argmin(distances))]
    assert float(found.distance[1]) == pytest.approx(min(distances), rel=1e-5)
    assert found.usual is not None
    assert found.usual > 20


def test_the_usual_distance_is_the_median_of_all() -> None:
    real = torch.tensor([0, 10, 40, 140], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    found = nearest(torch.zeros(1, 1, 2, 2), torch.tensor([0]), real, torch.zeros(4, dtype=torch.int64))
    assert found.usual == pytest.approx(20.0)  # of 10, 10, 30 and 100


def test_a_smaller_copy_is_found_too() -> None:
    real = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    real[1, :, :4] = 200
    tile = torch.zeros(1, 1, 4, 4)
    tile[:, :, :2] = 200 / 255
    found = nearest(tile, torch.tensor([0]), real, torch.tensor([0, 0]))
    assert found.index.tolist() == [1]
    assert float(found.distance) < 20


def test_one_image_a_class_says_nothing_of_what_is_near() -> None:
    real = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    found = nearest(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), real, torch.tensor([0, 1]))
    assert found.usual is None
