"""Blocks of networks as native code takes them, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
