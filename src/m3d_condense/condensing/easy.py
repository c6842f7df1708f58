"""Easy images: those whose class trained networks name with the least cross-entropy. They serve as an initialisation.

Shapes: K classes, N images of one class of C×H×W pixels, M of them chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.bits import rounded
from m3d_condense.sets.tiles import decode, mosaic
from m3d_condense.tools.progress import progress
from m3d_condense.training.augment import normalised

CANDIDATES = 5  # random images, of which the easiest one is taken
BLOCK = 256  # images that are judged at once


def candidates(count: int, available: int, factor: int) -> int:
    """Return how many random images of a class of `available` ones the M = `count` easiest are chosen among.

    They fill whole mosaics; a class of fewer than M has no choice.
    """
    return max(count, min(CANDIDATES * count, available) // factor**2 * factor**2)


@torch.no_grad()
def easiest(
    dataset: ImageDataset,
    recipe: Recipe,
    indices: Sequence[Tensor],
    classes: range,
    judges: Sequence[Encoder],
) -> list[Tensor]:
    """Choose the M images of each class whose mean cross-entropy under the networks is least.

    An image is judged as the encoders would see it: down-scaled to a tile, rounded to the bits of the set, up-sampled.

    Args:
        dataset: whose classes the networks tell apart.
        recipe: says M, and how images are stored.
        indices: of each of these classes, N candidates of the whole training split.
        classes: their numbers.
        judges: networks, for evaluation.

    Returns:
        For each class M of its candidates, in their order.
    """
    count, images = recipe.decoded, dataset.whole.train.images
    together = max(BLOCK // recipe.factor**2, 1) * recipe.factor**2
    chosen = []
    with progress("Judging real images", len(classes), unit="classes") as bar:
        for index, number in zip(indices, classes, strict=True):
            parts = torch.split(index, together)
            losses = torch.cat([_losses(judges, dataset, recipe, images[part], number) for part in parts])
            chosen.append(index[losses.argsort(stable=True)[:count].sort().values])
            bar.advance()
    return chosen


def _losses(judges: Sequence[Encoder], dataset: ImageDataset, recipe: Recipe, images: Tensor, number: int) -> Tensor:
    """Return the sum over the networks of the cross-entropy N, on the CPU, of uint8 images N×C×H×W of one class."""
    device = judges[0].placed.engine.device
    stored = rounded(mosaic(images.to(device).float() / 255, recipe.factor, recipe.mosaic), recipe.bits)
    seen = normalised(decode(stored, recipe.factor), dataset.mean, dataset.std)
    labels, total = torch.full((len(seen),), number, device=device), torch.zeros(len(seen))
    for judge in judges:
        total += F.cross_entropy(judge.logits(seen.unsqueeze(0)).squeeze(0), labels, reduction="none").cpu()
    return total
