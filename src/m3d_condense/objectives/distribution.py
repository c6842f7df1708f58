"""Distribution matching: a distance between the features of real and synthetic images of each class.

Shapes: K classes, N real and M synthetic images per class, C×H×W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m3d_condense.engine import Encoder

Distance = Callable[[Tensor, Tensor, bool], Tensor]
"""Of features K×N×D and K×M×D to K losses; the last argument asks for the constant terms as well."""


def mean_distance(real: Tensor, synthetic: Tensor, whole: bool = True) -> Tensor:
    """Return ‖mean of real - mean of synthetic‖² per class (K), the objective of DM (Zhao and Bilen, WACV 2023).

    It equals the biased MMD under the linear kernel. There are no constant terms to leave out.
    """
    return (real.mean(1) - synthetic.mean(1)).square().sum(-1)


class FeatureMatching:
    """Match the features of the current encoder under a distance; real features carry no graph."""

    def __init__(self, distance: Distance) -> None:
        self.distance = distance

    def __call__(self, encoder: Encoder, real: Tensor, synthetic: Tensor, whole: bool = False) -> Tensor:
        """Return one loss per class (K) for images K×N×C×H×W and K×M×C×H×W, normalised and augmented."""
        with torch.no_grad():
            target = encoder.features(real)
        return self.distance(target, encoder.features(synthetic), whole)
