"""Objectives by name: what is compared between real and synthetic images.

A new one is a function of two views in a file of this room, and a line in `build`.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from m3d_condense.condensing.objectives import kernels
from m3d_condense.condensing.objectives.distribution import FeatureMatching, mean_distance, moments_distance
from m3d_condense.condensing.objectives.gradient import GradientMatching
from m3d_condense.condensing.objectives.layers import AttentionMatching, LayerMatching
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.view import View


class WithCrossEntropy(Objective):
    """An objective and, with a weight, the cross-entropy of the synthetic images under the encoder's classifier.

    As in IDM (Zhao et al., CVPR 2023), the weight is multiplied with how far the encoder can be trusted.
    """

    def __init__(self, objective: Objective, weight: float) -> None:
        self.objective, self.weight = objective, weight
        self.joint, self.layered, self.passes = objective.joint, objective.layered, objective.passes

    def __call__(self, real: View, synthetic: View, whole: bool = False) -> Tensor:
        """Return K losses."""
        loss = self.objective(real, synthetic, whole)
        return loss + self.weight * synthetic.encoder.confidence * synthetic.cross_entropy


def build(name: str, *, kernel: str = "gaussian", cross_entropy: float = 0.0) -> Objective:
    """Build an objective.

    Args:
        name: one of `m3d_condense.recipes.recipe.OBJECTIVES`.
        kernel: of "mmd".
        cross_entropy: weight of the synthetic images' cross-entropy, added to any objective.
    """
    objective = _build(name, kernel)
    return WithCrossEntropy(objective, cross_entropy) if cross_entropy else objective


def _build(name: str, kernel: str) -> Objective:
    if name == "mmd":
        return FeatureMatching(lambda real, synthetic, whole: kernels.mmd(real, synthetic, kernel, whole=whole))
    if name == "mean":
        return FeatureMatching(mean_distance)
    if name in ("moments2", "moments3"):
        return FeatureMatching(partial(moments_distance, order=int(name[-1])))
    if name == "layers":
        return LayerMatching()
    if name == "attention":
        return AttentionMatching()
    if name in ("gradient-cosine", "gradient-mse", "gradient-l1"):
        return GradientMatching(name.removeprefix("gradient-"))
    raise ValueError(f"unknown objective {name!r}")
