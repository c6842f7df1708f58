"""Where a step's encoder comes from."""

from __future__ import annotations

from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.recipes.names import ENCODERS, find
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe


def build(material: Material) -> EncoderSource:
    """Build the source that a recipe names."""
    source: EncoderSource = find(ENCODERS[material.recipe.encoders])(material)
    return source


def training_images(recipe: Recipe) -> float:
    """Return how many images, forward and backward, the training of a run's encoders takes."""
    images: float = find(ENCODERS[recipe.encoders]).training_images(recipe)
    return images


def training(recipe: Recipe) -> Training:
    """Return how a pool's networks, or those that are trained anew from time to time, are trained."""
    found: Training = find(ENCODERS[recipe.encoders]).training(recipe)
    return found
