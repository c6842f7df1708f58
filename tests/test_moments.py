from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.moments import feature_moments, moment_distances
from m3d_condense.networks import build, initialise
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.seeds import derive


def plain_moments(features: Tensor) -> list[list[float]]:
    """Mean, variance and skewness of each feature of N×D, feature by feature and image by image."""
    found = []
    for column in features.double().T.tolist():
        count = len(column)
        mean = sum(column) / count
        variance = sum((value - mean) ** 2 for value in column) / count
        third = sum((value - mean) ** 3 for value in column) / count
        found.append([mean, variance, third / variance**1.5 if variance > 1e-12 else 0.0])
    return [list(row) for row in zip(*found, strict=True)]


def plain_distances(ours: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor], network: Any) -> list[float]:
    """The three distances, averaged over the classes, in plain loops."""
    total, classes = [0.0, 0.0, 0.0], int(real[1].max()) + 1
    for number in range(classes):
        moments = []
        for images, labels in (ours, real):
            with torch.no_grad():
                moments.append(plain_moments(network.features(images[labels == number])))
        for order in range(3):
            pairs = zip(moments[0][order], moments[1][order], strict=True)
            total[order] += math.sqrt(sum((a - b) ** 2 for a, b in pairs)) / classes
    return total


def test_distances_are_those_of_plain_loops(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, ipc=3, method="random", execution=plain)
    found = moment_distances(made, digits, network="convnet1-width8", repeats=2, seed=5, execution=plain)
    network: Any = build("convnet1-width8", channels=1, num_classes=10, size=(8, 8)).eval()
    (mean,), (std,) = digits.mean, digits.std
    sets = [made.decode(), (digits.train.images.float() / 255, digits.train.labels)]
    normalised = [((images - mean) / std, labels) for images, labels in sets]
    for repeat in range(2):
        initialise(network, derive(5, "moments", repeat))
        expected = plain_distances(normalised[0], normalised[1], network)
        assert [found.means[repeat], found.variances[repeat]] == pytest.approx(expected[:2], rel=1e-4)
        assert found.skewnesses[repeat] == pytest.approx(expected[2], rel=1e-2)
    assert found.n == 2
    assert found.mean == pytest.approx(sum(found.means) / 2)


def test_a_set_has_no_distance_from_itself(digits: ImageDataset, plain: Execution) -> None:
    given = {"network": "convnet1-width8", "repeats": 1, "execution": plain}
    split = digits.train
    for subject in (digits, (split.images, split.labels), (split.images.flip(0), split.labels.flip(0))):
        found = moment_distances(subject, digits, **given)  # type: ignore[arg-type]
        assert [found.mean, found.variance] == pytest.approx([0.0, 0.0], abs=1e-5)
        assert found.skewness == pytest.approx(0.0, abs=1e-3)


def test_more_images_come_nearer(digits: ImageDataset, plain: Execution) -> None:
    few, many = (condense(digits, ipc=ipc, method="random", execution=plain) for ipc in (1, 50))
    ours = [moment_distances(one, digits, repeats=1, execution=plain) for one in (few, many)]
    assert ours[0].mean > 2 * ours[1].mean
    assert ours[0].variance > ours[1].variance
    assert ours[0].skewness > ours[1].skewness


def test_a_folder_names_its_data_itself(digits: ImageDataset, plain: Execution, tmp_path: Path) -> None:
    made = condense(digits, ipc=2, method="random", out=tmp_path / "set", execution=plain)
    given = {"network": "convnet1-width8", "repeats": 1, "execution": plain}
    assert moment_distances(tmp_path / "set", **given) == moment_distances(made, digits, **given)  # type: ignore[arg-type]


def test_moments_of_known_numbers() -> None:
    one = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [4.0, 1.0]])
    mean, variance, skewness = feature_moments(one).tolist()
    assert mean == [1.0, 1.0]
    assert variance == [3.0, 0.0]
    assert skewness == pytest.approx([6 / 3**1.5, 0.0])
    assert feature_moments(-one)[2].tolist() == pytest.approx([-6 / 3**1.5, 0.0])


def test_skewness_does_not_depend_on_scale_or_place_but_the_others_do() -> None:
    one = torch.rand(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = feature_moments(one), feature_moments(3 * one + 2)
    assert torch.allclose(second[0], 3 * first[0] + 2)
    assert torch.allclose(second[1], 9 * first[1])
    assert torch.allclose(second[2], first[2])


def test_one_image_has_neither_variance_nor_skewness() -> None:
    assert feature_moments(torch.tensor([[0.1, 1e-20, 3e7]]))[1:].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"data": None}, "real images"),
        ({"repeats": 0}, "repeats=0: at least 1"),
        ({"network": "convnet9"}, "network"),
        ({"subject": (torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 2]))}, "each of the 10 classes"),
        ({"subject": (torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, -2]))}, "each of the 10 classes"),
        ({"subject": (torch.zeros(3, 1, 8, 8), torch.tensor([0.0, 1.0, 2.0]))}, "each of the 10 classes"),
        ({"subject": (torch.zeros(20, 1, 8, 8), torch.arange(20))}, "each of the 10 classes"),
        ({"subject": (torch.zeros(10, 3, 8, 8), torch.arange(10))}, "with 1 channels"),
        ({"subject": (torch.zeros(10, 1, 8, 9), torch.arange(10))}, "not N×1×8×8"),
        ({"subject": (torch.full((10, 1, 8, 8), 255.0), torch.arange(10))}, "floats range from 255 to 255"),
        ({"subject": (torch.zeros(10, 1, 8, 8), torch.arange(9))}, "not N×1×8×8"),
        ({"subject": [1, 2]}, "tensors"),
        ({"subject": 7}, "tensors"),
    ],
)
def test_what_cannot_be_compared_is_a_user_error(
    digits: ImageDataset, plain: Execution, changes: dict[str, Any], word: str
) -> None:
    given = {"subject": digits, "data": digits, "repeats": 1, "execution": plain} | changes
    with pytest.raises(UserError, match=word):
        moment_distances(given.pop("subject"), **given)
