"""Training a network from scratch and testing it: what scoring does n times.

Shapes: N images of C×H×W pixels, K classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_condense.machine.engine import Placed, in_pieces
from m3d_condense.machine.mapped import let_go
from m3d_condense.networks import draws, initialise
from m3d_condense.networks.foreign import Foreign
from m3d_condense.networks.trying import drawing, fewest_images
from m3d_condense.recipes.protocols import Training
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import Reporter
from m3d_condense.tools.seeds import derive, generator
from m3d_condense.training import augment

DIVERGED = -1  # in place of a class

TrainingSet = tuple[Tensor, Tensor]
"""Images N×C×H×W, uint8 or floats in [0, 1], and their labels, N int64 or N×K probabilities; both on one device."""


class Trainer:
    """One network, or several trained as one, trained from scratch again for every seed.

    Args:
        placed: takes normalised images N×C×H×W to logits N×K; placed for stacked parameters, where it is several.
        training: how it is trained.
        mean, std: of the normalisation, per channel, of values in [0, 1].
        together: how many networks are trained at once, on stacked parameters. Each has its own set, order and
            augmentation, and ends as it would alone, up to rounding.

    Attributes:
        stacked: the parameters n×… of the networks trained together, by name; empty for one.
    """

    def __init__(
        self,
        placed: Placed,
        training: Training,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        together: int = 1,
    ) -> None:
        self.placed, self.network, self.device = placed, placed.network, placed.engine.device
        self.training, self.together = training, together
        self.normalised = augment.Normalisation(mean, std, self.device)
        self.stacked: dict[str, Tensor] = {}
        self._one = placed.of(self.network)
        self._fewest: int | None = None

    def fit(
        self,
        sets: Sequence[TrainingSet],
        seeds: Sequence[int],
        steps: int,
        bar: Reporter,
        after: Callable[[int], None] = lambda taken: None,
    ) -> None:
        """Train one network per seed, at most `together`, from random initialisations.

        Args:
            sets: what each network is trained on, all of one size; batches are moved to the device.
            seeds: of each one's initialisation, order, augmentation and mixing.
            steps: how many each takes.
            bar: is advanced once a step and network.
            after: is told how many steps have been taken, from 0 on; it may test the networks.

        Raises:
            UserError: the network has nothing to train, or takes no image alone where a batch is of one.
        """
        training = self.training
        check_trainable(self.network, [one for one in self.network.parameters() if one.requires_grad])
        fewest = self.fewest(sets[0][0])
        optimizer = self.optimizer(self._refill(seeds))
        after(0)
        rates = schedule(optimizer, training, steps)
        orders = [batches(len(sets[0][0]), training, steps, seed, fewest) for seed in seeds]
        for step, indices in enumerate(zip(*orders, strict=True)):
            batch = [self._batch(*one, index) for one, index in zip(sets, indices, strict=True)]
            let_go()
            self.network.train()
            self.step(optimizer, batch, [generator(seed, "batch", step) for seed in seeds])
            rates.step()
            bar.advance(len(seeds))
            after(step + 1)

    def fewest(self, images: Tensor) -> int:
        """Return how many of these images a batch must have: 1, but where one would be alone perhaps 2.

        Raises:
            UserError: the network takes no image alone, and there is one only, or batches are to be of one.
        """
        if len(_split(torch.arange(len(images)), self.training)[-1]) > 1:
            return 1
        if self._fewest is None:
            self._fewest = fewest_images(self.network, self.normalised(images[:1].to(self.device)))
        if self._fewest > min(len(images), self.training.batch):
            raise network_error(
                self.network,
                "it cannot be trained on an image alone, as batch norm cannot; give it two or more at once",
            )
        return self._fewest

    def _batch(self, images: Tensor, labels: Tensor, index: Tensor) -> TrainingSet:
        index = index.to(images.device, non_blocking=True)
        return images[index].to(self.device), labels[index].to(self.device)

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """Return the training's SGD over these parameters."""
        training = self.training
        return torch.optim.SGD(
            parameters, lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )

    def step(
        self, optimizer: torch.optim.Optimizer, batch: Sequence[TrainingSet], streams: Sequence[torch.Generator]
    ) -> None:
        """Take one step down the loss of these batches, one a network."""
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.loss(batch, streams))
        optimizer.step()

    def loss(self, batch: Sequence[TrainingSet], streams: Sequence[torch.Generator]) -> Tensor:
        """Return the networks' cross-entropies, added up, each of its augmented, perhaps mixed, batch.

        Cross-entropy is linear in the probabilities of the labels, so the two parts of a mixed image, weighted by
        their shares, are that of the mixed labels (Yun et al., CutMix, ICCV 2019, Eq. 1), hard or soft. Both draws of
        a network come from its own stream.
        """
        inputs = self._augmented([images for images, _ in batch], streams)
        mixed = [augment.cutmix(one, stream, self.training.cutmix) for one, stream in zip(inputs, streams, strict=True)]
        with self._drawing(streams[0]):
            logits = self._logits(torch.stack([images for images, _, _ in mixed])).float()
        total = logits.new_zeros(())
        for guess, (_, labels), (_, order, share) in zip(logits, batch, mixed, strict=True):
            total = total + share * F.cross_entropy(guess, labels)
            if share < 1.0:
                total = total + (1 - share) * F.cross_entropy(guess, labels[order.to(labels.device)])
        return total

    @contextmanager
    def _drawing(self, stream: torch.Generator) -> Iterator[None]:
        """Have a network that draws at random do so from a stream."""
        if not draws(self.network):
            yield
            return
        with drawing(self.network, int(torch.randint(2**62, (), generator=stream))):
            yield

    def _augmented(self, batches: Sequence[Tensor], streams: Sequence[torch.Generator]) -> Tensor:
        """Return the networks' images n×B×C×H×W, normalised and augmented: all in one call, which a GPU wants."""
        images = torch.stack(list(batches))
        networks, count, *shape = images.shape
        size = (shape[-2], shape[-1])
        drawn = augment.draw(self.training.augmentation, count, size, *streams)
        drawn = drawn.of(range(networks * count), images.device)
        inputs = self.normalised(images).view(-1, 1, *shape)
        return augment.apply(inputs, drawn, self.normalised).view(images.shape)

    @torch.no_grad()
    def accuracies(self, images: Tensor, labels: Tensor) -> list[float]:
        """Return the share of uint8 images N×C×H×W, wherever they are, that each network names right, in percent.

        Raises:
            UserError: a network has diverged.
        """
        named = self.predictions(images)
        check_converged(named)
        return [100.0 * share for share in shares(named, labels)]

    @torch.no_grad()
    def predictions(self, images: Tensor) -> Tensor:
        """Return the class n×N, on the device, that each network names for uint8 images N×C×H×W, wherever they are.

        It is `DIVERGED` where a network makes no numbers of an image.
        """
        self.network.eval()
        count = next(iter(self.stacked.values())).shape[0] if self.stacked else 1

        def predicted(part: Tensor) -> Tensor:
            let_go()
            inputs = self.normalised(part.to(self.device))
            return classes_of(self._logits(inputs.expand(count, *inputs.shape))).T

        named: Tensor = in_pieces(predicted, images, self.placed.piece(images, count)).T
        return named

    def _refill(self, seeds: Sequence[int]) -> list[Tensor]:
        """Make the networks new random ones, and return the parameters to train."""
        self.network.train()
        states = []
        for seed in seeds:
            initialise(self.network, derive(seed, "network"))
            if self.together > 1:
                states.append({name: value.detach().clone() for name, value in self.network.named_parameters()})
        if not states:
            return list(self.network.parameters())
        trained = {name: parameter.requires_grad for name, parameter in self.network.named_parameters()}
        self.stacked = {
            name: torch.stack([state[name] for state in states]).requires_grad_(takes)
            for name, takes in trained.items()
        }
        return list(self.stacked.values())

    def _logits(self, inputs: Tensor) -> Tensor:
        """Return logits n×B×K of n networks, each for its own images n×B×C×H×W."""
        if not self.stacked:
            logits: Tensor = self._one(inputs[0])
            return logits.unsqueeze(0)

        def one(parameters: dict[str, Tensor], images: Tensor) -> Tensor:
            logits: Tensor = torch.func.functional_call(self.network, parameters, (images,))
            return logits

        dtype = self.placed.dtype
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            stacked: Tensor = torch.func.vmap(one)(self.stacked, inputs)
            return stacked


def batches(count: int, training: Training, steps: int, seed: int, fewest: int = 1) -> Iterator[Tensor]:
    """Return `steps` index batches out of endless shuffled passes over `count` images, as the training has them.

    A short last one of less than `fewest`, 1 or 2, is given the first image of its pass beside its own.
    """
    stream = generator(seed, "order")

    def one_pass() -> list[Tensor]:
        order = torch.randperm(count, generator=stream)
        *parts, last = _split(order, training)
        return [*parts, last if len(last) >= fewest else torch.cat((last, order[:1]))]

    passes = (one_pass() for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(passes), steps)


def _split(order: Tensor, training: Training) -> Sequence[Tensor]:
    """Return a pass in this order as batches, of which none is shorter than the last."""
    if training.even:
        return order.tensor_split(math.ceil(len(order) / training.batch))
    return torch.split(order, training.batch)


def schedule(optimizer: torch.optim.Optimizer, training: Training, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the training's rates over so many steps."""
    if training.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, training.lr, total_steps=steps + 1, cycle_momentum=False)
    milestones = [max(round(share * steps), 1) for share in training.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=training.decay)


def check_trainable(network: nn.Module, trainable: Sequence[Tensor]) -> None:
    """Raise `UserError` unless there are parameters of the network that training may change."""
    if not trainable:
        raise network_error(network, "it has nothing to train: none of its parameters takes gradients (requires_grad)")


def network_error(network: nn.Module, said: str) -> UserError:
    """Return what is said of a network, by its name where it is someone else's."""
    name = network.name if isinstance(network, Foreign) else type(network).__name__
    return UserError(said, setting="network", value=name)


def classes_of(logits: Tensor) -> Tensor:
    """Return the class … that each row of logits …×K names, int64; `DIVERGED` where they are no numbers."""
    named: Tensor = torch.where(logits.isfinite().all(-1), logits.argmax(-1), DIVERGED)
    return named


def shares(named: Tensor, labels: Tensor) -> list[float]:
    """Return the share in [0, 1] that each of n networks names right, of classes n×N and labels N."""
    right: list[float] = (named == labels.to(named.device)).float().mean(1).tolist()
    return right


def check_converged(named: Tensor) -> None:
    """Raise `UserError` where a network named no class."""
    if bool((named == DIVERGED).any()):
        raise UserError("a network has diverged: what it makes of images are no numbers")
