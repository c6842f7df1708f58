from __future__ import annotations

import pytest
import torch

from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.data.held_out import held_out
from m3d_condense.tools.errors import UserError


def numbered(counts: tuple[int, ...]) -> ImageDataset:
    """A data set whose every image shows its own number, and whose test images show 255."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    test = Split(images=torch.full((len(counts), 1, 2, 2), 255, dtype=torch.uint8), labels=torch.arange(len(counts)))
    names = tuple("abcdef"[: len(counts)])
    train = Split(images=images, labels=labels)
    return ImageDataset(name="numbers", train=train, test=test, class_names=names, source={"data": "numbers"})


def shown(split: Split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def test_each_class_gives_its_share_and_the_test_images_are_gone() -> None:
    whole = numbered((20, 40, 2))
    made = held_out(whole, 0.1)
    assert made.test.labels.bincount().tolist() == [2, 4, 1]
    assert made.train.labels.bincount().tolist() == [18, 36, 1]
    assert sorted(shown(made.train) + shown(made.test)) == shown(whole.train)
    for split in (made.train, made.test):
        assert torch.equal(split.labels, whole.train.labels[torch.tensor(shown(split))])
    assert made.class_names == whole.class_names
    assert made.fingerprint != whole.fingerprint


def test_the_same_seed_holds_out_the_same_images() -> None:
    whole = numbered((50, 50))
    first, second, other = (shown(held_out(whole, 0.2, seed).test) for seed in (0, 0, 1))
    assert first == second != other


def test_one_image_of_a_class_always_stays() -> None:
    assert held_out(numbered((2, 3)), 0.99).train.labels.bincount().tolist() == [1, 1]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_another_share_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="a number between 0 and 1"):
        held_out(numbered((5, 5)), share)


def test_a_class_of_one_image_is_named() -> None:
    with pytest.raises(UserError, match="none of the class b can be held out: it has one training image"):
        held_out(numbered((5, 1)), 0.1)
