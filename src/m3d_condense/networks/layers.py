"""What the architectures share: norms by name, the He-normal convolution, the stem, and the sides that still halve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from m3d_condense.tools.errors import Setting

NORMS = ("instance", "group", "batch", "none")


def norm_layer(name: str, channels: int) -> nn.Module:
    """Build a norm over `channels` maps: instance (as GroupNorm(C, C), affine), batch, group or none.

    Raises:
        ValueError: for any other name.
    """
    if name == "instance":
        return nn.GroupNorm(channels, channels)
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        return nn.GroupNorm(min(32, channels), channels)
    if name == "none":
        return nn.Identity()
    raise ValueError(f"unknown norm {name!r}: instance, batch, group or none")


class Convolution(nn.Conv2d):
    """A k×k convolution without bias that keeps the side at stride 1 (k odd), initialised He-normal.

    The variance is 2 / (k² · maps out): He et al., "Delving deep into rectifiers", 2015, equation 14.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's global generator."""
        # A normal draw fills memory in its order, which would make of one seed other weights where channels are last.
        drawn = torch.empty(self.weight.shape, device=self.weight.device)
        nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            self.weight.copy_(drawn)


class Staged(nn.Module):
    """Perhaps a stem, blocks one after the other, the mean of each of the last maps, a linear classifier.

    What is built on it makes these modules, and `feature_size`, D.
    """

    stem: nn.Module | None
    blocks: nn.ModuleList
    classifier: nn.Linear
    feature_size: int

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps N×C'×H'×W' of every block, for normalised images N×C×H×W.

        They are taken before the pooling that a block may end with, as CAFE and DataDAM do.
        """
        maps, results = self._stemmed(images), []
        for block in cast("Iterable[nn.Sequential]", self.blocks):
            pools = isinstance(block[-1], nn.AvgPool2d)
            results.append(block[:-1](maps) if pools else block(maps))
            maps = block[-1](results[-1]) if pools else results[-1]
        return results

    def features_of(self, maps: Tensor) -> Tensor:
        """Return features N×D of the last of `maps`."""
        *_, ending = self.blocks[-1].children()
        return self.pool(ending(maps) if isinstance(ending, nn.AvgPool2d) else maps)

    def pool(self, maps: Tensor) -> Tensor:
        """Return features N×D of what the last block gives: the mean of each map."""
        return torch.mean(maps, (2, 3))

    def features(self, images: Tensor) -> Tensor:
        """Return features N×D for normalised images N×C×H×W."""
        maps = self._stemmed(images)
        for block in self.blocks:
            maps = block(maps)
        return self.pool(maps)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits N×K for normalised images N×C×H×W."""
        logits: Tensor = self.classifier(self.features(images))
        return logits

    def _stemmed(self, images: Tensor) -> Tensor:
        maps: Tensor = images if self.stem is None else self.stem(images)
        return maps


def smaller_side(size: tuple[int, int]) -> int:
    """Return the smaller side of the images.

    Raises:
        ValueError: where it is a single pixel, of which an instance norm leaves nothing.
    """
    if min(size) < 2:
        advice = f"give {Setting('size', 'N')} to load them larger"
        raise ValueError(f"images of {size[0]}×{size[1]} are too small: both sides need 2 pixels or more; {advice}")
    return min(size)


def halves(side: int) -> bool:
    """Whether maps of this side may be halved: never below 2×2, where instance norm would erase every image."""
    return side >= 4


def stem(channels: int, width: int, side: int, norm: str, pooled: bool) -> tuple[nn.Sequential, int]:
    """Build what comes before the first stage of a ResNet, and say what side it leaves of images of this side.

    Up to 64 a 3×3 convolution, norm and ReLU; above, a 7×7 convolution with norm and ReLU, then pooling to a quarter.
    """
    if side <= 64:
        return nn.Sequential(Convolution(channels, width, 3), norm_layer(norm, width), nn.ReLU()), side
    first = Convolution(channels, width, 7, stride=1 if pooled else 2)
    top = nn.Sequential(first, norm_layer(norm, width), nn.ReLU())
    if pooled:
        return top.append(nn.AvgPool2d(4)), side // 4
    return top.append(nn.MaxPool2d(3, stride=2, padding=1)), math.ceil(side / 4)
