"""Features in two dimensions.

Shapes: N real and M synthetic images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Features of real and synthetic images in the same two principal components.

    Attributes:
        real, synthetic: N×2 and M×2.
        explained: the share of the real features' variance that both components hold, in [0, 1].
    """

    real: Tensor
    synthetic: Tensor
    explained: float


def principal_components(real: Tensor, synthetic: Tensor) -> Projection:
    """Project features N×D and M×D on the two principal components of the real ones (Pearson, 1901).

    The sign of a component is chosen so that its largest weight is positive, and thus follows from the features.
    """
    real, synthetic = real.double(), synthetic.double()
    centre = real.mean(0)
    _, singular, axes = torch.linalg.svd(real - centre, full_matrices=False)
    two = axes[:2]
    if len(two) < 2:  # of one image, or one feature
        two = torch.cat((two, two.new_zeros(2 - len(two), two.shape[1])))
    largest = two.gather(1, two.abs().argmax(1, keepdim=True))
    two = two * torch.where(largest < 0, -1.0, 1.0)
    power = singular.square()
    total = float(power.sum())
    explained = float(power[:2].sum()) / total if total > 0 else 1.0
    return Projection(real=(real - centre) @ two.T, synthetic=(synthetic - centre) @ two.T, explained=explained)
