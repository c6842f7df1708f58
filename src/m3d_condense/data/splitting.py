"""Splits that belong together: of one size and the same classes, and a test split held out where there is none.

Legend: N images, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from m3d_condense.data.dataset import Split
from m3d_condense.data.labels import Labels
from m3d_condense.data.levels import notice_flat
from m3d_condense.data.raster import Pixels
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed

LOOKED_THROUGH = 2**30  # bytes of images among which those are looked for that are in both splits
MAY_BE_ALIKE = 16  # numbers: images of fewer are often the same
SEEN_SHARE = 0.01  # of the test images, beyond which it is said that training has them too
TEST_SHARE = 0.2  # of each class, where a source has no test split


def without_absent(labels: list[Labels], class_names: tuple[str, ...]) -> tuple[list[Labels], tuple[str, ...]]:
    """Leave out the named classes of which no split has an image."""
    present = sorted({number for values in labels for number in np.unique(values).tolist()} - {-1})
    absent = [name for number, name in enumerate(class_names) if number not in present]
    if not absent:
        return labels, class_names
    notice(f"{len(absent)} of {len(class_names)} classes have no image and are left out: {listed(absent)}")
    new = np.full(len(class_names) + 1, -1)  # the last for no label
    new[present] = np.arange(len(present))
    return [new[values] for values in labels], tuple(class_names[number] for number in present)


def notice_odd(splits: Sequence[Split], class_names: tuple[str, ...]) -> None:
    """Say so where images are nearly black, where images stand there twice, and where classes have none."""
    notice_flat(splits[0].images.numpy(), splits[1].images.numpy())
    _notice_seen(splits[0].images.numpy(), splits[1].images.numpy())
    counts = torch.bincount(splits[1].labels, minlength=len(class_names)).tolist()
    untested = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if untested:
        notice(f"{len(untested)} of {len(class_names)} classes have no test image: {listed(untested)}")


def _notice_seen(train: Pixels, test: Pixels) -> None:
    """Say so where many images are there again, to the bit; it is not asked of large data and tiny images."""
    if train.nbytes + test.nbytes > LOOKED_THROUGH or train[0].size < MAY_BE_ALIKE:
        return
    known = {hashlib.blake2b(image.tobytes()).digest() for image in train}
    seen = sum(hashlib.blake2b(image.tobytes()).digest() in known for image in test)
    again = len(train) - len(known)
    if again > SEEN_SHARE * len(train):
        notice(f"{again} of {len(train)} training images are others of them once more: are data read twice?")
    if seen > SEEN_SHARE * len(test):
        notice(f"{seen} of {len(test)} test images are training images too, so that the accuracy on them says little")


def as_splits(images: Sequence[Pixels], labels: Sequence[Labels]) -> list[Split]:
    """Return splits of one size, all grey or all RGB; raises UserError where the sizes differ."""
    if len({pixels.shape[2:] for pixels in images}) > 1:
        sizes = " and ".join(f"{pixels.shape[3]}×{pixels.shape[2]}" for pixels in images)
        raise UserError(
            f"train and test images differ in size, {sizes} pixels; give {Setting('size', 'N')} to make them N×N"
        )
    channels = max(pixels.shape[1] for pixels in images)
    images = [p if p.shape[1] == channels else np.repeat(p, channels, axis=1) for p in images]
    pairs = zip(images, labels, strict=True)
    return [Split(images=torch.from_numpy(x), labels=torch.from_numpy(y)) for x, y in pairs]


def check(labels: Labels, class_names: tuple[str, ...]) -> None:
    """Raise UserError for fewer than two classes, and for one without a training image."""
    if len(class_names) < 2:
        raise UserError(f"only one class ({', '.join(class_names)}): at least two are needed")
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        raise UserError(f"no training image of {', '.join(empty[:5])}; add some or remove the class")


def check_tested(counts: Sequence[int], class_names: tuple[str, ...]) -> None:
    """Raise UserError where a split has no image of the classes that were picked, by its number of these."""
    if 0 in counts[1:]:
        raise UserError(
            f"the test split has no image of the classes that are asked for, {listed(class_names)}: add some, or give "
            "the training split alone, of which a part is held out"
        )


def drawn_of_each(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return which of N labels are a random share of their class: at least one is drawn, and at least one stays."""
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for number in range(int(labels.max()) + 1):
        members = torch.nonzero(labels == number).flatten()
        count = min(max(1, round(share * len(members))), len(members) - 1) if len(members) > 1 else 0
        drawn[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return drawn


def draw_test_split(labels: Tensor, name: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return indices of what stays and of what is held out: a share of each class with two images or more.

    Says so of data called `name`. Raises UserError where every class has one image.
    """
    out = drawn_of_each(labels, TEST_SHARE, torch.Generator().manual_seed(seed))
    if not out.any():
        raise UserError("one image a class leaves none to test on; give a test split")
    if name != "digits":
        notice(f"{name} has no test split: {TEST_SHARE:.0%} of each class is held out, with seed {seed}")
    return torch.nonzero(~out).flatten(), torch.nonzero(out).flatten()
