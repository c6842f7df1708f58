"""Blocks of a ConvNet as native code takes them, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def layers(channels: int, after: int, padding: int, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(
            nn.Conv2d(channels, after, 3, padding=padding), nn.GroupNorm(after, after), nn.ReLU(), nn.AvgPool2d(2)
        )
        nn.init.uniform_(made[1].weight, 0.5, 1.5)  # type: ignore[arg-type]
        nn.init.uniform_(made[1].bias, -0.5, 0.5)  # type: ignore[arg-type]
    return made


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))
