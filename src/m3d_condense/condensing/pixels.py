"""The learnable pixels: what a run optimises, and what its encoders see of it.

Shapes: K classes, K' of them this process's, M stored images per class, C×H×W pixels in [0, 1], factor l.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m3d_condense.condensing.shards import Shard
from m3d_condense.recipes.recipe import FULL
from m3d_condense.sets.bits import quantised, rounded
from m3d_condense.sets.tiles import cut, decode, enlarge


class Pixels:
    """The synthetic images under optimisation: a leaf tensor K'×M×C×H×W in [0, 1], and how they decode.

    Args:
        values: the initial images K'×M×C×H×W in [0, 1].
        factor: l, at least 1.
        shard: the classes they are of; by default all there are.
        frozen: which images of all classes, K×M, stay as they are, to the bit; none by default.
        bits: that a channel is stored in; what encoders see is rounded to fewer than 8.
    """

    def __init__(
        self,
        values: Tensor,
        factor: int,
        shard: Shard | None = None,
        frozen: Tensor | None = None,
        bits: int = FULL,
    ) -> None:
        self.values = values.clone().requires_grad_()
        self.bits, self.factor, self.shard = bits, factor, shard or Shard(num_classes=len(values))
        if frozen is not None and frozen.any():
            held = self.shard.of(frozen).to(values.device)[:, :, None, None, None]
            # Without a gradient neither SGD with momentum nor Adam moves a pixel: both start from none.
            self.values.register_hook(lambda gradient: gradient.masked_fill(held, 0.0))  # type: ignore[no-untyped-call]

    @property
    def decoded_per_class(self) -> int:
        """How many images a class decodes to: M·l²."""
        return self.values.shape[1] * self.factor**2

    def draw(self, classes: range, limit: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Return decoded images of these classes of the shard, len(classes)×min(M·l², limit)×C×H×W.

        Past the limit, each class draws its tiles from its own generator.
        """
        first = self.shard.classes.index(classes.start)
        size = (self.values.shape[-2], self.values.shape[-1])
        stored = rounded(self.values[first : first + len(classes)], self.bits)
        tiles = cut(stored, self.factor).flatten(1, 2)
        if self.decoded_per_class > limit:
            order = [torch.randperm(self.decoded_per_class, generator=g)[:limit] for g in generators]
            index = torch.stack(order).to(tiles.device)
            tiles = tiles[torch.arange(len(index), device=tiles.device).unsqueeze(1), index]
        return enlarge(tiles.flatten(0, 1), size).view(*tiles.shape[:3], *size)

    @torch.no_grad()
    def training_set(self) -> tuple[Tensor, Tensor]:
        """Return the decoded images (K·M·l²)×C×H×W in [0, 1], without a graph, and their labels (K·M·l²).

        These are the images of every class: all processes ask for them together.
        """
        values = self.shard.gather(rounded(self.values.detach(), self.bits))
        labels = torch.arange(len(values), device=values.device).repeat_interleave(self.decoded_per_class)
        return decode(values.flatten(0, 1), self.factor), labels

    @torch.no_grad()
    def extreme(self) -> Tensor:
        """Return which pixels are 0 or 1, K×M×C×H×W."""
        return (self.values == 0) | (self.values == 1)

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring every pixel back into [0, 1]."""
        self.values.clamp_(0.0, 1.0)

    @torch.no_grad()
    def to_uint8(self) -> tuple[Tensor, Tensor]:
        """Return the images (K·M)×C×H×W as uint8 on the CPU, and their labels (K·M), class by class.

        These are the images of every class: all processes ask for them together.
        """
        images = self.shard.gather(quantised(self.values, self.bits).cpu())
        labels = torch.arange(images.shape[0]).repeat_interleave(images.shape[1])
        return images.flatten(0, 1), labels
