"""What a network takes for what.

Shapes: K classes; a confusion K×K counts test images by their class (rows) and by the class that is named (columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def confusion(labels: Tensor, named: Tensor, num_classes: int) -> Tensor:
    """Count images by class and by the class that is named for them, both N int64; returns K×K int64."""
    return torch.bincount(labels * num_classes + named, minlength=num_classes**2).view(num_classes, num_classes)


def accuracy(counts: Tensor) -> float:
    """Return the share of all images that are named right, in percent."""
    return 100.0 * float(counts.diag().sum()) / float(counts.sum())


def class_accuracies(counts: Tensor) -> list[float | None]:
    """Return the share of each class's images that are named right, in percent; None for a class without images."""
    totals = counts.sum(1).tolist()
    right = counts.diag().tolist()
    return [100.0 * one / total if total else None for one, total in zip(right, totals, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Mistaken:
    """A class and what it is taken for.

    Attributes:
        number: of the class.
        accuracy: of its images, percent.
        taken_for: the classes that are named in its place, the most frequent first, with their shares in percent.
    """

    number: int
    accuracy: float
    taken_for: Sequence[tuple[int, float]]


def worst(counts: Tensor, classes: int, mistakes: int) -> list[Mistaken]:
    """Return the classes with the lowest accuracies, the lowest first, and what they are taken for most."""
    known = [(value, number) for number, value in enumerate(class_accuracies(counts)) if value is not None]
    found = []
    for value, number in sorted(known)[:classes]:
        row = counts[number]
        wrong = sorted(((int(row[k]), -k) for k in range(len(row)) if k != number and row[k]), reverse=True)
        shares = [(-k, 100.0 * count / int(row.sum())) for count, k in wrong[:mistakes]]
        found.append(Mistaken(number=number, accuracy=value, taken_for=shares))
    return found
