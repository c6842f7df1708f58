"""A part of the training split in place of the test split, to choose settings by."""

from __future__ import annotations

import dataclasses

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.splitting import drawn_of_each
from m3d_condense.recipes.given import of_kind
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.seeds import generator

__all__ = ["held_out"]


def held_out(dataset: ImageDataset, share: float, seed: int = 0) -> ImageDataset:
    """Return the data set without its test split: a share of each training class takes its place.

    What is chosen by scores on it has not seen the test images.

    Args:
        dataset: stays as it is; the result is in memory.
        share: of each class's training images, between 0 and 1; at least one image is taken, and one stays.
        seed: of the draw.

    Raises:
        UserError: for another share, or a class of a single image.
    """
    share = of_kind("hold_out", share, float)
    if not 0 < share < 1:
        raise UserError("a number between 0 and 1", setting="hold_out", value=share)
    labels = dataset.train.labels
    for name, count in zip(dataset.class_names, labels.bincount().tolist(), strict=True):
        if count < 2:
            raise UserError(f"none of the class {name} can be held out: it has one training image")
    held = drawn_of_each(labels, share, generator(seed, "held out"))
    train, test = (dataset.train[part.nonzero().flatten()] for part in (~held, held))
    source = {"data": None, "held_out": share, "of": dataset.source}
    return dataclasses.replace(dataset, train=train, test=test, source=source)
