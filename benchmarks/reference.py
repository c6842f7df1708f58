"""M3D as a plain loop, the way the public code of this field is written: one class after another, eager, float32.

It shares no line with the package, so that it can stand for what a user would otherwise run, and so that
tests/test_benchmarks.py can hold the package to it. Where the public programs differ among themselves, the
cheaper form stands here: network weights are frozen, real images are normalised once beforehand and embedded
without a graph, and the crop is a slice.

Shapes: K classes, N real and M stored synthetic images per class, C×H×W pixels, factor l, D features.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

ITERATIONS_PER_MODEL = 5
BATCH_SYNTHETIC = 200
CROP, CUTOUT = 0.125, 0.5


class ConvNet(nn.Module):
    """The field's ConvNet: blocks of convolution, instance norm (as GroupNorm), ReLU, average pooling; a classifier."""

    def __init__(self, channels: int, num_classes: int, side: int, width: int = 128) -> None:
        super().__init__()
        depth = int(math.log2(side)) - 2
        layers: list[nn.Module] = []
        for index in range(depth):
            layers.append(nn.Conv2d(channels if index == 0 else width, width, kernel_size=3, padding=1))
            layers.append(nn.GroupNorm(width, width, affine=True))
            layers.append(nn.ReLU(inplace=True))
            layers.append(nn.AvgPool2d(kernel_size=2, stride=2))
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * (side >> depth) ** 2, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return features N×D of normalised images N×C×H×W."""
        out = self.layers(images)
        return out.view(out.size(0), -1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits N×K."""
        return self.classifier(self.embed(images))


@dataclass(frozen=True)
class Draw:
    """One class's augmentation: colour factors, a shift and the first row and column of the hole, in pixels."""

    brightness: float
    saturation: float
    contrast: float
    shift: tuple[int, int]
    hole: tuple[int, int]

    @classmethod
    def at_random(cls, side: int) -> Draw:
        """Draw within the ranges of DSA and IDC, from Python's global generator."""
        reach, half = int(side * CROP + 0.5), int(side * CUTOUT + 0.5) // 2
        return cls(
            brightness=random.random() - 0.5,
            saturation=2 * random.random(),
            contrast=random.random() + 0.5,
            shift=(random.randint(-reach, reach), random.randint(-reach, reach)),
            hole=(random.randint(0, side) - half, random.randint(0, side) - half),
        )


def augment(images: Tensor, draw: Draw) -> Tensor:
    """Apply colour, crop and cutout to normalised images N×C×H×W, all with the same draw."""
    side = images.shape[-1]
    images = images + draw.brightness
    mean = images.mean(dim=1, keepdim=True)
    images = (images - mean) * draw.saturation + mean
    mean = images.mean(dim=[1, 2, 3], keepdim=True)
    images = (images - mean) * draw.contrast + mean
    pad, (down, right) = int(side * CROP + 0.5), draw.shift
    padded = F.pad(images, (pad, pad, pad, pad))
    images = padded[:, :, pad + down : pad + down + side, pad + right : pad + right + side]
    extent, (top, left) = int(side * CUTOUT + 0.5), draw.hole
    mask = torch.ones(side, side, device=images.device)
    mask[max(top, 0) : max(top + extent, 0), max(left, 0) : max(left + extent, 0)] = 0
    return images * mask


def decode(images: Tensor, factor: int) -> Tensor:
    """Cut stored images M×C×H×W into l×l tiles and enlarge each: (M·l²)×C×H×W, tile by tile."""
    if factor == 1:
        return images
    side = images.shape[-1]
    tile = math.ceil(side / factor)
    images = F.pad(images, (0, tile * factor - side, 0, tile * factor - side), value=0.5)
    tiles = []
    for row in range(factor):
        for column in range(factor):
            tiles.append(images[:, :, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile])
    return F.interpolate(torch.cat(tiles), size=(side, side), mode="bilinear", align_corners=False)


def mmd(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the biased squared MMD of features N×D and M×D under five Gaussians (M3D, Eq. 9), via all pairs."""
    total = torch.cat([real, synthetic])
    distances = torch.cdist(total, total) ** 2
    count = len(total)
    bandwidth = distances.detach().sum() / (count**2 - count)
    kernels = sum(torch.exp(-distances / (bandwidth * multiple)) for multiple in (0.25, 0.5, 1.0, 2.0, 4.0))
    n = len(real)
    return kernels[:n, :n].mean() + kernels[n:, n:].mean() - 2 * kernels[:n, n:].mean()  # type: ignore[index]


def class_loss(network: ConvNet, real: Tensor, synthetic: Tensor, draw: Draw) -> Tensor:
    """Return one class's loss for normalised images N×C×H×W and M×C×H×W."""
    with torch.no_grad():
        target = network.embed(augment(real, draw))
    return mmd(target, network.embed(augment(synthetic, draw)))


class PlainLoop:
    """The loop's state: real images as a list of float32 tensors, one synthetic tensor, one optimiser.

    Args:
        images: uint8 N×C×side×side.
        labels: int64 N in 0..K-1.
        ipc: stored images per class.
        factor: l.
        batch_real: real images per class and step.
        device: where the network and the synthetic images live; real batches are moved there one by one.
        start: uint8 (K·ipc)×C×side×side, class by class, that the synthetic images start from; by default noise.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        ipc: int,
        factor: int,
        batch_real: int,
        device: str,
        start: Tensor | None = None,
    ) -> None:
        values = images.float().div_(255)
        self.mean, self.std = values.mean((0, 2, 3)).view(-1, 1, 1), values.std((0, 2, 3)).view(-1, 1, 1)
        self.images = list(values.sub_(self.mean).div_(self.std))
        self.num_classes = int(labels.max()) + 1
        self.members = [torch.nonzero(labels == k).flatten().tolist() for k in range(self.num_classes)]
        self.ipc, self.factor, self.batch_real, self.device = ipc, factor, batch_real, device
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        self.channels, self.side = images.shape[1], images.shape[-1]
        shape = (self.num_classes * ipc, self.channels, self.side, self.side)
        begun = torch.rand(shape, device=device) if start is None else start.to(device).float() / 255
        self.synthetic = begun.requires_grad_()
        self.optimizer = torch.optim.SGD([self.synthetic], lr=float(ipc), momentum=0.5)
        self.iteration = 0

    def step(self) -> float:
        """Make one iteration over all classes; return the mean loss."""
        if self.iteration % ITERATIONS_PER_MODEL == 0:
            self.network = ConvNet(self.channels, self.num_classes, self.side).to(self.device)
            self.network.train()
        total = 0.0
        for k in range(self.num_classes):
            loss = self.loss(k)
            self.optimizer.zero_grad()
            loss.backward(inputs=[self.synthetic])
            self.optimizer.step()
            total += loss.item()
        with torch.no_grad():
            self.synthetic.clamp_(0.0, 1.0)
        self.iteration += 1
        return total / self.num_classes

    def loss(self, k: int) -> Tensor:
        """Return the loss of class k's images; no weight takes a gradient."""
        for parameter in self.network.parameters():
            parameter.requires_grad = False
        return class_loss(self.network, self.draw_real(k), self.draw_synthetic(k), Draw.at_random(self.side))

    def draw_real(self, k: int) -> Tensor:
        """Gather a batch of class k, image by image."""
        chosen = random.sample(self.members[k], min(self.batch_real, len(self.members[k])))
        return torch.stack([self.images[index] for index in chosen]).to(self.device)

    def draw_synthetic(self, k: int) -> Tensor:
        """Decode and normalise class k's images, at most `BATCH_SYNTHETIC` of them."""
        decoded = decode(self.synthetic[k * self.ipc : (k + 1) * self.ipc], self.factor)
        if len(decoded) > BATCH_SYNTHETIC:
            decoded = decoded[torch.randperm(len(decoded))[:BATCH_SYNTHETIC].to(self.device)]
        return (decoded - self.mean) / self.std
