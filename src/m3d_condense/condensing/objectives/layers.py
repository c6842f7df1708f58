"""Objectives that look into the network: at the maps of its blocks, and at the features made of the last.

Shapes: K classes, N real and M synthetic images per class, C'×H'×W' maps of a block, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_condense.condensing.objectives.distribution import mean_distance
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.shards import Shard
from m3d_condense.condensing.view import View
from m3d_condense.recipes.recipe import Recipe

EARLIER, LAST, POOLED = 0.1, 1.0, 2.0  # of CAFE: weights of the blocks' maps, and of the features
DISCRIMINATION = 0.01  # weight of the cross-entropies, summed over the images
POWER, FEATURES = 4.0, 0.01  # of DataDAM: p, and λ, the weight of the features


def discrimination(real: Tensor, synthetic: Tensor, shard: Shard | None = None) -> Tensor:
    """Return how badly the synthetic class centres classify the real images, summed over those of each class (K).

    The logits of a real image are the products of its features (K×N×D) with the mean synthetic features of each class
    (of K×M×D), unscaled; the loss is the cross-entropy. The discrimination loss of CAFE (Wang et al., CVPR 2022).

    Of a shard, whose classes the features are, the centres of all classes are gathered.
    """
    shard = shard or Shard(num_classes=len(real))
    logits = real @ shard.gather_with_gradient(synthetic.mean(1)).mT  # K×N×K
    own = torch.tensor(shard.classes, device=real.device).unsqueeze(1).expand(real.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none").view_as(own).sum(1)


def attention_of(maps: Tensor, power: float = POWER) -> Tensor:
    """Return where each image's maps (K×N×C'×H'×W') are large: Σ_c |a_c|^p, of norm 1, as K×N×(H'·W').

    Its scale does not matter; of maps that are all zero it is zero, as is the gradient.
    """
    # (Σ_c |a_c|^p)^(2/p): the 2-norm of the squares for p = 4, which is many times as fast as a 4-norm.
    norms = torch.linalg.vector_norm(maps.square(), power / 2, dim=2).flatten(2)
    # Fourth powers of small maps are so small that a fixed guard of the norm would take them for zero.
    largest = norms.detach().amax(-1, keepdim=True)
    return F.normalize((norms / torch.where(largest > 0, largest, 1.0)).pow(power / 2), dim=-1)


class LayerMatching(Objective):
    """Match the class means of every block's maps and of the features, and make the class centres discriminate.

    CAFE (Wang et al., CVPR 2022), its feature alignment plus its discrimination loss. Distances are squared and summed
    over the elements. Maps are those before pooling. The weights are what its public code computes with: 1 for the
    last maps and 0.1 for those before, which are larger and lie further apart; 2 for the features, which it counts as
    maps after pooling and once more on their own; and 0.01 for the discrimination.
    """

    joint = True  # the logits need the centres of all classes
    layered = True

    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return one loss per class (K)."""
        *earlier, last = [mean_distance(r, s) for r, s in zip(real.maps, synthetic.maps, strict=True)]
        loss = LAST * last + POOLED * mean_distance(real.features, synthetic.features)
        for distance in earlier:
            loss = loss + EARLIER * distance
        return loss + DISCRIMINATION * discrimination(real.features, synthetic.features, synthetic.shard)


class AttentionMatching(Objective):
    """Match the class means of the spatial attention in every block but the last, and those of the features.

    DataDAM (Sajedi et al., ICCV 2023): L_SAM + λ·L_MMD with squared distances, p = 4 and λ = 0.01, of maps before
    pooling. Its public code differs: exponent 1, and all of it multiplied by 100, which we leave to the pixels'
    optimiser. The attention in the only block of a network is matched.
    """

    layered = True

    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return one loss per class (K)."""
        blocks = list(zip(real.maps, synthetic.maps, strict=True))
        loss = FEATURES * mean_distance(real.features, synthetic.features)
        for real_maps, synthetic_maps in blocks[:-1] or blocks:
            loss = loss + mean_distance(attention_of(real_maps), attention_of(synthetic_maps))
        return loss


def layers(recipe: Recipe) -> Objective:
    """Build CAFE's objective."""
    return LayerMatching()


def attention(recipe: Recipe) -> Objective:
    """Build DataDAM's objective."""
    return AttentionMatching()
