"""CAFE's schedule: a network is trained, and replaced, as its accuracy on real images says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m3d_condense.condensing.encoders.learner import LearningSource
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.encoders.trained import on_synthetic
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.machine.group import current
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.seeds import derive, generator


class DynamicEncoders(LearningSource):
    """CAFE's dynamic bi-level schedule (Wang et al., CVPR 2022, Section 3.4).

    Accuracies on a query, random real training images, say when to go on: a network is replaced once its last ten at
    the pixels' steps lie within `SETTLED`; until then it is trained on the synthetic set, pass by pass, till ten
    passes in a row differ by more than `MOVED`, or `encoder_steps` of them are done.
    """

    SETTLED, MOVED, WINDOW = 0.04, 0.03, 10
    rates = ("encoder_lr", "lr")

    def __init__(self, material: Material) -> None:
        super().__init__(material, on_synthetic(material.recipe))
        self._index, self._fresh = 0, True
        self._seen: list[float] = []

    @staticmethod
    def training_images(recipe: Recipe) -> float:
        """Return the images of one batch in each of the passes allowed after each step."""
        return recipe.iterations * recipe.encoder_steps * recipe.encoder_batch

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step; a new one once the last has settled."""
        if self._fresh:
            self.encoder.refill(derive(self.recipe.seed, "encoder", self._index))
            self.learner.reset_optimizer()
            self._fresh = False
        return self.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Replace the network where it has settled, and else train it until it has moved."""
        self._seen.append(self._query(step, 0))
        if len(self._seen) == self.WINDOW:
            if max(self._seen) - min(self._seen) < self.SETTLED:
                self._index, self._fresh, self._seen = self._index + 1, True, []
                return
            self._seen.pop(0)
        images, labels = pixels.training_set()
        steps = math.ceil(len(images) / self.recipe.encoder_batch)
        inner: list[float] = []
        for number in range(1, self.recipe.encoder_steps + 1):
            self.learner.learn_synthetic(images, labels, steps, derive(self.recipe.seed, "train", step, number))
            inner = [*inner, self._query(step, number)][-self.WINDOW :]
            if len(inner) == self.WINDOW and max(inner) - min(inner) > self.MOVED:
                return

    def state(self) -> dict[str, Tensor]:
        """Return the network, and what has been seen of it."""
        counts = torch.tensor([self._index, int(self._fresh)])
        return self.learner.state() | {"counts": counts, "seen": torch.tensor(self._seen, dtype=torch.float64)}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on with this network."""
        if state["counts"].shape != (2,) or state["seen"].ndim != 1 or len(state["seen"]) > self.WINDOW:
            raise ValueError("counts of other shapes")
        self._index, self._fresh = int(state["counts"][0]), bool(state["counts"][1])
        self._seen = state["seen"].tolist()
        self.learner.restore({name: value for name, value in state.items() if name not in ("counts", "seen")})

    def _query(self, step: int, number: int) -> float:
        """Return the accuracy on random training images: half as many a class as a step compares, on average.

        It decides, so that processes go by that of the first: batch norm has seen other images in each.
        """
        learner = self.learner
        count = self.recipe.batch_real * learner.num_classes // 2
        stream = generator(self.recipe.seed, "query", step, number)
        index = torch.randint(len(learner.real), (count,), generator=stream).to(learner.real.device)
        return current().broadcast(learner.accuracy(learner.real[index], learner.labels[index]))
