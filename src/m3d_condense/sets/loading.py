"""A condensed set as a `torch.utils.data.DataLoader` of normalised, augmented batches.

Shapes: N images of C×H×W pixels, B of them in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.protocols import PHOTOGRAPHS, PROTOCOLS
from m3d_condense.recipes.recipe import check_count
from m3d_condense.tools.defaults import torchs_own
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.seeds import generator
from m3d_condense.training import augment

AUGMENTATIONS = {
    "idc": PROTOCOLS["idc"].training.augmentation,
    "dsa": PROTOCOLS["dm"].training.augmentation,
    "imagenet": PHOTOGRAPHS,
}
"""By the name that users give; a protocol that scores sets trains with each."""

Batch = tuple[Tensor, Tensor]
"""Images B×C×H×W and labels B, or soft ones B×K."""


class AugmentedImages(Dataset[Batch]):
    """Normalised images that are augmented as they are read, each with a draw of its own.

    Args:
        images: N×C×H×W, normalised float32.
        labels: N, int64; or soft ones, N×K, float32.
        augmentation: applied to every image at every reading.
        normalised: how the images are.
        stream: of the draws, on the CPU. A worker of a caller's own loader has a stream of its own in each pass.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        augmentation: Augmentation,
        normalised: augment.Normalisation,
        stream: torch.Generator,
    ) -> None:
        self.images, self.labels = images, labels
        self.augmentation, self.normalised, self.stream = augmentation, normalised, stream
        self._worker: int | None = None  # the seed of the worker that the stream is of

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: a worker that is spawned cannot take a generator."""
        return self.__dict__ | {"stream": self.stream.get_state().numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"stream": torch.Generator().set_state(torch.from_numpy(state["stream"]))}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])[0]

    @torchs_own()
    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return the images of a batch with their labels; they are augmented in one call."""
        worker = get_worker_info()
        if worker is not None and worker.seed != self._worker:
            self._worker, self.stream = worker.seed, generator(worker.seed, "augment")
        chosen = torch.as_tensor(indices)
        images = self.images[chosen]
        size = (images.shape[-2], images.shape[-1])
        drawn = augment.draw(self.augmentation, len(chosen), size, self.stream)
        augmented = augment.apply(images.unsqueeze(1), drawn, self.normalised).squeeze(1)
        return [*zip(augmented, self.labels[chosen], strict=True)]


class EvenBatches(Sampler[list[int]]):
    """Shuffled batches of one size, give or take an image: no last one of a few, which would spoil a training.

    Args:
        count: of the images.
        batch_size: images of a batch, at most.
        stream: of the order, on the CPU.
    """

    def __init__(self, count: int, batch_size: int, stream: torch.Generator) -> None:
        self.count, self.parts, self.stream = count, math.ceil(count / batch_size), stream

    def __len__(self) -> int:
        return self.parts

    @torchs_own()
    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.count, generator=self.stream)
        return (part.tolist() for part in order.tensor_split(self.parts))


def loader(
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    normalised: augment.Normalisation,
    batch_size: int,
    seed: int,
) -> DataLoader[Batch]:
    """Return a loader of shuffled, augmented batches of normalised images, of one size, give or take an image.

    The same seed gives the same batches, pass by pass.

    Args:
        images: N×C×H×W, float32 in [0, 1].
        labels: N, int64; or soft ones, N×K, float32.
        augmentation: of every image, drawn anew in each pass.
        normalised: normalises them.
        batch_size: B at most, at least 1.
        seed: of the order and of the augmentation.

    Raises:
        UserError: for a batch size below 1.
    """
    check_count("batch_size", batch_size, least=1)
    return DataLoader(
        AugmentedImages(normalised(images), labels, augmentation, normalised, generator(seed, "augment")),
        batch_sampler=EvenBatches(len(images), batch_size, generator(seed, "order")),
        generator=generator(seed, "workers"),  # in place of torch's own, whose state is the caller's
    )


def augmentation_named(name: str | None, *, flip: bool) -> Augmentation:
    """Return an augmentation by name, None for none of it, without mirroring where that changes an image's class.

    Raises:
        UserError: for a name that is not in `AUGMENTATIONS`.
    """
    if name is None:
        return Augmentation()
    if name not in AUGMENTATIONS:
        raise UserError(f"one of {', '.join(AUGMENTATIONS)}, or None", setting="augment", value=name)
    found = AUGMENTATIONS[name]
    return found.where(mirrored=flip)
