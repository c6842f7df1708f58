"""Moments of features: how far those of a set are from those of the real training images.

Shapes: N images of one class, D features, C×H×W pixels.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.view import BLOCK, Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.costs import FORWARD
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.given import Architecture, checked
from m3d_condense.recipes.recipe import MOST_NETWORKS, check_count
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.source import source_of
from m3d_condense.tools.cache import kept
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import progress
from m3d_condense.tools.seeds import derive
from m3d_condense.training.augment import Normalisation, check_images

__all__ = ["MomentDistances", "feature_moments", "moment_distances"]

REPEATS = 5  # random networks whose features are compared
Images = tuple[Tensor, Tensor]
"""Images N×C×H×W, uint8 or floats in [0, 1], and their labels N."""


@dataclass(frozen=True, kw_only=True)
class MomentDistances:
    """Distances between the moments of a set's features and those of the real training images.

    Each is the Euclidean distance over the D features, averaged over the classes.

    Attributes:
        network: architecture of the random networks.
        means, variances, skewnesses: the distances, one for each network.
    """

    network: str
    means: list[float]
    variances: list[float]
    skewnesses: list[float]

    @property
    def n(self) -> int:
        """How many networks they were measured with."""
        return len(self.means)

    @property
    def mean(self) -> float:
        """Distance of the means (first order), averaged over the networks."""
        return statistics.fmean(self.means)

    @property
    def variance(self) -> float:
        """Distance of the variances (second order), averaged over the networks."""
        return statistics.fmean(self.variances)

    @property
    def skewness(self) -> float:
        """Distance of the skewnesses (third order), averaged over the networks."""
        return statistics.fmean(self.skewnesses)


@checked
@torch.no_grad()
def moment_distances(
    subject: CondensedSet | ImageDataset | Images | str | Path,
    data: Any = None,
    *,
    network: Architecture = "convnet",
    repeats: int = REPEATS,
    seed: int = 0,
    execution: Execution | None = None,
) -> MomentDistances:
    """Compare the moments of a set's features, class by class, with those of all real training images.

    The first three columns of Table 1 of M3D (Zhang et al., AAAI 2024), which does not say how they are scaled. Here
    they are the distances of the means, the variances and the skewnesses (see `feature_moments`), averaged over the
    classes and over random networks. Images are normalised and not augmented; a condensed set is decoded.

    Args:
        subject: a condensed set or its folder, which may hold a selection of real images; a data set, of which the
            training split is taken; or images and their labels.
        data: where the real training images come from: anything `load` takes; by default the source that a condensed
            set names.
        network: architecture.
        repeats: how many random networks.
        seed: of the networks; the r-th is the same for any set.
        execution: device, precision, compilation.

    Raises:
        UserError: for settings that cannot be used, data that do not fit the set, or a class without images.
    """
    check_count("repeats", repeats, least=1, most=MOST_NETWORKS)
    if isinstance(subject, str | Path):
        subject = CondensedSet.load(subject)
    dataset = source_of(subject, data) if isinstance(subject, CondensedSet) else _real(data)
    images, labels = _checked(_images(subject), dataset)
    assert isinstance(network, str)  # `checked` has named it
    measure = _Measure(dataset, network, repeats * (len(dataset.train) + len(labels)), seed, execution)
    found = []
    with progress("Comparing moments", repeats, unit="networks") as bar:
        for repeat in range(repeats):
            real = measure.real(repeat)
            ours = measure.moments(images, labels, repeat)
            found.append((ours - real).norm(dim=2).mean(0).tolist())
            bar.advance()
    means, variances, skewnesses = (list(column) for column in zip(*found, strict=True))
    return MomentDistances(network=network, means=means, variances=variances, skewnesses=skewnesses)


def feature_moments(features: Tensor) -> Tensor:
    """Return the mean, the variance and the skewness of each feature, 3×D.

    The variance divides by N. The skewness is the third central moment over the variance to the power 3/2, and 0 for a
    feature that is the same in all images.

    Args:
        features: N×D.
    """
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    variance, third = centred.square().mean(0), centred.pow(3).mean(0)
    constant = variance <= torch.finfo(torch.float32).eps ** 2 * features.square().mean(0)
    skewness = torch.where(constant, 0.0, third / variance.clamp_min(torch.finfo(torch.float64).tiny) ** 1.5)
    return torch.stack((mean, variance, skewness))


def _real(data: Any) -> ImageDataset:
    if data is None:
        raise UserError("only a condensed set names its source; give the real images as data")
    return load(data)


def _images(subject: CondensedSet | ImageDataset | Images) -> Images:
    """Return the images that a network would train on, and their labels."""
    if isinstance(subject, CondensedSet):
        return subject.decode()
    if isinstance(subject, ImageDataset):
        return subject.train.images, subject.train.labels
    if not isinstance(subject, Sequence) or len(subject) != 2 or not all(isinstance(x, Tensor) for x in subject):
        raise UserError("give a condensed set, its folder, a data set from load(), or tensors (images, labels)")
    return subject


def _checked(given: Images, dataset: ImageDataset) -> Images:
    """Raise `UserError` unless images and labels are of the shape and the classes of the data."""
    images, labels = given
    check_images(images, dataset.channels)
    shape = tuple(dataset.train.images.shape[1:])
    if tuple(images.shape[1:]) != shape or labels.shape != images.shape[:1]:
        found = f"images of {tuple(images.shape)} and labels of {tuple(labels.shape)}"
        raise UserError(f"{found}, not N×{'×'.join(map(str, shape))} and N as those of {dataset.name}")
    known = not labels.is_floating_point() and len(labels) > 0 and int(labels.min()) >= 0
    counts = labels.bincount(minlength=dataset.num_classes) if known else labels.new_zeros(1)
    if len(counts) > dataset.num_classes or not counts.all():
        raise UserError(f"the set does not have an image of each of the {dataset.num_classes} classes, and no others")
    return images, labels


class _Measure:
    """Moments under random networks, in which an image's features depend on no other image.

    Args:
        dataset: the real images.
        network: architecture.
        images: how many will go through it.
        seed: of the networks.
        execution: what it runs on.
    """

    def __init__(
        self, dataset: ImageDataset, network: str, images: int, seed: int, execution: Execution | None
    ) -> None:
        self.dataset, self.network, self.seed = dataset, network, seed
        built = networks.build(network, **dataset.shape)
        engine = Engine(execution)
        placed = engine.place(built, dataset.example, images * FORWARD)
        self.encoder, self.device, self.arithmetic = Encoder(placed), engine.device, placed.arithmetic
        self.encoder.network.eval()
        self.normalised = Normalisation(dataset.mean, dataset.std, engine.device)

    def moments(self, images: Tensor, labels: Tensor, repeat: int) -> Tensor:
        """Return the moments of each class's features, K×3×D, under the random network of that number."""
        self.encoder.refill(derive(self.seed, "moments", repeat))
        found = []
        for number in range(self.dataset.num_classes):
            features = self.encoder.features_in_blocks(torch.split(images[labels == number], BLOCK), self.normalised)
            found.append(feature_moments(features.cpu()))
        return torch.stack(found)

    def real(self, repeat: int) -> Tensor:
        """Return the moments of the real training images, which are computed once for all sets, and kept."""
        split = self.dataset.train
        made_from = {
            "fingerprint": self.dataset.fingerprint,
            "network": self.network,
            "seed": self.seed,
            "arithmetic": self.arithmetic,
            **networks.code_of(self.encoder.network),
        }
        return kept(
            "moments",
            made_from,
            repeat,
            lambda: {"moments": self.moments(split.images, split.labels, repeat)},
        )["moments"]
