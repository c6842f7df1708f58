"""One network at a time, trained between the steps of the pixels."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from m3d_condense.condensing.encoders.learner import LearningSource
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.seeds import derive


class TrainedEncoders(LearningSource):
    """A new network every `iterations_per_model` steps, trained by `encoder_steps` between them.

    A new network may first be warmed up by `encoder_warmup` steps on real images.
    """

    def __init__(self, material: Material) -> None:
        super().__init__(material, self.training(material.recipe))
        self._current = -1

    @staticmethod
    @abstractmethod
    def training(recipe: Recipe) -> Training:
        """Return how the networks are trained."""

    @staticmethod
    def training_images(recipe: Recipe) -> float:
        """Return the images of `encoder_steps` after each step of the pixels."""
        return recipe.iterations * recipe.encoder_steps * recipe.encoder_batch

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step; a new one where its turn begins."""
        index = step // self.recipe.iterations_per_model
        if index != self._current:
            self._current = index
            self.encoder.refill(derive(self.recipe.seed, "encoder", index))
            self.learner.reset_optimizer()
            self.learner.learn_real(self.recipe.encoder_warmup, derive(self.recipe.seed, "warm-up", index))
        return self.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Train the network, unless the next step has a new one."""
        if (step + 1) % self.recipe.iterations_per_model:
            self.learn(pixels, derive(self.recipe.seed, "train", step))

    @abstractmethod
    def learn(self, pixels: Pixels, seed: int) -> None:
        """Train the network by `encoder_steps`."""

    def state(self) -> dict[str, Tensor]:
        """Return the network and its optimiser's momentum."""
        return self.learner.state()

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on with this network."""
        self.learner.restore(state)
        self._current = (step - 1) // self.recipe.iterations_per_model


class EncodersOnSynthetic(TrainedEncoders):
    """Networks trained on the synthetic set: the inner loop of DC and DSA (Zhao et al., ICLR 2021, Algorithm 1)."""

    rates = ("encoder_lr", "lr")

    @staticmethod
    def training(recipe: Recipe) -> Training:
        """Return plain SGD, under the augmentation of the match."""
        return on_synthetic(recipe)

    def learn(self, pixels: Pixels, seed: int) -> None:
        """Train the network on the synthetic images."""
        self.learner.learn_synthetic(*pixels.training_set(), self.recipe.encoder_steps, seed)


class EncodersOnReal(TrainedEncoders):
    """Networks trained on real images, as IDC's (Kim et al., ICML 2022, Section 4.2)."""

    @staticmethod
    def training(recipe: Recipe) -> Training:
        """Return IDC's training, in which CutMix takes the place of cutout."""
        return Training(
            batch=recipe.encoder_batch,
            lr=recipe.encoder_lr,
            weight_decay=recipe.encoder_weight_decay,
            augmentation=recipe.siamese.without("cutout"),
            cutmix=recipe.encoder_cutmix,
        )

    def learn(self, pixels: Pixels, seed: int) -> None:
        """Train the network on real images."""
        self.learner.learn_real(self.recipe.encoder_steps, seed)


def on_synthetic(recipe: Recipe) -> Training:
    """Return how DC, DSA and CAFE train on the synthetic set: plain SGD, under the augmentation of the match."""
    return Training(
        batch=recipe.encoder_batch,
        lr=recipe.encoder_lr,
        momentum=0.0,
        weight_decay=0.0,
        augmentation=recipe.siamese,
    )
