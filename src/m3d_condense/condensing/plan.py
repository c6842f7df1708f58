"""How a run's network runs, and how many classes go through it at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from m3d_condense import networks
from m3d_condense.condensing import encoders
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import seen_numbers
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.costs import activation_bytes
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The network of a run, placed, and the classes of each chunk: one each, where classes step one after the other.

    Classes whose images all stay as they are are left out, unless the objective needs all at once.
    """

    placed: Placed
    chunks: tuple[range, ...]


def plan(dataset: ImageDataset, recipe: Recipe, engine: Engine, objective: Objective, pixels: Pixels) -> Plan:
    """Build the recipe's network, place it, and split the classes so that a chunk fits the memory budget.

    Raises:
        UserError: for a network that cannot be built, or shows no maps where the objective compares them; or where
            classes are to step one after the other, but the objective needs all at once.
    """
    num_classes, size = dataset.num_classes, dataset.size
    network = networks.build(recipe.network, channels=dataset.channels, num_classes=num_classes, size=size)
    example = torch.zeros(1, dataset.channels, *size)
    per_class = min(pixels.decoded_per_class, recipe.batch_synthetic)
    seen = seen_numbers(network, example, objective.layered)
    activations = activation_bytes(network, example, torch.float32) // torch.float32.itemsize
    learning = [range(num_classes)] if objective.joint else pixels.learning
    placed = engine.place(network, example, _images(recipe, objective, sum(map(len, learning)), per_class))
    if recipe.class_steps == "sequential":
        if objective.joint:
            raise UserError("this objective needs all classes at once", setting="class_steps", value="sequential")
        return Plan(placed=placed, chunks=tuple(range(k, k + 1) for run in learning for k in run))
    if objective.joint:
        return Plan(placed=placed, chunks=(range(num_classes),))
    # Real images are held as floats a few times over while they are augmented, and then as seen.
    real = torch.float32.itemsize * (4 * example.numel() + seen)
    synthetic = real + activations * placed.dtype.itemsize * (2 if recipe.taught else 1)
    bytes_per_class = recipe.batch_real * real + per_class * synthetic
    chunks = [run[part.start : part.stop] for run in learning for part in engine.chunks(len(run), bytes_per_class)]
    return Plan(placed=placed, chunks=tuple(chunks))


def _images(recipe: Recipe, objective: Objective, num_classes: int, per_class: int) -> float:
    """Count the images that go through the network in all steps, forward and backward."""
    real_passes, synthetic_passes = objective.passes
    synthetic_passes += recipe.taught
    per_step = num_classes * (per_class * synthetic_passes + recipe.batch_real * real_passes)
    return recipe.iterations * per_step + encoders.training_images(recipe)
