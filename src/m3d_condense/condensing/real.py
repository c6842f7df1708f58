"""The real images that a run compares with, where they are fastest.

Shapes: N training images of C×H×W pixels, uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m3d_condense.condensing.shards import Shard
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.mapped import file_of, let_go, read_ahead

PIECE = 1_024  # images that are moved at once


@dataclass(frozen=True, kw_only=True, eq=False)
class RealImages:
    """The training images by their numbers in the split: all of them, or those of this process's classes.

    Attributes:
        images: all N of them, or on a GPU perhaps some.
        places: where each image of the split is among these, N, -1 where it is not; None where all are there.
    """

    images: Tensor
    places: Tensor | None = None

    @classmethod
    def of(cls, dataset: ImageDataset, shard: Shard, engine: Engine, held: Tensor | None = None) -> RealImages:
        """Return the images that a shard's classes are compared with.

        On a GPU these are the classes' own, so that several processes hold a data set that is too large for one. On a
        CPU they stay where they are: processes share what is mapped from a file, and read of it what they use.

        Args:
            dataset, shard, engine: of the run.
            held: all images, where the run has brought them to the device for another purpose.
        """
        images = dataset.train.images
        if held is not None and held.device == engine.device:
            return cls(images=held)
        if engine.device.type == "cpu":
            return cls(images=images)
        own = torch.isin(dataset.train.labels, torch.tensor(shard.classes, dtype=torch.int64))
        if own.all() or not engine.fits(int(own.sum()) * images[0].nbytes):
            return cls(images=engine.resident(images))
        return cls.some(images, own, engine)

    @classmethod
    def some(cls, images: Tensor, own: Tensor, engine: Engine) -> RealImages:
        """Bring those of the images where `own` (N, bool) is true to the device, a piece at a time."""
        rows, places = own.nonzero().flatten(), torch.where(own, own.cumsum(0) - 1, -1)
        found = images.new_empty((len(rows), *images.shape[1:]), device=engine.device)
        for piece in torch.split(torch.arange(len(rows)), PIECE):
            found[piece[0] : piece[-1] + 1] = images[rows[piece]].to(engine.device)
            let_go()
        return cls(images=found, places=places)

    def of_numbers(self, numbers: Tensor, device: torch.device) -> Tensor:
        """Return the images …×C×H×W of these numbers, on a device."""
        places = numbers if self.places is None else self.places[numbers]
        flat = places.flatten().to(self.images.device, non_blocking=True)
        return self.images.index_select(0, flat).to(device).view(*numbers.shape, *self.images.shape[1:])

    @property
    def in_file(self) -> bool:
        """Whether they are read from a file as they are used."""
        return file_of(self.images) is not None

    def read_ahead(self, numbers: Tensor) -> None:
        """Let go of what was read from the file, and have these be read while other work goes on."""
        let_go()
        read_ahead(self.images, numbers.flatten())
