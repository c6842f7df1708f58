"""What keeps the parts of a condensed set from being one: in words, None where nothing does.

Shapes: N images of C×H×W, labels N, K class names, l factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from m3d_condense.sets.bits import on_levels
from m3d_condense.sets.soft import SoftLabels
from m3d_condense.sets.tiles import has_room


def tensor_problem(images: Tensor, labels: Tensor) -> str | None:
    """Say what keeps two tensors from being the images and labels of a set."""
    if images.dtype != torch.uint8 or labels.dtype != torch.int64:
        return f"images are {images.dtype} and labels {labels.dtype}, not uint8 and int64"
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        return f"images have the shape {tuple(images.shape)}, not N×C×H×W with C 1 or 3"
    if labels.shape != images.shape[:1]:
        return f"labels have the shape {tuple(labels.shape)}, not one for each of {len(images)} images"
    return None


def class_problem(class_names: Sequence[Any], labels: Tensor) -> str | None:
    """Say why labels are not of these classes, each with an image at least."""
    if not all(isinstance(name, str) for name in class_names):
        return "class_names are not all text"
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(class_names):
        return f"labels run from {low} to {high}, but there are {len(class_names)} class names"
    counts = labels.bincount(minlength=len(class_names))
    if not counts.all():
        return f"class {class_names[int(counts.argmin())]!r} has no image"
    return None


def pixel_problem(images: Tensor, bits: int, factor: int) -> str | None:
    """Say why images are not of so many bits a channel, or cannot hold l×l tiles."""
    height, width = images.shape[2:]
    if not on_levels(images, bits):
        return f"images hold other values than those of {bits} bits a channel"
    if not has_room((height, width), factor):
        return f"factor {factor} does not fit images of {height}×{width} pixels"
    return None


def flip_problem(settings: Mapping[str, Any]) -> str | None:
    """Say why settings do not tell whether a mirrored image keeps its class."""
    flip = settings.get("flip")
    return None if flip is None or isinstance(flip, bool) else f"settings have flip={flip!r}, not true or false"


def soft_problem(soft: SoftLabels | None, decoded: int, classes: int) -> str | None:
    """Say why soft labels, if there are any, are not of so many decoded images and classes."""
    if soft is None or tuple(soft.probabilities.shape) == (decoded, classes):
        return None
    found = tuple(soft.probabilities.shape)
    return f"soft labels of {found} for {decoded} decoded images of {classes} classes"
