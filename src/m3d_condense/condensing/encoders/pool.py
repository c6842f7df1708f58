"""A pool of networks trained beforehand, kept on disk; an encoder lies at a point of the training of one of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.encoders.learner import Learner
from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.condensing.view import Encoder
from m3d_condense.machine.group import Outcome, current
from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import Tensors, kept
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import progress
from m3d_condense.tools.seeds import derive, generator


class Pool:
    """Networks of one training, numbered from 0, each at all the points of its own.

    A network is trained once and kept in a file, where any run on the same data with the same settings of the encoders
    finds it again.
    """

    def __init__(self, material: Material) -> None:
        self.recipe, self.watch = material.recipe, material.watch
        self.learner = Learner(material, PoolEncoders.training(material.recipe))
        self._made_from = {
            "fingerprint": material.dataset.fingerprint,
            "network": self.recipe.network,
            "steps": self.recipe.encoder_steps,
            "points": self.recipe.encoder_points,
            "seed": self.recipe.seed,
            "training": dataclasses.asdict(self.learner.training),
            "arithmetic": material.encoder.placed.arithmetic,
            **networks.code_of(material.encoder.network),
        }

    def network(self, number: int) -> Tensors:
        """Return the tensors of a network at all the points of its training, trained now where it has not been."""
        return kept("pools", self._made_from, number, lambda: self._train(number), self.watch)

    def _train(self, number: int) -> Tensors:
        recipe, network, tensors = self.recipe, self.learner.encoder.network, dict[str, Tensor]()
        last = recipe.encoder_points - 1
        steps_of = {point: round(recipe.encoder_steps * point / last) for point in range(last + 1)}

        def after(taken: int) -> None:
            for point in (point for point, step in steps_of.items() if step == taken):
                for name, value in network.state_dict().items():
                    tensors[f"{point}.{name}"] = value.clone()

        with progress(f"Training network {number + 1} of {recipe.encoder_count}", recipe.encoder_steps) as bar:
            self.learner.from_scratch(derive(recipe.seed, "pool", number), recipe.encoder_steps, bar, after)
        if not all(bool(torch.isfinite(part).all()) for part in network.parameters()):
            said = "too high: a network of the pool has diverged in training"
            raise UserError(said, setting="encoder_lr", value=recipe.encoder_lr)
        return tensors


class PoolEncoders(EncoderSource):
    """Networks at a random point of their training.

    Of each network `encoder_points` states are kept, at even steps from its initialisation to its trained end; a point
    lies on the straight line between two neighbours. With two states that is the line from start to end (DANCE, Zhang
    et al., IJCAI 2024); with many, the way that the training took. The cross-entropy of a step is under the state that
    is `teacher_lead` of the whole training ahead of the encoder.

    There are `encoder_count` networks of `encoder_steps` training steps each on real images; an interrupted pool goes
    on with the network it stopped at.
    """

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        pool, group, count = Pool(material), current(), self.recipe.encoder_count
        self._device, self._current = pool.learner.trainer.device, -1
        # Every process trains some of the networks; then each is told what the others have.
        own = {n: Outcome.of(partial(pool.network, n)) for n in range(group.rank, count, group.size)}
        members = (group.broadcast(own.get(n), n % group.size).result() for n in range(count))
        self._ways = [self._way(tensors) for tensors in members]
        if self.recipe.taught:
            self.encoder.teacher = self._copy()

    @staticmethod
    def training(recipe: Recipe) -> Training:
        """Return a one-cycle schedule under the augmentation that is asked for."""
        return Training(
            batch=recipe.encoder_batch,
            even=True,
            lr=recipe.encoder_lr,
            weight_decay=recipe.encoder_weight_decay,
            schedule="one-cycle",
            augmentation=Augmentation.parse(recipe.encoder_augmentation).where(mirrored=recipe.flip),
            cutmix=recipe.encoder_cutmix,
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
            way = self._ways[int(torch.randint(len(self._ways), (1,), generator=stream))]
            share = float(torch.rand((), generator=stream))
            _fill(self.encoder, way, share)
            if self.encoder.teacher is not None:
                _fill(self.encoder.teacher, way, min(share + self.recipe.teacher_lead, 1.0))
        return self.encoder

    def ends(self) -> list[Tensors]:
        """Return the tensors of each network at the end of its training, by name."""
        return [way[-1] for way in self._ways]

    def judges(self) -> list[Encoder]:
        """Return each network at the end of its training, for evaluation."""
        found = [self._copy() for _ in self._ways]
        for judge, way in zip(found, self._ways, strict=True):
            _fill(judge, way, 1.0)
            judge.network.eval()
        return found

    def _copy(self) -> Encoder:
        """Return another encoder of the same network, as it is."""
        placed = self.encoder.placed
        return Encoder(dataclasses.replace(placed, network=copy.deepcopy(placed.network)))

    def _way(self, tensors: Tensors) -> list[Tensors]:
        """Return the states of a network at even steps of its training, on the device."""
        states: list[Tensors] = [{} for _ in range(self.recipe.encoder_points)]
        for key, value in tensors.items():
            point, _, name = key.partition(".")
            states[int(point)][name] = value.to(self._device)
        return states


@torch.no_grad()
def _fill(encoder: Encoder, way: Sequence[Tensors], share: float) -> None:
    """Put a network at a share in [0, 1] of its way."""
    position = share * (len(way) - 1)
    point = min(int(position), len(way) - 2)
    for name, tensor in encoder.network.state_dict().items():
        near, far = way[point][name], way[point + 1][name]
        tensor.copy_(near.lerp(far, position - point) if tensor.is_floating_point() else far)
