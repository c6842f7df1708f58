"""What an encoder source is: it gives each step its encoder, and may train it between steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.stopwatch import Stopwatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a source is made of.

    Attributes:
        recipe: of the run.
        encoder: the one network of the run, refilled in place.
        dataset: its training images and labels, normalisation and fingerprint are used.
        watch: of the run, credited with what need not be trained again.
    """

    recipe: Recipe
    encoder: Encoder
    dataset: ImageDataset
    watch: Stopwatch

    @cached_property
    def real(self) -> Tensor:
        """The training images N×C×H×W, uint8, all on the device where they fit, for networks that train on them."""
        return self.encoder.placed.engine.resident(self.dataset.train.images)


class EncoderSource(ABC):
    """Gives each step its encoder.

    A new source is a class in a file of this room, and its name in `m3d_condense.recipes.names`. Its randomness comes
    from `seeds.derive(seed, …)` by name, and what it learns is its state.

    Attributes:
        rates: the settings that decide how fast its networks learn, for advice where one diverges.
    """

    rates: tuple[str, ...] = ("encoder_lr",)

    def __init__(self, material: Material) -> None:
        self.recipe, self.encoder = material.recipe, material.encoder

    @property
    def real(self) -> Tensor | None:
        """The training images N×C×H×W, where its networks train on them from step to step."""
        return None

    @staticmethod
    def training_images(recipe: Recipe) -> float:
        """Return how many images, forward and backward, the training of a run's encoders takes."""
        return 0.0

    def judges(self) -> list[Encoder]:
        """Return its networks that are trained to the end on real images, for evaluation; none, where it has none."""
        return []

    @abstractmethod
    def at(self, step: int) -> Encoder:
        """Return the encoder of this step, counted from 0; steps are asked for in order, each once."""

    def advance(self, step: int, pixels: Pixels) -> None:
        """Learn from the step just made; a source that is not trained between steps does nothing."""
        return

    def state(self) -> dict[str, Tensor]:
        """Return all that the steps so far have changed, for a checkpoint; nothing, where it follows from the seed."""
        return {}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on as `state` says, which was taken before this step.

        Raises:
            KeyError, ValueError: it is no state of this source.
        """
        return

    def finite(self) -> bool:
        """Whether all weights are numbers: a network that diverged has others."""
        weights = (*self.encoder.network.parameters(), *self.state().values())
        return all(bool(torch.isfinite(part).all()) for part in weights)
