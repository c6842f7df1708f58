from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m3d_condense.training.augment import cutmix


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def plain_pixels(n: int = 8, size: tuple[int, int] = (10, 14)) -> Tensor:
    """Images of which every pixel is the image's number."""
    return torch.arange(n).float().view(n, 1, 1, 1).expand(n, 3, *size).clone()


def test_cutmix_pastes_one_box_of_the_partner() -> None:
    images = plain_pixels()
    shares = []
    for seed in range(60):
        mixed, order, kept = cutmix(images, seeded(seed), probability=1.0)
        assert sorted(order.tolist()) == list(range(8))
        boxes = set()
        for n, partner in enumerate(order.tolist()):
            if partner == n:
                assert torch.equal(mixed[n], images[n])
                continue
            assert set(mixed[n].unique().tolist()) <= {float(n), float(partner)}
            pasted = mixed[n, 0] == partner
            assert kept == pytest.approx(1 - float(pasted.float().mean()), abs=1e-6)
            rows, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
            assert int(pasted.sum()) == len(rows) * len(columns)  # a rectangle
            boxes.add((*rows.tolist(), -1, *columns.tolist()))
        assert len(boxes) <= 1
        shares.append(kept)
    assert min(shares) < 0.5
    assert max(shares) > 0.9


def test_cutmix_pastes_what_was_at_that_place() -> None:
    images = noise(6, 3, 9, 9)
    mixed, order, _ = cutmix(images, seeded(4), probability=1.0)
    pasted = (mixed != images).any(1, keepdim=True).expand_as(images)
    assert pasted.any()
    assert torch.equal(mixed[pasted], images[order][pasted])


def test_cutmix_probabilities() -> None:
    images = plain_pixels(4, (8, 8))
    never = [cutmix(images, seeded(seed), 0.0) for seed in range(30)]
    assert all(kept == 1.0 and torch.equal(mixed, images) for mixed, _, kept in never)
    half = [cutmix(images, seeded(seed), 0.5)[2] < 1.0 for seed in range(400)]
    always = [cutmix(images, seeded(seed), 1.0)[2] < 1.0 for seed in range(400)]
    # A box of less than two of the eight pixels a side, one draw in sixteen, is empty.
    assert sum(always) / 400 == pytest.approx(15 / 16, abs=0.04)
    assert sum(half) / 400 == pytest.approx(sum(always) / 800, abs=0.07)


def test_cutmix_is_a_function_of_the_generator_and_leaves_its_input() -> None:
    images = noise(6, 3, 8, 8)
    before = images.clone()
    first, again = (cutmix(images, seeded(5), 1.0) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert first[2] == again[2]
    assert torch.equal(images, before)
