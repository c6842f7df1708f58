"""Training on a condensed set as a plain loop: a DataLoader, DSA-style augmentation, CutMix, SGD; eager, float32.

It shares no line with the package. Of the augmentation, colour and flip are always applied and one of crop, scale
and rotation is drawn a batch, as in the IDC protocol; each image has parameters of its own.
"""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.reference import CROP, ConvNet

SCALE, ROTATE = 1.2, 15.0
CUTMIX = 0.5
_MIXING = np.random.default_rng(0)


def per_image(images: Tensor) -> Tensor:
    """Draw one uniform number an image, N×1×1×1."""
    return torch.rand(images.size(0), 1, 1, 1, device=images.device)


def color(images: Tensor) -> Tensor:
    """Change brightness, saturation and contrast of normalised images N×C×H×W."""
    images = images + (per_image(images) - 0.5)
    mean = images.mean(dim=1, keepdim=True)
    images = (images - mean) * (per_image(images) * 2) + mean
    mean = images.mean(dim=[1, 2, 3], keepdim=True)
    return (images - mean) * (per_image(images) + 0.5) + mean


def crop(images: Tensor) -> Tensor:
    """Shift every image by whole pixels: pad, then gather by index."""
    count, _, height, width = images.shape
    pad = int(height * CROP + 0.5)
    down = torch.randint(-pad, pad + 1, size=[count, 1, 1], device=images.device)
    right = torch.randint(-pad, pad + 1, size=[count, 1, 1], device=images.device)
    batch, rows, columns = torch.meshgrid(
        torch.arange(count, device=images.device),
        torch.arange(height, device=images.device),
        torch.arange(width, device=images.device),
        indexing="ij",
    )
    rows = torch.clamp(rows + down + 1, 0, height + 1)
    columns = torch.clamp(columns + right + 1, 0, width + 1)
    padded = F.pad(images, [1, 1, 1, 1])
    return padded.permute(0, 2, 3, 1).contiguous()[batch, rows, columns].permute(0, 3, 1, 2)


def scale(images: Tensor) -> Tensor:
    """Stretch height and width independently by at most `SCALE`."""
    factors = torch.rand(images.size(0), 2, device=images.device) * (SCALE - 1 / SCALE) + 1 / SCALE
    theta = [[[sx, 0, 0], [0, sy, 0]] for sx, sy in factors.tolist()]
    grid = F.affine_grid(torch.tensor(theta, device=images.device), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def rotate(images: Tensor) -> Tensor:
    """Rotate by at most `ROTATE` degrees."""
    angles = (torch.rand(images.size(0), device=images.device) - 0.5) * 2 * ROTATE / 180 * float(np.pi)
    theta = [
        [[torch.cos(angle), torch.sin(-angle), 0], [torch.sin(angle), torch.cos(angle), 0]]
        for angle in angles  # one image after another, as the public code has it
    ]
    grid = F.affine_grid(torch.tensor(theta, device=images.device), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def flip(images: Tensor) -> Tensor:
    """Mirror half of the images."""
    return torch.where(per_image(images) < 0.5, images.flip(3), images)


def augment(images: Tensor) -> Tensor:
    """Apply colour and flip, and one of crop, scale and rotation, to normalised images N×C×H×W."""
    one = random.choice((crop, scale, rotate))
    return one(flip(color(images))).contiguous()  # as DSA's does; the gather of crop leaves channels last


def cutmix_box(height: int, width: int, share: float) -> tuple[int, int, int, int]:
    """Return the first and one past the last row, then column, of a box of about 1 - share of the image."""
    cut_h, cut_w = int(height * np.sqrt(1 - share)), int(width * np.sqrt(1 - share))
    cy, cx = random.randint(0, height - 1), random.randint(0, width - 1)
    top, bottom = max(cy - cut_h // 2, 0), min(cy + cut_h // 2, height)
    left, right = max(cx - cut_w // 2, 0), min(cx + cut_w // 2, width)
    return top, bottom, left, right


class PlainTrainer:
    """A network in training on normalised images N×3×H×W with labels N, batch by batch."""

    def __init__(self, images: Tensor, labels: Tensor, num_classes: int, batch: int, device: str) -> None:
        self.loader = DataLoader(TensorDataset(images, labels), batch_size=batch, shuffle=True)
        self.network = ConvNet(3, num_classes, images.shape[-1]).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.criterion, self.device = nn.CrossEntropyLoss().to(device), device

    def epoch(self) -> tuple[float, float]:
        """Train on every image once; return the mean loss and the share of right answers."""
        self.network.train()
        total, right, seen = 0.0, 0, 0
        for images, labels in self.loader:
            images, labels = augment(images.to(self.device)), labels.to(self.device)
            if random.random() < CUTMIX:
                loss, output = self.mixed(images, labels)
            else:
                output = self.network(images)
                loss = self.criterion(output, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total, seen = total + loss.item() * len(labels), seen + len(labels)
            right += int((output.argmax(1) == labels).sum().item())
        return total / seen, right / seen

    def mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits of a batch with boxes pasted from its own images."""
        order = torch.randperm(images.size(0), device=self.device)
        top, bottom, left, right = cutmix_box(images.size(2), images.size(3), float(_MIXING.beta(1.0, 1.0)))
        images[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (images.size(2) * images.size(3))
        output = self.network(images)
        loss = self.criterion(output, labels) * share + self.criterion(output, labels[order]) * (1 - share)
        return loss, output
