from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from pictures import noise

from m3d_condense.data import dataset, inspection
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.inspection import examples, inspect
from m3d_condense.data.load import load


def unequal() -> ImageDataset:
    """Three images of a, two of b and one of c to train on; to test on, one of a and one of c."""
    train = noise(6, 4, 5, 3), list("abacab")
    return load(train, test=(noise(2, 4, 5, 3, seed=1), ["c", "a"]))


def test_what_is_read_is_told() -> None:
    dataset = unequal()
    seen = inspect(dataset, ["one", "two"])
    assert (seen.name, seen.classes, seen.notices) == ("arrays", ("a", "b", "c"), ("one", "two"))
    assert seen.counts == {"train": (3, 2, 1), "test": (1, 0, 1)}
    assert (seen.height, seen.width, seen.mode, seen.nbytes) == (4, 5, "RGB", 8 * 60)
    assert seen.mirrored
    assert seen.fingerprint == dataset.fingerprint
    assert json.loads(json.dumps(dataclasses.asdict(seen)))["counts"]["train"] == [3, 2, 1]


def test_the_digits_are_grey_and_not_mirrored(digits: ImageDataset) -> None:
    seen = inspect(digits)
    assert (seen.mode, seen.mirrored, seen.counts["train"][0] + seen.counts["test"][0]) == ("grey", False, 178)
    assert [level.channel for level in seen.levels["train"]] == ["grey"]


def test_levels_are_those_of_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 4)
    pixels = noise(11, 3, 6, 7)
    pixels[:, 1] = 20 + pixels[:, 1] // 2
    found = inspection.levels(torch.from_numpy(pixels))
    assert [level.channel for level in found] == ["red", "green", "blue"]
    for number, level in enumerate(found):
        channel = pixels[:, number]
        assert (level.least, level.greatest) == (channel.min(), channel.max())
        assert level.mean == pytest.approx(channel.mean(), rel=1e-12)


def test_examples_are_the_first_of_each_class() -> None:
    dataset = unequal()
    few = examples(dataset, 2)
    assert few.labels.tolist() == [0, 0, 1, 1, 2]
    np.testing.assert_array_equal(few.images.numpy(), dataset.train.images[[0, 2, 1, 5, 3]].numpy())
