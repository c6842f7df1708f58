"""Blocks of networks as native code takes them, images for them, and what is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from m3d_condense.machine.native import building
from m3d_condense.networks.convnet import ConvNet

SHAPES = [  # N, C, H, W, O, padding
    pytest.param(3, 3, 32, 32, 64, 1, id="colour"),
    pytest.param(2, 1, 28, 28, 64, 3, id="grey, 28 becomes 32"),
    pytest.param(3, 1, 8, 8, 64, 1, id="digits"),
    pytest.param(2, 2, 2, 3, 32, 1, id="few pixels"),
    pytest.param(2, 3, 7, 30, 32, 2, id="wide, padded by two"),
    pytest.param(2, 3, 9, 5, 32, 1, id="odd sides"),
    pytest.param(5, 32, 16, 16, 64, 1, id="maps, several tiles an image"),
    pytest.param(7, 64, 8, 8, 32, 1, id="maps, several images a block"),
    pytest.param(2, 32, 14, 11, 32, 1, id="maps of odd sides"),
    pytest.param(1, 32, 30, 30, 32, 1, id="one image, sides that tiles do not divide"),
    pytest.param(2, 32, 2, 2, 32, 1, id="maps smaller than a tile"),
]


def layers(
    channels: int, after: int, padding: int, seed: int = 0, kernel: int = 3, pool: int = 2, relu: bool = True
) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Conv2d(channels, after, kernel, padding=padding), nn.GroupNorm(after, after))
        nn.init.uniform_(made[1].weight, 0.5, 1.5)  # type: ignore[arg-type]
        nn.init.uniform_(made[1].bias, -0.5, 0.5)  # type: ignore[arg-type]
    if relu:
        made.append(nn.ReLU())
    if pool > 1:
        made.append(nn.AvgPool2d(pool))
    return made


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def convnet(channels: int, sides: tuple[int, int], depth: int) -> ConvNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = ConvNet(channels, 3, sides, depth=depth, width=32)
    for block in made.blocks:
        block[1] = layers(32, 32, 1)[1]  # type: ignore[index]
    return made


def off(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm().clamp_min(1e-12))


def gradients(output: Tensor, images: Tensor, block: nn.Sequential) -> list[Tensor]:
    weights = [block[0].weight, block[1].weight, block[1].bias]
    return list(torch.autograd.grad((output * noise(*output.shape)).sum(), [images, *weights]))  # type: ignore[list-item]


@contextmanager
def lanes(number: int | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the block compiled, quickly, for registers of so many floats; None for what this processor has."""
    with monkeypatch.context() as patch:
        if number is not None:
            machine = building.MACHINES.get(torch.backends.cpu.get_cpu_capability(), ())
            built = building.build((f"-DM3D_LANES={number}", "-Wno-psabi", "-O1", *machine))
            patch.setattr(building, "library", lambda products=None: built)
        yield
