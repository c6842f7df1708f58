from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from condensed_sets import make, make_soft
from torch import Tensor, nn
from torch.utils.data import DataLoader

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.loading import augmentation_named
from m3d_condense.tools.errors import UserError
from m3d_condense.training.augment import Normalisation

Pass = list[tuple[Tensor, Tensor]]


def in_plain_numbers(images: np.ndarray, condensed: CondensedSet) -> np.ndarray:
    """(x - mean) / std, a channel at a time, in double precision."""
    channels = zip(images.transpose(1, 0, 2, 3).astype(np.float64), condensed.mean, condensed.std, strict=True)
    return np.stack([(channel - mean) / std for channel, mean, std in channels], 1)


def same(first: Pass, second: Pass) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def test_images_are_normalised_by_the_constants_of_the_set() -> None:
    condensed = make()
    stored = condensed.normalise(condensed.images)
    assert stored.dtype == torch.float32
    expected = in_plain_numbers(condensed.images.numpy() / 255, condensed)
    np.testing.assert_allclose(stored.numpy(), expected, rtol=0, atol=1e-5)
    for dtype in (torch.float32, torch.float64):
        again = condensed.normalise(condensed.images.to(dtype) / 255)
        assert again.dtype == torch.float32
        torch.testing.assert_close(again, stored)
    assert torch.equal(condensed.normalise(condensed.images[0]), stored[0])  # a single image too


def test_normalising_means_what_it_means_in_scoring(digits: ImageDataset) -> None:
    condensed = make(shape=(1, 8, 8), mean=digits.mean, std=digits.std)
    scored = Normalisation(digits.mean, digits.std, torch.device("cpu"))(digits.test.images)
    assert torch.equal(condensed.normalise(digits.test.images), scored)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 8), "C×H×W with 3 channels is wanted"),
        (torch.zeros(8, 8), "C×H×W with 3 channels is wanted"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), r"images are torch.int64; give uint8, or floats in \[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_are_not_normalised(images: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make().normalise(images)


def test_without_augmentation_every_decoded_image_comes_once_a_pass() -> None:
    condensed = make()
    images, labels = condensed.decode()
    given = condensed.loader(7, augment=None)
    batches = list(given)
    assert len(given) == len(batches) == 4
    assert [len(y) for _, y in batches] == [6, 6, 6, 6]
    found = {(x.numpy().tobytes(), int(y)) for batch in batches for x, y in zip(*batch, strict=True)}
    expected = zip(condensed.normalise(images), labels, strict=True)
    assert found == {(x.numpy().tobytes(), int(y)) for x, y in expected}


def test_a_pass_draws_nothing_of_the_callers() -> None:
    before = torch.get_rng_state()
    list(make().loader(batch_size=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_every_pass() -> None:
    condensed = make()
    first, again, other = (condensed.loader(8, seed=seed) for seed in (0, 0, 1))
    passes = [list(first), list(first)]
    assert same(passes[0], list(again))
    assert same(passes[1], list(again))
    assert not same(passes[0], passes[1])
    assert not same(passes[0], list(other))


@pytest.mark.parametrize(
    ("name", "protocols", "side"), [("idc", ["quick", "idc"], 32), ("dsa", ["dm"], 32), ("imagenet", ["idc"], 64)]
)
def test_images_are_augmented_as_the_protocols_augment_them(name: str, protocols: list[str], side: int) -> None:
    for protocol in protocols:
        expected = PROTOCOLS[protocol].adapted(Problem(ipc=10, side=side)).training.augmentation
        assert augmentation_named(name, flip=True) == expected
        assert augmentation_named(name, flip=False) == expected.without("flip")
    condensed = make()
    plain, changed = (images_of(condensed.loader(4, augment=augment)) for augment in (None, name))
    new = [image for image in changed if not any(torch.equal(image, one) for one in plain)]
    assert len(new) > len(plain) / 2  # DSA's form mirrors some images only, half of them to no effect
    assert torch.stack(changed).isfinite().all()


def images_of(batches: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [image for images, _ in batches for image in images]


@pytest.mark.parametrize(
    ("settings", "flip", "mirrors"),
    [
        ({}, None, True),
        ({"flip": False}, None, False),
        ({"flip": True}, None, True),
        ({"flip": False}, True, True),
        ({"flip": True}, False, False),
    ],
)
def test_images_are_mirrored_where_the_set_says_they_may_be(
    settings: dict[str, Any], flip: bool | None, mirrors: bool
) -> None:
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    images[..., :2] = 255  # white at the left, which only mirroring brings to the right
    condensed = make(images=images, labels=torch.arange(3), factor=1, settings=settings)
    batches = condensed.loader(3, flip=flip)
    seen = [image.mean(0) for _ in range(20) for image in images_of(batches)]
    assert any(bool(image[:, 6:].mean() > image[:, :2].mean()) for image in seen) == mirrors


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: at least 1"),
        ({"batch_size": 4, "augment": "cutout"}, "augment=cutout: one of idc, dsa, imagenet, or None"),
    ],
)
def test_what_cannot_be_loaded_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make().loader(**asked)


def test_soft_labels_come_with_their_images() -> None:
    condensed = make_soft(factor=2)
    (images, soft), *rest = condensed.loader(24, augment=None, seed=5, labels="soft")
    assert rest == []
    ((again, hard),) = condensed.loader(24, augment=None, seed=5)
    assert torch.equal(images, again)
    decoded, labels = condensed.decode()
    normalised, expected = condensed.normalise(decoded), condensed.decoded_labels("soft")
    for image, probabilities, label in zip(images, soft, hard, strict=True):
        place = next(number for number, one in enumerate(normalised) if torch.equal(one, image))
        assert torch.equal(probabilities, expected[place])
        assert label == labels[place]
    with pytest.raises(UserError, match="labels=soft: this set has no soft labels; m3d label adds them"):
        make().loader(4, labels="soft")


def test_a_plain_loop_over_the_loader_trains_a_network(digits: ImageDataset) -> None:
    condensed = condense(digits, ipc=10, method="random")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    batches = condensed.loader(50)
    for _ in range(30):
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    right = network(condensed.normalise(digits.test.images)).argmax(1) == digits.test.labels
    assert right.float().mean() > 0.85  # measured with seeds 0, 1, 2: 91.6, 94.4, 94.2 %


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_a_copy_of_the_images_goes_on_with_the_same_draws(copied: Callable[[Any], Any]) -> None:
    images = make().loader(8).dataset
    images[0]
    other = copied(images)
    assert [torch.equal(images[0][0], other[0][0]) for _ in range(3)] == [True] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_every_worker_of_a_callers_own_loader_draws_otherwise_in_every_pass() -> None:
    def passes() -> list[bytes]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            batches: Any = DataLoader(
                make().loader(8).dataset, batch_sampler=[[0]] * 4, num_workers=2, multiprocessing_context="fork"
            )
            return [images.numpy().tobytes() for _ in range(2) for images, _ in batches]

    drawn = passes()
    assert len(set(drawn)) == len(drawn) == 8
    assert passes() == drawn
