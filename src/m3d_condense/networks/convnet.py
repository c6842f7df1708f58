"""ConvNet-D, the network of this field: D blocks of convolution, norm, ReLU, pooling (Gidaris and Komodakis, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m3d_condense.networks.layers import Staged, norm_layer
from m3d_condense.tools.errors import Setting


class ConvNet(Staged):
    """D blocks of 3×3 convolution, norm, ReLU and 2×2 average pooling, then a linear classifier.

    The first convolution pads by 3 where the side is 28, so that 28 becomes 32, as the field does.

    Args:
        channels: 1 or 3.
        num_classes: K.
        size: height and width of the images; each must survive `depth` halvings.
        depth: D; 3 is the field's for 32×32, 4 for 64×64, 5 for 128×128.
        width: maps per block.
        norm: see `norm_layer`.

    Raises:
        ValueError: where the depth is below 1, or the images are too small for it.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: tuple[int, int],
        depth: int = 3,
        width: int = 128,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError("a ConvNet has a depth of at least 1")
        padding = 3 if tuple(size) == (28, 28) else 1
        height, width_ = (side + 2 * (padding - 1) for side in size)
        if min(height, width_) >> depth == 0:
            advice = f"give {Setting('size', 'N')} to load them larger, or a lower depth"
            raise ValueError(f"images of {size[0]}×{size[1]} are too small for a ConvNet of depth {depth}; {advice}")
        self.stem = None
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels if index == 0 else width, width, 3, padding=padding if index == 0 else 1),
                norm_layer(norm, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            )
            for index in range(depth)
        )
        self.feature_size = width * (height >> depth) * (width_ >> depth)
        self.classifier = nn.Linear(self.feature_size, num_classes)

    def pool(self, maps: Tensor) -> Tensor:
        """Return features N×D of what the last block gives: all maps, flattened."""
        return torch.flatten(maps, 1)
