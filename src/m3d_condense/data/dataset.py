"""Labelled images in two splits, as 8-bit tensors.

Legend: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict, overload

import torch
from torch import Tensor

from m3d_condense.machine.mapped import file_of, let_go
from m3d_condense.recipes.given import checked
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.defaults import torchs_own
from m3d_condense.tools.progress import progress

CHUNK = 1024  # images taken at a time


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor in pieces; of one that is mapped from a file, tell of it, and leave nothing in memory behind."""
    pieces = torch.split(tensor, CHUNK)
    if file_of(tensor) is None:
        yield from pieces
        return
    with progress("Looking through the images", len(tensor), unit="images") as bar:
        for piece in pieces:
            yield piece
            let_go()
            bar.advance(len(piece))


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """N images, uint8 N×C×H×W with C in {1, 3}, and their labels, int64 N in 0..K-1.

    A number gives an image and its label, as torch's data sets do; a slice or a tensor of numbers gives a part.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.images.shape[1] in (1, 3), self.images.shape
        assert self.labels.dtype == torch.int64, self.labels.dtype
        assert self.labels.shape == self.images.shape[:1], (self.labels.shape, self.images.shape)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        channels, height, width = self.images.shape[1:]
        return f"Split({len(self):,} images of {channels}×{height}×{width})"

    @overload
    def __getitem__(self, indices: int) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, indices: Tensor | slice) -> Split: ...

    def __getitem__(self, indices: int | Tensor | slice) -> tuple[Tensor, Tensor] | Split:
        if isinstance(indices, int):
            return self.images[indices], self.labels[indices]
        return Split(images=self.images[indices], labels=self.labels[indices])

    def of_classes(self, classes: range) -> Split:
        """Return the images of classes that follow one another, numbered from 0; a view, where they lie together."""
        rows = torch.nonzero((self.labels >= classes.start) & (self.labels < classes.stop)).flatten()
        first, end = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        images = self.images[first:end] if end - first == len(rows) else self.images[rows]
        return Split(images=images, labels=self.labels[rows] - classes.start)


class Shape(TypedDict):
    """What a network follows from: C, K, and (H, W) in pixels."""

    channels: int
    num_classes: int
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassSubset:
    """Which classes of a whole data set a data set has, by their numbers there."""

    whole: ImageDataset
    classes: range


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """Training and test splits of K classes; ``load(**source)`` gives it again, unless made of arrays.

    `mirrored` says whether a mirrored image keeps its class; of a data set that is not known it is taken to. `part` is
    that of a data set which `of_classes` returned, whose test split may be empty.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: dict[str, Any]
    mirrored: bool = True
    part: ClassSubset | None = None

    def __post_init__(self) -> None:
        assert self.train.images.shape[1:] == self.test.images.shape[1:]
        for split in (self.train, self.test):
            assert len(split) > 0 or (split is self.test and self.part is not None)
            assert not len(split) or 0 <= int(split.labels.min()) <= int(split.labels.max()) < self.num_classes

    def __repr__(self) -> str:
        height, width = self.size
        images = f"{len(self.train):,} training and {len(self.test):,} test images of {self.channels}×{height}×{width}"
        return f"ImageDataset({self.name}: {images}, {self.num_classes:,} classes)"

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """C: 1 for grey, 3 for RGB."""
        return self.train.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.train.images.shape[2], self.train.images.shape[3]

    @property
    def shape(self) -> Shape:
        """What a network for these images is built by."""
        return {"channels": self.channels, "num_classes": self.num_classes, "size": self.size}

    @property
    def example(self) -> Tensor:
        """One black image 1×C×H×W, float32, such as a network for these images takes."""
        return torch.zeros(1, self.channels, *self.size)

    @property
    def known_source(self) -> dict[str, Any]:
        """What a condensed set stores of its source: how it is loaded again, its name and its fingerprint."""
        return self.source | {"name": self.name, "fingerprint": self.fingerprint}

    @property
    def whole(self) -> ImageDataset:
        """The data set that this is a part of; this one, where it is none."""
        return self if self.part is None else self.part.whole

    @property
    def numbers(self) -> range:
        """The K classes' numbers in the whole."""
        return range(self.num_classes) if self.part is None else self.part.classes

    def of_classes(self, classes: range) -> ImageDataset:
        """Return some classes that follow one another, as a data set of these alone, numbered from 0.

        It has the normalisation of the whole. Its images are those of the whole where they lie together, else copies.
        """
        part = replace(
            self,
            train=self.train.of_classes(classes),
            test=self.test.of_classes(classes),
            class_names=self.class_names[classes.start : classes.stop],
            part=ClassSubset(whole=self, classes=classes),
        )
        digest = hashlib.sha256(f"{self.fingerprint} {classes.start} {classes.stop}".encode()).hexdigest()
        part.recall({"fingerprint": f"sha256:{digest}", "moments": self._moments})
        return part

    @checked
    def problem(self, *, mirrored: bool, ipc: int | None = None) -> Problem:
        """Return what settings may depend on.

        Args:
            mirrored: whether a mirrored image keeps its class.
            ipc: images per class that are made of it; by default all of the largest class.
        """
        most = int(self.train.labels.bincount().max())
        return Problem(
            ipc=most if ipc is None else ipc,
            side=min(self.size),
            channels=self.channels,
            num_classes=self.num_classes,
            images_per_class=most,
            mirrored=mirrored,
            stored=len(self.train) if ipc is None else None,
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each of the C channels over the training images, in [0, 1]."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each of the C channels over the training images; 1.0 where it is zero."""
        return self._moments[1]

    @cached_property
    @torchs_own()
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        counts = torch.zeros(self.channels, 256, dtype=torch.float64)  # a histogram is exact and small
        for chunk in chunks(self.train.images):
            for channel in range(self.channels):
                counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256)
        share = counts / counts.sum(dim=1, keepdim=True)
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = share @ levels
        std = (share * (levels - mean[:, None]) ** 2).sum(dim=1).sqrt()
        return tuple(mean.tolist()), tuple(value if value > 0 else 1.0 for value in std.tolist())

    @cached_property
    def fingerprint(self) -> str:
        """``sha256:…`` of the shapes, images and labels of both splits."""
        digest = hashlib.sha256()
        for tensor in (self.train.images, self.train.labels, self.test.images, self.test.labels):
            digest.update(repr(tuple(tensor.shape)).encode())
            for chunk in chunks(tensor):
                digest.update(chunk.contiguous().numpy().data)
        return f"sha256:{digest.hexdigest()}"

    def computed(self) -> dict[str, Any]:
        """Return what takes a pass over all images to compute, JSON-able, for `recall`."""
        return {"fingerprint": self.fingerprint, "moments": self._moments}

    def recall(self, computed: dict[str, Any]) -> None:
        """Take what `computed` returned of the same images, in place of computing it again."""
        mean, std = computed["moments"]
        vars(self)["fingerprint"] = computed["fingerprint"]  # where `cached_property` looks first
        vars(self)["_moments"] = tuple(mean), tuple(std)
