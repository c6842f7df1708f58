"""Where a step's encoder comes from, by name.

A new source is a class in a file of this room, and a line in `build`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from m3d_condense.condensing.encoders.fresh import FreshEncoders
from m3d_condense.condensing.encoders.learner import Learner
from m3d_condense.condensing.encoders.pool import PoolEncoders
from m3d_condense.condensing.encoders.queue import QueueEncoders
from m3d_condense.condensing.encoders.trained import DynamicEncoders, TrainedEncoders
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.protocols import Protocol as Training
from m3d_condense.recipes.recipe import Recipe


class EncoderSource(Protocol):
    """Gives each step its encoder, and may train it between steps.

    Attributes:
        spared: seconds that a run would have spent on training before its first step, had the networks not been
            there already.
    """

    spared: float

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step, counted from 0; steps are asked for in order, each once."""
        ...

    def advance(self, step: int, pixels: Pixels) -> None:
        """Learn from the step just made, where the method trains its encoder."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return all that the steps so far have changed, for a checkpoint."""
        ...

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on as `state` says, which was taken before this step."""
        ...


def build(recipe: Recipe, encoder: Encoder, dataset: ImageDataset, real: Tensor, augmentation: str) -> EncoderSource:
    """Build the source that a recipe names.

    Args:
        recipe: the run's.
        encoder: the one network that is refilled.
        dataset: its training labels, normalisation and fingerprint are used.
        real: the training images N×C×H×W, uint8, where they are fastest.
        augmentation: of the run, without what the data do not stand.
    """
    if recipe.encoders == "fresh":
        return FreshEncoders(encoder, recipe.iterations_per_model, recipe.seed)
    protocol = _training(recipe, augmentation)
    learner = Learner(encoder, protocol, dataset, real)
    if recipe.encoders == "queue":
        return QueueEncoders(learner, recipe)
    if recipe.encoders == "pool":
        return PoolEncoders(learner, recipe, dataset.fingerprint)
    if recipe.encoders == "dynamic":
        return DynamicEncoders(learner, recipe)
    return TrainedEncoders(learner, recipe)


def training_images(recipe: Recipe) -> float:
    """Return how many images, forward and backward, the training of a run's encoders takes."""
    once = recipe.encoder_steps * recipe.encoder_batch
    return {
        "fresh": 0,
        "synthetic": recipe.iterations * once,
        "dynamic": recipe.iterations * once,
        "real": recipe.iterations * once,
        "queue": recipe.iterations * once * QueueEncoders.TRAINED,
        "pool": recipe.encoder_count * once,
    }[recipe.encoders]


def _training(recipe: Recipe, augmentation: str) -> Training:
    """Return how an encoder is trained, by the source's paper; rate, batch and steps are the recipe's."""
    operations = [name for name in augmentation.split("_") if name]
    # DC, DSA and CAFE train on the synthetic set by plain SGD, under the augmentation of the match.
    values = {"momentum": 0.0, "weight_decay": 0.0, "augmentation": augmentation, "cutmix": 0.0}
    if recipe.encoders == "real":  # IDC: CutMix takes the place of cutout
        kept = "_".join(name for name in operations if name != "cutout")
        values = {"momentum": 0.9, "weight_decay": 5e-4, "augmentation": kept, "cutmix": 0.5}
    elif recipe.encoders == "queue":  # IDM
        values = {"momentum": 0.9, "weight_decay": 5e-4, "augmentation": "", "cutmix": 0.0}
    elif recipe.encoders == "pool":
        moves = "_".join(["color", "crop", "scale", "rotate", *(["flip"] if recipe.flip else [])])
        values = {"momentum": 0.9, "weight_decay": 5e-4, "augmentation": moves, "cutmix": 0.0}
    return Training(
        name=recipe.encoders,
        epochs=1,
        whole_epochs=1,
        batch=recipe.encoder_batch,
        lr=recipe.encoder_lr,
        schedule="one-cycle" if recipe.encoders == "pool" else "steps",
        augmentation_draw="idc" if recipe.encoders == "pool" else recipe.augmentation_draw,
        **values,  # type: ignore[arg-type]
    )
