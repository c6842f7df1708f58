"""What a data set is read as: counts, sizes, levels and notices, and a few images of each class.

Legend: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m3d_condense.data.dataset import ImageDataset, Split, chunks

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The values of one channel over all images of a split, of 0 to 255."""

    channel: str
    least: int
    greatest: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known of a data set once it is read; JSON-able by `dataclasses.asdict`.

    Attributes:
        name: of the data set.
        classes: the K class names.
        counts: for each split, images of each class.
        height, width: of all images, in pixels.
        mode: "grey" or "RGB".
        levels: for each split, of each channel.
        mirrored: whether images may be mirrored, as far as is known.
        nbytes: of all pixels in memory.
        fingerprint: of all pixels and labels.
        notices: that were given while it was read.
    """

    name: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    height: int
    width: int
    mode: str
    levels: dict[str, tuple[Levels, ...]]
    mirrored: bool
    nbytes: int
    fingerprint: str
    notices: tuple[str, ...]


def inspect(dataset: ImageDataset, notices: Sequence[str] = ()) -> Inspection:
    """Look at all images of a data set, and keep the notices that were given while it was read."""
    splits = {"train": dataset.train, "test": dataset.test}
    counts = {name: torch.bincount(split.labels, minlength=dataset.num_classes) for name, split in splits.items()}
    return Inspection(
        name=dataset.name,
        classes=dataset.class_names,
        counts={name: tuple(count.tolist()) for name, count in counts.items()},
        height=dataset.size[0],
        width=dataset.size[1],
        mode="grey" if dataset.channels == 1 else "RGB",
        levels={name: levels(split.images) for name, split in splits.items()},
        mirrored=dataset.mirrored,
        nbytes=sum(split.images.nbytes for split in splits.values()),
        fingerprint=dataset.fingerprint,
        notices=tuple(notices),
    )


def levels(images: Tensor) -> tuple[Levels, ...]:
    """Return the least, the greatest and the mean level of each channel of images, uint8 N×C×H×W."""
    axes = (0, 2, 3)
    found = [(chunk.amin(axes), chunk.amax(axes), chunk.sum(axes)) for chunk in chunks(images)]
    lows, highs, sums = (torch.stack(kind) for kind in zip(*found, strict=True))
    least, greatest, total = lows.amin(0).tolist(), highs.amax(0).tolist(), sums.sum(0)
    mean = (total.double() / images[:, 0].numel()).tolist()
    rows = zip(CHANNELS[images.shape[1]], least, greatest, mean, strict=True)
    return tuple(Levels(channel=name, least=low, greatest=high, mean=middle) for name, low, high, middle in rows)


def examples(dataset: ImageDataset, count: int) -> Split:
    """Return the first `count` training images of each class, class by class; fewer where there are fewer."""
    members = [torch.nonzero(dataset.train.labels == number).flatten() for number in range(dataset.num_classes)]
    return dataset.train[torch.cat([indices[:count] for indices in members])]
