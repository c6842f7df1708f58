"""What is compared between real and synthetic images.

A new one is a function of the recipe that returns an `Objective`, in a file of this room, and its name in
`m3d_condense.recipes.names`.
"""

from __future__ import annotations

from torch import Tensor

from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.view import View
from m3d_condense.recipes.names import OBJECTIVES, find
from m3d_condense.recipes.recipe import Recipe


class WithCrossEntropy(Objective):
    """An objective and, with a weight, the cross-entropy of the synthetic images under the encoder's classifier.

    As in IDM (Zhao et al., CVPR 2023), the weight is multiplied with how far the encoder can be trusted.
    """

    def __init__(self, objective: Objective, weight: float) -> None:
        self.objective, self.weight = objective, weight
        self.joint, self.layered = objective.joint, objective.layered
        self.twice, self.passes = objective.twice, objective.passes

    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return K losses."""
        loss = self.objective(real, synthetic, constants)
        return loss + self.weight * synthetic.encoder.confidence * synthetic.cross_entropy


def build(recipe: Recipe) -> Objective:
    """Build the objective that a recipe names, with the cross-entropy beside it where that has a weight."""
    objective: Objective = find(OBJECTIVES[recipe.objective])(recipe)
    return WithCrossEntropy(objective, recipe.cross_entropy) if recipe.cross_entropy else objective
