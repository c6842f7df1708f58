"""Training the one network of a run in place, a few steps at a time, on real or on synthetic images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.networks import set_encoding
from m3d_condense.recipes.protocols import Training
from m3d_condense.tools.progress import Reporter
from m3d_condense.tools.seeds import derive, generator
from m3d_condense.training.trainer import Trainer, batches, check_trainable, shares


class Learner:
    """An encoder and what trains it; its weights take gradients only here.

    Args:
        material: the encoder, and the real images and labels it may be trained on.
        training: how.

    Raises:
        UserError: the network has nothing to train.
    """

    def __init__(self, material: Material, training: Training) -> None:
        self.encoder, self.training, self.real = material.encoder, training, material.real
        dataset = material.dataset
        self.labels, self.num_classes = dataset.train.labels.to(self.real.device), dataset.num_classes
        check_trainable(self.encoder.network, self.encoder.trainable)
        self.trainer = Trainer(self.encoder.placed, training, dataset.mean, dataset.std)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Begin with a new optimiser: no momentum."""
        self.optimizer = self.trainer.optimizer(list(self.encoder.network.parameters()))

    def from_scratch(self, seed: int, steps: int, bar: Reporter, after: Callable[[int], None]) -> None:
        """Train from a random initialisation through a schedule of so many steps, on all real images.

        `after` is told how many steps have been taken, from 0 on.
        """
        self._free()
        self.trainer.fit([(self.real, self.labels)], [seed], steps, bar, after)
        self._freeze()

    def learn_real(self, steps: int, seed: int) -> None:
        """Take SGD steps on random batches of real images."""
        count, size = len(self.real), min(self.training.batch, len(self.real))
        if size == 1:
            self.trainer.fewest(self.real)
        stream, device = generator(seed, "order"), self.real.device
        drawn = (torch.randint(count, (size,), generator=stream).to(device) for _ in range(steps))
        self._learn(((self.real[index], self.labels[index]) for index in drawn), seed)

    def learn_synthetic(self, images: Tensor, labels: Tensor, steps: int, seed: int) -> None:
        """Take SGD steps on the synthetic images, decoded, in shuffled passes."""
        order = batches(len(images), self.training, steps, seed, self.trainer.fewest(images))
        self._learn(((images[index], labels[index]) for index in (i.to(images.device) for i in order)), seed)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share in [0, 1] of these images (N×C×H×W, uint8) that the network names right."""
        share = shares(self.trainer.predictions(images), labels)[0]
        set_encoding(self.encoder.network)
        return share

    def state(self) -> dict[str, Tensor]:
        """Return copies of the network's tensors and of the momentum, by name."""
        tensors = {f"network.{name}": value for name, value in self.encoder.network.state_dict().items()}
        for name, parameter in self.encoder.network.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        return {name: value.detach().clone() for name, value in tensors.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put such a state back in place.

        Raises:
            KeyError, ValueError: it is not of this network.
        """
        self.reset_optimizer()
        held = self.encoder.network.state_dict()
        moved = {f"momentum.{name}": value for name, value in self.encoder.network.named_parameters()}
        _check(state, {f"network.{name}": value for name, value in held.items()} | moved)
        for name, parameter in self.encoder.network.named_parameters():
            momentum = state.get(f"momentum.{name}")
            if momentum is not None:
                # As torch's SGD keeps it: on the parameter's device, in its memory format.
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        with torch.no_grad():
            for name, tensor in held.items():
                tensor.copy_(state[f"network.{name}"])

    def _learn(self, some: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
        self._free()
        device = self.trainer.device
        for step, (images, labels) in enumerate(some):
            stream = generator(derive(seed, "batch"), step)
            self.trainer.step(self.optimizer, [(images.to(device), labels.to(device))], [stream])
        self._freeze()

    def _free(self) -> None:
        self.encoder.network.train()
        for parameter in self.encoder.trainable:
            parameter.requires_grad_(True)

    def _freeze(self) -> None:
        self.encoder.network.requires_grad_(False)
        set_encoding(self.encoder.network)


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless every tensor of a state is one of the expected in its type and shape."""
    for name, value in state.items():
        if name not in expected or (value.dtype, value.shape) != (expected[name].dtype, expected[name].shape):
            raise ValueError(f"{name} is not of this network")


class LearningSource(EncoderSource):
    """A source whose networks are trained from step to step.

    Args:
        material: what it is made of.
        training: how its networks are trained.
    """

    def __init__(self, material: Material, training: Training) -> None:
        super().__init__(material)
        self.learner = Learner(material, training)

    @property
    def real(self) -> Tensor:
        """The training images N×C×H×W."""
        return self.learner.real
