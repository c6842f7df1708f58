"""A pool of networks trained beforehand, kept on disk; each step's encoder lies between a start and its trained end."""

from __future__ import annotations

import dataclasses

import torch

from m3d_condense.condensing.encoders.learner import Learner
from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.condensing.view import Encoder
from m3d_condense.machine.group import current
from m3d_condense.networks import initialise
from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import Tensors, kept
from m3d_condense.tools.progress import progress
from m3d_condense.tools.seeds import derive, generator


class PoolEncoders(EncoderSource):
    """Networks at a random point between their initialisation and their trained end (DANCE, Zhang et al., IJCAI 2024).

    The pool, `encoder_count` networks of `encoder_steps` training steps each on real images, is trained once and kept
    in files, one a network, that any run on the same data with the same settings of the encoders finds again; an
    interrupted pool goes on with the network it stopped at.
    """

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self.learner, self.watch = Learner(material, self.training(material.recipe)), material.watch
        self._current = -1
        self._made_from = {
            "fingerprint": material.dataset.fingerprint,
            "network": self.recipe.network,
            "steps": self.recipe.encoder_steps,
            "seed": self.recipe.seed,
            "training": dataclasses.asdict(self.learner.training),
            "arithmetic": self.encoder.placed.arithmetic,
        }
        group = current()
        # Every process trains some of the networks; then each is told what the others have.
        mine = {n: self._member(n) for n in range(group.rank, self.recipe.encoder_count, group.size)}
        members = (group.broadcast(mine.get(n), n % group.size) for n in range(self.recipe.encoder_count))
        self._ends = [self._ends_of(tensors) for tensors in members]

    @staticmethod
    def training(recipe: Recipe) -> Training:
        """Return a one-cycle schedule with the moves and colours of the scoring protocols."""
        augmentation = Augmentation.parse("color_crop_scale_rotate_flip", "idc")
        return Training(
            batch=recipe.encoder_batch,
            lr=recipe.encoder_lr,
            weight_decay=recipe.encoder_weight_decay,
            schedule="one-cycle",
            augmentation=augmentation if recipe.flip else augmentation.without("flip"),
        )

    @staticmethod
    def training_images(recipe: Recipe) -> float:
        """Return the images of all networks' training, beforehand."""
        return recipe.encoder_count * recipe.encoder_steps * recipe.encoder_batch

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step: a new random point every `iterations_per_model` steps."""
        index = step // self.recipe.iterations_per_model
        if index != self._current:
            self._current = index
            stream = generator(self.recipe.seed, "point", index)
            number = int(torch.randint(len(self._ends), (1,), generator=stream))
            share = float(torch.rand((), generator=stream))
            self._fill(*self._ends[number], share)
        return self.encoder

    @torch.no_grad()
    def _fill(self, start: Tensors, end: Tensors, share: float) -> None:
        for name, tensor in self.encoder.network.state_dict().items():
            point = start[name].lerp(end[name], share) if tensor.is_floating_point() else end[name]
            tensor.copy_(point)

    def _member(self, number: int) -> Tensors:
        """Return the tensors of a network, trained now where it has not been."""
        return kept("pools", self._made_from, number, lambda: self._train(number), self.watch)

    def _ends_of(self, tensors: Tensors) -> tuple[Tensors, Tensors]:
        """Return a network's tensors at the start and at the end of its training, on the device."""
        device = self.learner.trainer.device
        ends: dict[str, Tensors] = {"start": {}, "end": {}}
        for key, value in tensors.items():
            end, _, name = key.partition(".")
            ends[end][name] = value.to(device)
        return ends["start"], ends["end"]

    def _train(self, number: int) -> Tensors:
        network, recipe = self.encoder.network, self.recipe
        seed = derive(recipe.seed, "pool", number)
        with progress(f"Training network {number + 1} of {recipe.encoder_count}", recipe.encoder_steps) as bar:
            self.learner.from_scratch(seed, recipe.encoder_steps, bar)
        tensors = {f"end.{name}": value.clone() for name, value in network.state_dict().items()}
        initialise(network, derive(seed, "network"))  # where the trainer began
        return tensors | {f"start.{name}": value.clone() for name, value in network.state_dict().items()}
