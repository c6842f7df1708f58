"""Draws of images by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class ClassSampler:
    """Draws images of given classes; its only state is which images each class has.

    `labels` are int64 N in 0..K-1, `num_classes` is K; every class has an image.

    Attributes:
        counts: images of each class.
    """

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        counts = torch.bincount(labels, minlength=num_classes)
        assert len(counts) == num_classes, (len(counts), num_classes)
        assert int(counts.min()) > 0, "a class has no image"
        self.counts: list[int] = counts.tolist()
        self._members = torch.split(torch.argsort(labels, stable=True), self.counts)

    def draw(self, classes: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
        """Indices into the split, int64 len(classes)×count, at random and without replacement.

        A class of fewer than `count` images is drawn again, all of it, until the row is full.
        """
        rows = []
        for members in (self._members[number] for number in classes):
            rounds = math.ceil(count / len(members))
            order = [torch.randperm(len(members), generator=generator) for _ in range(rounds)]
            rows.append(members[torch.cat(order)[:count]])
        return torch.stack(rows)
