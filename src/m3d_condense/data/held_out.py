"""A part of the training split in place of the test split, to choose settings by."""

from __future__ import annotations

import dataclasses

import torch

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.seeds import generator

__all__ = ["held_out"]


def held_out(dataset: ImageDataset, share: float = 0.1, seed: int = 0) -> ImageDataset:
    """Return the data set without its test split: a share of each training class takes its place.

    What is chosen by scores on it has not seen the test images.

    Args:
        dataset: stays as it is; the result is in memory.
        share: of each class's training images, between 0 and 1; at least one image is taken, and one stays.
        seed: of the draw.

    Raises:
        UserError: for another share, or a class of a single image.
    """
    if not 0 < share < 1:
        raise UserError("a number between 0 and 1", setting="hold_out", value=share)
    labels = dataset.train.labels
    held = torch.zeros(len(labels), dtype=torch.bool)
    for number, name in enumerate(dataset.class_names):
        own = (labels == number).nonzero().flatten()
        if len(own) < 2:
            raise UserError(f"none of the class {name} can be held out: it has one training image")
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        held[own[torch.randperm(len(own), generator=generator(seed, "held out", number))[:count]]] = True
    train, test = (dataset.train[part.nonzero().flatten()] for part in (~held, held))
    source = {"data": None, "held_out": share, "of": dataset.source}
    return dataclasses.replace(dataset, train=train, test=test, source=source)
