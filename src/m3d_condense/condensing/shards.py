"""Which classes a process condenses where several work together, and how their parts make a whole.

Shapes: K classes, K' of them this process's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m3d_condense.machine.group import ALONE, Group


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """Every W-th class, from this process's rank on, where W processes work together.

    Attributes:
        num_classes: K, of all processes.
        group: these processes.
    """

    num_classes: int
    group: Group = ALONE

    @property
    def classes(self) -> range:
        """This process's, in order; none, where there are more processes than classes."""
        return range(self.group.rank, self.num_classes, self.group.size)

    def of(self, whole: Tensor) -> Tensor:
        """Return this process's part (K'×…) of what there is for every class (K×…)."""
        return whole if self.group.size == 1 else whole[self.group.rank :: self.group.size].clone()

    def gather(self, part: Tensor) -> Tensor:
        """Return what there is for every class (K×…) in every process, of their parts (K'×…)."""
        return part if self.group.size == 1 else self._whole(self.group.gather(self._filled(part)))

    def gather_with_gradient(self, part: Tensor) -> Tensor:
        """Return what `gather` does; the gradient to a part is the sum of what all processes have for it."""
        if self.group.size == 1:
            return part
        whole: Tensor = _Gathered.apply(part, self)  # type: ignore[no-untyped-call]
        return whole

    def collect(self, part: Tensor) -> Tensor | None:
        """Return what there is for every class (K×…), on the CPU, in the first process; None elsewhere."""
        if self.group.size == 1:
            return part.cpu()
        parts = self.group.collect(self._filled(part.cpu()))
        return None if parts is None else self._whole(parts)

    def hand_out(self, whole: Tensor | None, like: Tensor) -> Tensor:
        """Return this process's part (K'×…, on the CPU, like `like`) of what the first has for every class (K×…)."""
        if self.group.size == 1:
            assert whole is not None
            return whole
        parts = None
        if whole is not None:
            size = self.group.size
            parts = [self._filled(whole[rank::size]).contiguous() for rank in range(size)]
        return self.group.hand_out(parts, self._filled(like))[: len(self.classes)]

    def _filled(self, part: Tensor) -> Tensor:
        """Fill a part up with zeros to as many classes as the largest part has."""
        short = math.ceil(self.num_classes / self.group.size) - len(part)
        return torch.cat((part, part.new_zeros(short, *part.shape[1:])))

    def _whole(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, 1).flatten(0, 1)[: self.num_classes]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard
        return shard.gather(part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        shard: Shard = ctx.shard
        return shard.of(shard.group.sum(gradients[0])), None
