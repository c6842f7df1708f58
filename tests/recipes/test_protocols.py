from __future__ import annotations

import dataclasses

import pytest

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.protocols import checked_epochs, protocol
from m3d_condense.tools.errors import UserError


@pytest.mark.parametrize(
    ("name", "channels", "flip", "factor", "cutmix"),
    [
        ("idc", 1, False, 2, 0.0),  # MNIST in tiles
        ("idc", 1, False, 1, 0.5),
        ("idc", 1, True, 2, 0.5),  # Fashion-MNIST
        ("idc", 3, False, 2, 0.5),  # SVHN
        ("quick", 1, False, 2, 0.5),
        ("dm", 1, False, 2, 0.0),
    ],
)
def test_idc_mixes_no_digits_that_come_out_of_tiles(
    name: str, channels: int, flip: bool, factor: int, cutmix: float
) -> None:
    problem = Problem(ipc=10, side=28, channels=channels, mirrored=flip)
    made = protocol(name).adapted(problem, factor=factor)
    assert made.training.cutmix == cutmix
    assert ("flip" in str(made.training.augmentation)) == flip


@pytest.mark.parametrize(
    ("ipc", "factor", "num_classes", "epochs", "steps"),
    [
        (1, 1, 2, 1_000, 1_000),
        (1, 2, 10, 1_000, 1_000),
        (10, 1, 10, 500, 1_000),
        (6, 2, 10, 250, 1_000),
        (10, 2, 10, 150, 1_050),
        (10, 2, 100, 150, 9_450),
    ],
)
def test_quick_takes_a_thousand_steps_on_few_images_and_150_epochs_on_more(
    ipc: int, factor: int, num_classes: int, epochs: int, steps: int
) -> None:
    problem = Problem(ipc=ipc, side=32, num_classes=num_classes)
    made = protocol("quick").adapted(problem, factor=factor)
    assert made.epochs == epochs
    assert made.steps(num_classes * ipc * factor**2) == steps
    assert protocol("quick").adapted(problem, factor=factor, epochs=7).epochs == 7


@pytest.mark.parametrize(
    ("images_per_class", "epochs", "steps"), [(5_000, 10, 7_820), (130, 48, 1_008), (20, 250, 1_000), (1, 1_000, 1_000)]
)
def test_quick_takes_a_thousand_steps_on_the_whole_of_few_images_too(
    images_per_class: int, epochs: int, steps: int
) -> None:
    quick, problem = protocol("quick"), Problem(ipc=images_per_class, side=32)
    made = quick.adapted(problem, whole=True)
    assert (made.epochs, made.steps(10 * images_per_class)) == (epochs, steps)
    assert quick.adapted(problem, whole=True, epochs=7).epochs == 7
    assert [quick.at_most_whole(problem, asked) for asked in (None, 7, 2_000)] == [None, 7, epochs]


@pytest.mark.parametrize(
    ("ipc", "factor", "num_classes", "epochs"),
    [
        (1, 1, 10, 3_000),
        (10, 1, 10, 2_000),
        (11, 1, 10, 1_500),
        (20, 1, 20, 1_500),
        (10, 3, 10, 1_000),  # Table 3: 90 images a class
        (20, 3, 10, 1_000),  # 180
        (50, 3, 10, 500),
        (1_000, 1, 10, 300),
        (1, 1, 100, 2_000),
        (10, 1, 100, 1_300),
        (50, 1, 100, 1_000),
        (10, 3, 100, 600),
        (20, 3, 100, 600),
        (50, 3, 100, 300),
        (1_000, 1, 100, 200),
    ],
)
def test_on_subsets_of_imagenet_idc_trains_for_fewer_epochs_the_more_images_there_are(
    ipc: int, factor: int, num_classes: int, epochs: int
) -> None:
    made = protocol("idc").adapted(Problem(ipc=ipc, side=224, num_classes=num_classes), factor=factor)
    assert made.epochs == epochs


@pytest.mark.parametrize(
    ("num_classes", "lr", "weight_decay", "batch"), [(10, 0.01, 5e-4, 64), (99, 0.01, 5e-4, 64), (100, 0.1, 1e-4, 128)]
)
@pytest.mark.parametrize("side", [64, 128, 224])
def test_subsets_of_imagenet_have_a_training_of_their_own(
    side: int, num_classes: int, lr: float, weight_decay: float, batch: int
) -> None:
    training = protocol("idc").adapted(Problem(ipc=10, side=side, num_classes=num_classes), factor=3).training
    assert (training.lr, training.weight_decay, training.batch) == (lr, weight_decay, batch)
    assert (training.cutmix, training.momentum, training.decay) == (1.0, 0.9, 0.2)
    assert training.augmentation == Augmentation.parse("resizedcrop_flip_jitter_lighting", "idc")


@pytest.mark.parametrize("num_classes", [10, 100])
def test_below_64_pixels_the_number_of_classes_changes_nothing(num_classes: int) -> None:
    idc = protocol("idc")
    assert idc.adapted(Problem(ipc=50, side=63, num_classes=num_classes), factor=2) == idc


@pytest.mark.parametrize("name", ["quick", "dm"])
def test_the_other_protocols_are_the_same_for_all(name: str) -> None:
    known = protocol(name)
    for side in (32, 224):
        for num_classes in (10, 100):
            made = known.adapted(Problem(ipc=10, side=side, num_classes=num_classes), factor=3)
            assert dataclasses.replace(made, whole_epochs=known.whole_epochs) == known
            assert known.adapted(Problem(ipc=1_000, side=side, num_classes=num_classes), factor=1) == known


def test_what_is_given_is_checked() -> None:
    checked_epochs("idc", None)
    checked_epochs("idc", 1)
    with pytest.raises(UserError, match="unknown protocol 'icd'"):
        checked_epochs("icd", None)
    with pytest.raises(UserError, match="epochs=0"):
        checked_epochs("idc", 0)
