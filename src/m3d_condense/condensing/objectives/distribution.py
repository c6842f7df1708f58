"""Distribution matching: a distance between the features of real and synthetic images of each class.

Shapes: K classes, N real and M synthetic images per class, C×H×W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from m3d_condense.condensing.objectives import kernels
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.view import View
from m3d_condense.recipes.recipe import Recipe

FeatureDistance = Callable[[Tensor, Tensor, bool], Tensor]
"""Of features K×N×D and K×M×D to K losses; the last argument asks for the constant terms as well."""


def mean_distance(real: Tensor, synthetic: Tensor, constants: bool = True) -> Tensor:
    """Return ‖mean of real - mean of synthetic‖² per class (K), the objective of DM (Zhao and Bilen, WACV 2023).

    It equals the biased MMD under the linear kernel. There are no constant terms to leave out. What is averaged may
    have any shape, K×N×… and K×M×….
    """
    in_memory = sorted(range(2, real.dim()), key=real.stride, reverse=True)  # a mean across it is many times as slow
    means = [images.permute(0, 1, *in_memory).mean(1) for images in (real, synthetic)]
    return (means[0] - means[1]).square().flatten(1).sum(1)


def moments_distance(real: Tensor, synthetic: Tensor, constants: bool = True, *, order: int) -> Tensor:
    """Return the squared distances of the means and of the central moments up to `order`, summed, per class (K).

    Moments are those of each feature, over the images as they are: the variance divides by their number, and is 0,
    without a gradient, for a single one. With order 2 and 3 these are "+2nd Reg." and "+2nd & 3rd Reg." of DM in
    Table 1 of M3D, which does not tell their weights. With ours no term drowns or vanishes: the gradients of the
    variances and of the third moments measure 0.4 and 0.6 of the means' on CIFAR-10, 0.13 and 0.05 on digits (random
    ConvNets, two seeds; ten real images a class as the synthetic ones, 128 and 64 others as the real ones).
    """
    loss = mean_distance(real, synthetic)
    real, synthetic = (x - x.mean(1, keepdim=True) for x in (real, synthetic))
    for power in range(2, order + 1):
        loss = loss + mean_distance(real**power, synthetic**power)
    return loss


class FeatureMatching(Objective):
    """Match the features of the current encoder under a distance."""

    def __init__(self, distance: FeatureDistance) -> None:
        self.distance = distance

    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return one loss per class (K)."""
        return self.distance(real.features, synthetic.features, constants)


def mmd(recipe: Recipe) -> Objective:
    """Build M3D's objective under the recipe's kernel."""

    def distance(real: Tensor, synthetic: Tensor, constants: bool) -> Tensor:
        return kernels.mmd(real, synthetic, recipe.kernel, constants=constants)

    return FeatureMatching(distance)


def mean(recipe: Recipe) -> Objective:
    """Build DM's objective."""
    return FeatureMatching(mean_distance)


def two_moments(recipe: Recipe) -> Objective:
    """Build DM's objective with the variances."""
    return FeatureMatching(partial(moments_distance, order=2))


def three_moments(recipe: Recipe) -> Objective:
    """Build DM's objective with the variances and the third central moments."""
    return FeatureMatching(partial(moments_distance, order=3))
