"""Residual networks of basic blocks (He et al., "Deep residual learning for image recognition", 2016).

ResNet-10 and ResNet-18 stride. ResNetAP-10 (Kim et al., "Dataset condensation via efficient synthetic-data
parameterization", 2022) replaces every strided convolution by a convolution and an average pooling, as
strides lose the gradient of most pixels. Convolutions start He-normal, as in both papers.

The stem goes by the smaller side: up to 64 a 3×3 convolution, which keeps the side; above, a 7×7 convolution,
with stride 2 and 3×3 max pooling of stride 2, or in the AP form with stride 1 and 4×4 average pooling.
Stages after the first halve the side where at least 2×2 is left: 32, 16, 8, 4 for images of 32, but 8, 4, 2, 2 for 8.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from m3d_condense.networks.layers import Convolution, Staged, halves, norm_layer, smaller_side, stem


class Block(nn.Module):
    """Two 3×3 convolutions with norms beside a shortcut, summed, then ReLU: N×`before`×H×W to N×`after`×H'×W'.

    The side shrinks by `stride` in the first convolution and in the shortcut's 1×1 convolution; in the AP form
    (`pooled`) by average pooling after the first ReLU, and after the shortcut's convolution.
    """

    def __init__(self, before: int, after: int, stride: int, norm: str, pooled: bool) -> None:
        super().__init__()
        step = 1 if pooled else stride
        pool = [nn.AvgPool2d(stride)] if step != stride else []
        self.body = nn.Sequential(
            Convolution(before, after, 3, step),
            norm_layer(norm, after),
            nn.ReLU(),
            *pool,
            Convolution(after, after, 3),
            norm_layer(norm, after),
        )
        self.shortcut: nn.Module | None = None
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(Convolution(before, after, 1, step), *pool, norm_layer(norm, after))
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps."""
        beside = maps if self.shortcut is None else self.shortcut(maps)
        result: Tensor = self.relu(self.body(maps) + beside)
        return result


class ResNet(Staged):
    """A stem, four stages of basic blocks, the mean of each of the last maps, a classifier.

    Args:
        channels: 1 or 3.
        num_classes: K.
        size: height and width of the images, 2 or more.
        layers: blocks in each stage: (1, 1, 1, 1) is ResNet-10, (2, 2, 2, 2) ResNet-18.
        width: maps of the stem and the first stage, which double from stage to stage. The papers' is 64; public code of
            this field has 32 on CIFAR, with batch norm: a quarter of the weights.
        norm: see `norm_layer`.
        pooled: average pooling in place of strides: ResNetAP.

    Raises:
        ValueError: for images of a single row or column, or an unknown norm.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: tuple[int, int],
        layers: tuple[int, int, int, int] = (1, 1, 1, 1),
        width: int = 64,
        norm: str = "instance",
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.stem, side = stem(channels, width, smaller_side(size), norm, pooled)
        self.blocks = nn.ModuleList()
        before = width
        for index, count in enumerate(layers):
            after = width * 2**index
            stride = 2 if index > 0 and halves(side) else 1
            strides = (stride, *[1] * (count - 1))
            inputs = (before, *[after] * (count - 1))
            self.blocks.append(
                nn.Sequential(*(Block(b, after, s, norm, pooled) for b, s in zip(inputs, strides, strict=True)))
            )
            side = side // stride if pooled else math.ceil(side / stride)
            before = after
        self.feature_size = before
        self.classifier = nn.Linear(before, num_classes)
