"""One network at a time, trained between the steps of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_condense.condensing.encoders.learner import Learner
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.seeds import derive, generator


class TrainedEncoders:
    """A new network every `iterations_per_model` steps, trained by `encoder_steps` between them.

    On the synthetic set it is DC's and DSA's inner loop (Zhao et al., ICLR 2021, Algorithm 1); on real images IDC's
    (Kim et al., ICML 2022, Section 4.2). A new network may first be warmed up by `encoder_warmup` steps.
    """

    spared = 0.0

    def __init__(self, learner: Learner, recipe: Recipe) -> None:
        self.learner, self.recipe = learner, recipe
        self._current = -1

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step; a new one where its turn begins."""
        index = step // self.recipe.iterations_per_model
        if index != self._current:
            self._current = index
            self.learner.encoder.refill(derive(self.recipe.seed, "encoder", index))
            self.learner.forget()
            self.learner.learn_real(self.recipe.encoder_warmup, derive(self.recipe.seed, "warm-up", index))
        return self.learner.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Train the network, unless the next step has a new one."""
        if (step + 1) % self.recipe.iterations_per_model == 0:
            return
        seed = derive(self.recipe.seed, "train", step)
        if self.recipe.encoders == "real":
            self.learner.learn_real(self.recipe.encoder_steps, seed)
        else:
            self.learner.learn_synthetic(pixels, self.recipe.encoder_steps, seed)

    def state(self) -> dict[str, Tensor]:
        """Return the network and its optimiser's momentum."""
        return self.learner.state()

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on with this network."""
        self.learner.restore(state)
        self._current = (step - 1) // self.recipe.iterations_per_model


class DynamicEncoders:
    """CAFE's dynamic bi-level schedule (Wang et al., CVPR 2022, Section 3.4).

    Accuracies on a query, random real training images, say when to go on: a network is replaced once its last ten at
    the pixels' steps lie within `SETTLED`; until then it is trained on the synthetic set, pass by pass, till ten
    passes in a row differ by more than `MOVED`, or `encoder_steps` of them are done.
    """

    SETTLED, MOVED, WINDOW = 0.04, 0.03, 10
    spared = 0.0

    def __init__(self, learner: Learner, recipe: Recipe) -> None:
        self.learner, self.recipe = learner, recipe
        self._index, self._fresh = 0, True
        self._seen: list[float] = []

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step; a new one once the last has settled."""
        if self._fresh:
            self.learner.encoder.refill(derive(self.recipe.seed, "encoder", self._index))
            self.learner.forget()
            self._fresh = False
        return self.learner.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Replace the network where it has settled, and else train it until it has moved."""
        self._seen.append(self._query(step, 0))
        if len(self._seen) == self.WINDOW:
            if max(self._seen) - min(self._seen) < self.SETTLED:
                self._index, self._fresh, self._seen = self._index + 1, True, []
                return
            self._seen.pop(0)
        count = pixels.values.shape[0] * pixels.decoded_per_class
        steps = -(-count // self.recipe.encoder_batch)
        inner: list[float] = []
        for number in range(1, self.recipe.encoder_steps + 1):
            self.learner.learn_synthetic(pixels, steps, derive(self.recipe.seed, "train", step, number))
            inner = [*inner, self._query(step, number)][-self.WINDOW :]
            if len(inner) == self.WINDOW and max(inner) - min(inner) > self.MOVED:
                return

    def state(self) -> dict[str, Tensor]:
        """Return the network, and what has been seen of it."""
        counts = torch.tensor([self._index, int(self._fresh)])
        return self.learner.state() | {"counts": counts, "seen": torch.tensor(self._seen, dtype=torch.float64)}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on with this network."""
        self._index, self._fresh = int(state["counts"][0]), bool(state["counts"][1])
        self._seen = state["seen"].tolist()
        self.learner.restore(state)

    def _query(self, step: int, number: int) -> float:
        """Return the accuracy on random training images: half as many a class as a step compares, on average."""
        learner = self.learner
        count = self.recipe.batch_real // 2 * learner.num_classes
        stream = generator(self.recipe.seed, "query", step, number)
        index = torch.randint(len(learner.real), (count,), generator=stream).to(learner.real.device)
        return learner.accuracy(learner.real[index], learner.labels[index])
