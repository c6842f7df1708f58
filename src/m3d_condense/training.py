"""Training a network from scratch and testing it: what scoring does n times.

Shapes: N images of C×H×W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_condense import augment
from m3d_condense.engine import Engine, in_pieces
from m3d_condense.networks import initialise
from m3d_condense.progress import Reporter
from m3d_condense.protocols import Protocol
from m3d_condense.seeds import derive, generator


class Trainer:
    """One network, compiled once, that is trained from scratch again for every seed.

    Args:
        network: takes normalised images N×C×H×W to logits N×K.
        engine: where and how it runs.
        compiled: whether to compile it.
        protocol: how it is trained.
        mean, std: of the normalisation, per channel, of values in [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        engine: Engine,
        compiled: bool,
        protocol: Protocol,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        self.network = engine.place(network, compiled)
        self.engine, self.protocol = engine, protocol
        self._logits = engine.compiled(self.network, compiled)
        self.mean, self.std = (torch.tensor(v, device=engine.device).view(-1, 1, 1) for v in (mean, std))

    def fit(self, images: Tensor, labels: Tensor, seed: int, bar: Reporter) -> None:
        """Train from a random initialisation.

        Every step takes a full batch, so that one shape is compiled: where the batch does not divide the set,
        the next pass begins inside a batch. The number of steps is that of the field's loops.

        Args:
            images: N×C×H×W on the device: uint8, or floats in [0, 1].
            labels: N int64 on the device.
            seed: of the initialisation, the order, the augmentation and the mixing.
            bar: is advanced once a step.
        """
        protocol = self.protocol
        initialise(self.network, derive(seed, "network"))
        self.network.train()
        steps = protocol.steps(len(images))
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=protocol.lr,
            momentum=protocol.momentum,
            weight_decay=protocol.weight_decay,
            fused=True,
        )
        schedule = _schedule(optimizer, protocol, steps)
        for step, index in enumerate(batches(len(images), protocol.batch, steps, seed)):
            index = index.to(self.engine.device, non_blocking=True)
            loss = self.loss(images[index], labels[index], generator(seed, "batch", step))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            bar.advance()

    def loss(self, images: Tensor, labels: Tensor, stream: torch.Generator) -> Tensor:
        """Return the cross-entropy of one augmented, perhaps mixed, batch; both draws come from `stream`."""
        protocol = self.protocol
        size = (images.shape[-2], images.shape[-1])
        drawn = augment.draw(protocol.augmentation, len(images), size, stream, protocol.augmentation_draw)
        drawn = drawn.of(range(len(images)), images.device)
        inputs = augment.apply(self.normalised(images).unsqueeze(1), drawn).squeeze(1)
        inputs, order, share = augment.cutmix(inputs, stream, protocol.cutmix)
        logits = self._logits(inputs).float()
        if share == 1.0:
            return F.cross_entropy(logits, labels)
        other = labels[order.to(labels.device)]
        return share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, other)

    def normalised(self, images: Tensor) -> Tensor:
        """Return float32 images less the mean, over the standard deviation."""
        values = images.float() / 255 if images.dtype == torch.uint8 else images
        return (values - self.mean) / self.std

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of uint8 images N×C×H×W on the device that the network names right, in percent."""
        self.network.eval()
        predicted = in_pieces(lambda part: self._logits(self.normalised(part)).argmax(1), images, self.engine.piece)
        return 100.0 * float((predicted == labels).float().mean())


def batches(count: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield `steps` index batches of min(batch, count) out of endless shuffled passes over `count` images."""
    size = min(batch, count)
    stream = generator(seed, "order")
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(left) < size:
            left = torch.cat((left, torch.randperm(count, generator=stream)))
        yield left[:size]
        left = left[size:]


def _schedule(optimizer: torch.optim.Optimizer, protocol: Protocol, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if protocol.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, protocol.lr, total_steps=steps + 1, cycle_momentum=False)
    milestones = [round(share * steps) for share in protocol.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=protocol.decay)
