"""DenseNet-121: every layer sees the maps of all before it (Huang et al., "Densely connected networks", 2017).

Blocks of 6, 12, 24 and 16 layers, growth 32, bottlenecks of 4 times as many maps, compression 0.5; He-normal
convolutions. Public code of this field calls the same network of growth 12, with batch norm, "densenet"; its
convolutions start as PyTorch's do.

The stem goes by the smaller side: up to 64 a single 3×3 convolution, which keeps the side, as in the paper's
CIFAR networks; above, its ImageNet stem: a 7×7 convolution and a 3×3 max pooling, both of stride 2.
Transitions halve the side where at least 2×2 is left: 32, 16, 8, 4 for images of 32, but 8, 4, 2, 2 for 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m3d_condense.networks.layers import Convolution, Staged, halves, norm_layer, smaller_side, stem

BOTTLENECK, LAYERS = 4, (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """Norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution; its G maps are put after those it was given."""

    def __init__(self, before: int, growth: int, norm: str) -> None:
        super().__init__()
        between = BOTTLENECK * growth
        self.body = nn.Sequential(
            *activation(norm, before),
            Convolution(before, between, 1),
            *activation(norm, between),
            Convolution(between, growth, 3),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return N×(C + G)×H×W for maps N×C×H×W."""
        return torch.cat((maps, self.body(maps)), 1)


class DenseNet(Staged):
    """DenseNet-121, with one module in `blocks` for each dense block and what follows it.

    Args:
        channels: 1 or 3.
        num_classes: K.
        size: height and width of the images, 2 or more.
        growth: G, the maps that each layer adds.
        norm: see `norm_layer`.

    Raises:
        ValueError: for images of a single row or column, or an unknown norm.
    """

    def __init__(
        self, channels: int, num_classes: int, size: tuple[int, int], growth: int = 32, norm: str = "instance"
    ) -> None:
        super().__init__()
        side, width = smaller_side(size), 2 * growth
        if side <= 64:
            self.stem = nn.Sequential(Convolution(channels, width, 3))  # the first layer begins with a norm
        else:
            self.stem, side = stem(channels, width, side, norm, pooled=False)
        self.blocks = nn.ModuleList()
        for index, count in enumerate(LAYERS):
            dense = [DenseLayer(width + growth * layer, growth, norm) for layer in range(count)]
            width += growth * count
            after = activation(norm, width)
            if index < len(LAYERS) - 1:
                after += [Convolution(width, width // 2, 1), *([nn.AvgPool2d(2)] if halves(side) else [])]
                width, side = width // 2, side // 2 if halves(side) else side
            self.blocks.append(nn.Sequential(*dense, *after))
        self.feature_size = width
        self.classifier = nn.Linear(width, num_classes)


def activation(norm: str, channels: int) -> list[nn.Module]:
    """Return what stands before a convolution: the norm and ReLU."""
    return [norm_layer(norm, channels), nn.ReLU()]
