"""A queue of networks in training on real images, one of which is the encoder of each step."""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_condense.condensing.encoders.learner import LearningSource
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.seeds import derive, generator


class QueueEncoders(LearningSource):
    """IDM's enriched model sampling (Zhao et al., CVPR 2023, Section 3.3).

    Every `iterations_per_model` steps a random network joins the queue; past `encoder_count` the oldest leaves. The
    encoder of a step is one of them at random, trusted by its accuracy in training; after the step, two at random take
    `encoder_steps` steps on real images.
    """

    FIRST, TRAINED = 3, 2  # networks at the start; networks trained after a step

    def __init__(self, material: Material) -> None:
        recipe = material.recipe
        training = Training(batch=recipe.encoder_batch, lr=recipe.encoder_lr, weight_decay=recipe.encoder_weight_decay)
        super().__init__(material, training)
        self._members: list[dict[str, Tensor]] = []
        self._born = 0
        for _ in range(min(self.FIRST, recipe.encoder_count)):
            self._push()

    @staticmethod
    def training_images(recipe: Recipe) -> float:
        """Return the images of `encoder_steps` of two networks after each step."""
        return recipe.iterations * recipe.encoder_steps * recipe.encoder_batch * QueueEncoders.TRAINED

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step: a random member of the queue, after a new one has joined."""
        if step % self.recipe.iterations_per_model == 0:
            self._push()
        stream = generator(self.recipe.seed, "member", step)
        member = self._members[int(torch.randint(len(self._members), (1,), generator=stream))]
        self.encoder.confidence = self._load(member)
        return self.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Train two members of the queue."""
        order = torch.randperm(len(self._members), generator=generator(self.recipe.seed, "trained", step))
        for number in order[: self.TRAINED].tolist():
            self._load(self._members[number])
            seed = derive(self.recipe.seed, "train", step, number)
            self.learner.learn_real(self.recipe.encoder_steps, seed)
            stream = generator(seed, "accuracy")
            real, labels = self.learner.real, self.learner.labels
            index = torch.randint(len(real), (self.recipe.encoder_batch,), generator=stream).to(real.device)
            accuracy = torch.tensor(self.learner.accuracy(real[index], labels[index]))
            self._members[number] = self.learner.state() | {"accuracy": accuracy}

    def state(self) -> dict[str, Tensor]:
        """Return all members."""
        members = enumerate(self._members)
        tensors = {f"{number}.{name}": value for number, member in members for name, value in member.items()}
        return tensors | {"born": torch.tensor(self._born)}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on with these members."""
        self._born = int(state["born"])
        count = len({name.split(".")[0] for name in state if name != "born"})
        if not 1 <= count <= self.recipe.encoder_count:
            raise ValueError(f"{count} networks in the queue")
        self._members = [
            {name.partition(".")[2]: value for name, value in state.items() if name.startswith(f"{number}.")}
            for number in range(count)
        ]
        for member in self._members:
            self._load(member)

    def _load(self, member: dict[str, Tensor]) -> float:
        """Make the network this member; return its accuracy in training."""
        self.learner.restore({name: value for name, value in member.items() if name != "accuracy"})
        return float(member["accuracy"])

    def _push(self) -> None:
        self.encoder.refill(derive(self.recipe.seed, "encoder", self._born))
        self.learner.reset_optimizer()
        self._members.append(self.learner.state() | {"accuracy": torch.tensor(0.0)})
        self._members = self._members[-self.recipe.encoder_count :]
        self._born += 1
