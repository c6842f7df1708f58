"""Gradient matching: the gradients that a class's real and synthetic images give a network's weights.

Shapes: K classes, N real and M synthetic images per class, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.machine.matching import Weights
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError

LayerDistance = Callable[[Tensor, Tensor], Tensor]
"""Of one layer's real and synthetic gradients, a number."""

EPSILON = 1e-6  # added to the product of two norms, as in the public code of DC


def cosine(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the sum over output units of 1 - cos between the gradients of a unit's weights; DC, Eq. 10.

    Zhao, Mopuri, Bilen, ICLR 2021; DSA (Zhao and Bilen, ICML 2021) uses the same. A unit is an index of the first axis.
    """
    rest = tuple(range(1, real.ndim))  # summed as they lie: a reshape would copy what is channels last
    norms = [torch.linalg.vector_norm(gradient, dim=rest) for gradient in (real, synthetic)]
    total: Tensor = (1 - (real * synthetic).sum(rest) / (norms[0] * norms[1] + EPSILON)).sum()
    return total


def squared(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the sum of squared differences, of IDC (Kim et al., ICML 2022)."""
    return (real - synthetic).square().sum()


def absolute(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the sum of absolute differences, of IDC (Kim et al., ICML 2022)."""
    return (real - synthetic).abs().sum()


DISTANCES: Mapping[str, tuple[LayerDistance, tuple[int, ...]]] = {
    "cosine": (cosine, (2, 4)),
    "mse": (squared, (4,)),
    "l1": (absolute, (4,)),
}
"""Of one layer's gradients, and how many axes the weights have that count: 4 for convolutions, 2 for linear layers.

Biases and norms, of one axis, never count; IDC's public settings leave out the classifier too.
"""


class GradientMatching(Objective):
    """Match the gradients of the mean cross-entropy of each class, summed over the layers of the current encoder.

    The pixels' gradient, a second derivative, is exact. It is worked out with the value, one class after the other, so
    that one class's graph is alive at a time: the memory of its synthetic images' activations, twice over.

    Args:
        distance: "cosine" (DC, DSA), "mse" or "l1" (IDC), see `DISTANCES`.
    """

    twice = True
    passes = (1.0, 3.0)  # a second derivative costs two passes more

    def __init__(self, distance: str) -> None:
        self.distance = distance
        self._matchers: WeakKeyDictionary[Encoder, _Matcher] = WeakKeyDictionary()

    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return one loss per class (K); there are no constant terms to leave out.

        Raises:
            UserError: for a network without convolutions and linear layers.
        """
        encoder, images = synthetic.encoder, synthetic.images
        if encoder not in self._matchers:
            self._matchers[encoder] = _Matcher(encoder, self.distance)
        rows = zip(real.images, real.labels, images.detach(), synthetic.labels, strict=True)
        found = [self._matchers[encoder](*row) for row in rows]
        gradients, values = (torch.stack(parts) for parts in zip(*found, strict=True))
        # Zero, whose gradient to the images is the known one.
        slope = ((images - images.detach()) * gradients).flatten(1).sum(1)
        return values + slope


class _Matcher:
    """The weights of one encoder that count, and how their gradients are matched."""

    def __init__(self, encoder: Encoder, kind: str) -> None:
        of_layer, axes = DISTANCES[kind]

        def distance(real: Weights, synthetic: Weights) -> Tensor:
            return torch.stack([of_layer(real[name], gradient) for name, gradient in synthetic.items()]).sum()

        self.weights = _matched(encoder.network, axes)
        self._matching = encoder.placed.matching(distance)

    def __call__(self, real: Tensor, real_labels: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient to one class's images M×C×H×W, and the distance, a number, to its real N×C×H×W."""
        target = self._matching.gradients(real, self.weights, real_labels)
        return self._matching.to_images(images, self.weights, labels, target)


def _matched(network: Any, axes: tuple[int, ...]) -> Weights:
    """Return the weights with as many axes, or those of linear layers where there is none."""
    named = dict(network.named_parameters())
    for wanted in (axes, (2,)):
        found = {name: weight for name, weight in named.items() if weight.ndim in wanted}
        if found:
            return found
    raise UserError("this objective compares the gradients of convolutions or linear layers; the network has neither")


def gradient_cosine(recipe: Recipe) -> Objective:
    """Build the objective of DC and DSA."""
    return GradientMatching("cosine")


def gradient_mse(recipe: Recipe) -> Objective:
    """Build IDC's objective for images of 32 pixels."""
    return GradientMatching("mse")


def gradient_l1(recipe: Recipe) -> Objective:
    """Build IDC's objective for images of other sizes."""
    return GradientMatching("l1")
