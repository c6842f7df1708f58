"""The images of a step: real and synthetic ones, drawn by class, normalised, and augmented alike within a class."""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.real import RealImages
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.seeds import generator
from m3d_condense.training import augment


class Draws:
    """What each step compares; every draw follows from the seed, the step and the class.

    Args:
        dataset: its training labels and normalisation are used.
        recipe: of the run.
        pixels: the synthetic images.
        real: the training images of the pixels' classes.
    """

    def __init__(self, dataset: ImageDataset, recipe: Recipe, pixels: Pixels, real: RealImages) -> None:
        self.recipe, self.pixels, self.real = recipe, pixels, real
        self.size, self.device = dataset.size, pixels.values.device
        self.numbers, self.drawn = dataset.numbers, dataset.whole.num_classes
        self.sampler = ClassSampler(dataset.train.labels, dataset.num_classes)
        self.normalised = augment.Normalisation(dataset.mean, dataset.std, self.device)

    def at(self, step: int, classes: range, real: bool = True) -> tuple[Tensor | None, Tensor]:
        """Return the real images K×N×C×H×W, unless they are known, and the synthetic ones K×M×C×H×W of these classes.

        They are classes of the shard.
        """
        first = self.first(step)
        chosen, streams = self._chosen(step, classes)
        if real and first != step:
            chosen, _ = self._chosen(first, classes)
        drawn = augment.draw(self.recipe.siamese, self.drawn, self.size, generator(self.recipe.seed, "augment", first))
        drawn = drawn.of(self._in_whole(classes), self.device)
        synthetic = self.normalised(self.pixels.draw(classes, self.recipe.batch_synthetic, streams))
        return (
            augment.apply(self.normalised(self._real(first, chosen, classes)), drawn, self.normalised)
            if real
            else None,
            augment.apply(synthetic, drawn, self.normalised),
        )

    def first(self, step: int) -> int:
        """Return the first of the steps that share this one's real images and augmentation."""
        return step - step % self.recipe.real_steps

    def _real(self, first: int, chosen: Tensor, classes: range) -> Tensor:
        """Return the real images K×N×C×H×W of these numbers; where they lie in a file, have it read on."""
        found = self.real.of_numbers(chosen, self.device)
        if self.real.in_file:
            self.real.read_ahead(self._chosen(first + self.recipe.real_steps, classes)[0])
        return found

    def _chosen(self, step: int, classes: range) -> tuple[Tensor, list[torch.Generator]]:
        """Return the numbers K×N of the real images of a step, and the streams that its other draws come from."""
        streams = [generator(self.recipe.seed, "step", step, k) for k in self._in_whole(classes)]
        pairs = zip(classes, streams, strict=True)
        return torch.cat([self.sampler.draw([k], self.recipe.batch_real, stream) for k, stream in pairs]), streams

    def _in_whole(self, classes: range) -> range:
        """Return the numbers of classes in the whole data set, by which they draw whatever group they are in."""
        return self.numbers[classes.start : classes.stop : classes.step]
