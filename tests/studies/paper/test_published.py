from __future__ import annotations

import pytest

from m3d_condense.recipes.methods import METHODS
from m3d_condense.studies.paper.published import PUBLISHED, published

KNOWN = [  # read off the paper once more: data set, ipc, method, network, mean, deviation
    ("mnist", 1, "m3d", "convnet", 94.4, 0.2),
    ("mnist", 50, "dsa", "convnet", 99.2, 0.1),
    ("fashion-mnist", 10, "k-center", "convnet", 54.7, 1.5),
    ("svhn", 50, "cafe-dsa", "convnet", 82.3, 0.4),
    ("cifar10", 1, "idm", "convnet", 45.6, 0.7),
    ("cifar10", 10, "m3d", "convnet", 63.5, 0.2),
    ("cifar100", 50, "m3d", "convnet", 50.9, 0.7),
    ("cifar100", None, "whole", "convnet", 56.2, 0.3),
    ("imagenet-100", 20, "m3d", "resnetap10", 55.5, None),
    ("cifar10", 50, "dm", "resnet10", 58.6, None),
    ("cifar10", 10, "dsa", "densenet121", 34.5, None),
    ("cifar10", 10, "idm-m3d", "convnet", 60.5, None),
]


@pytest.mark.parametrize(("data", "ipc", "method", "network", "mean", "std"), KNOWN)
def test_numbers_are_those_of_the_paper(
    data: str, ipc: int | None, method: str, network: str, mean: float, std: float | None
) -> None:
    found = published(data, ipc, method, network)
    assert found is not None
    assert (found.mean, found.std) == (mean, std)


def test_every_table_is_there_as_a_whole() -> None:
    assert len([key for key in PUBLISHED if key[3] == "ConvNet-3"]) == 140 + 5 + 2 + 4  # Tables 2, 1 and 5
    assert len([key for key in PUBLISHED if key[3] == "ResNetAP-10"]) == 24
    assert len([key for key in PUBLISHED if key[3] in ("ResNet-10", "DenseNet-121")]) == 12
    assert {method for _, _, method, _ in PUBLISHED} - {"whole"} <= set(METHODS)


def test_what_the_paper_does_not_report_is_none() -> None:
    assert published("mnist", 1, "idm", "convnet") is None
    assert published("cifar100", 50, "dc", "convnet") is None
    assert published("cifar10", 20, "m3d", "convnet") is None
    assert published("digits", 1, "m3d", "convnet") is None
    assert published("cifar10", 10, "m3d", "resnet18") is None


def test_moments_hours_and_daggers_stand_with_their_numbers() -> None:
    one = published("cifar10", 10, "m3d", "convnet")
    assert one is not None
    assert one.moments == (0.82, 1.23, 1.64)
    slow = published("imagenet-10", 10, "idc", "resnetap10")
    assert slow is not None
    assert (slow.mean, slow.hours, slow.std) == (72.8, 70.1, None)
    ran = published("svhn", 10, "dm", "convnet")
    assert str(ran) == "73.5 ± 0.5 †"
    assert str(slow) == "72.8"


@pytest.mark.parametrize("name", ["convnet3", "convnet3-batch", "convnet-width64"])
def test_a_network_is_known_whatever_its_depth_width_and_norm(name: str) -> None:
    assert published("cifar10", 10, "dm", name) == published("cifar10", 10, "dm", "convnet")
    narrow = published("cifar10", 10, "dm", "resnet10-width32-batch")
    assert narrow is not None
    assert narrow.mean == 42.3
