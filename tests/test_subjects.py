from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from condensed_sets import make, soft_labels

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.execution import Execution
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.subjects import adapted, count_of, labels_of
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def test_soft_labels_are_asked_for_where_all_have_them(chosen: CondensedSet, digits: ImageDataset) -> None:
    labelled = dataclasses.replace(chosen)
    labelled.add_soft_labels(soft_labels(labelled))
    assert labels_of([labelled, labelled], None) == "soft"
    assert labels_of([labelled, chosen], None) == labels_of([digits], None) == "hard"
    for subjects in ([labelled, chosen], [digits]):
        with pytest.raises(UserError, match="labels=soft: what is trained on has no soft labels"):
            labels_of(subjects, "soft")
    with pytest.raises(UserError, match="labels=x: one of hard, soft"):
        labels_of([labelled], "x")


@pytest.mark.parametrize("subject", [(np.zeros((4, 8, 8)), [0, 1, 0, 1]), [], None, 3, {"x": 1}, [None]])
def test_what_networks_cannot_be_trained_on(subject: Any, digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="networks are trained on a condensed set, its folder, or a data set from load"):
        evaluate(subject, digits)


def test_a_file_is_no_condensed_set(tmp_path: Path, digits: ImageDataset) -> None:
    torch.save(torch.zeros(1), tmp_path / "set.pt")
    for path in (tmp_path / "set.pt", tmp_path / "none.pt", str(tmp_path / "set.pt")):
        with pytest.raises(UserError, match="is not a condensed set"):
            evaluate(path, digits)


def of_other_classes(_: ImageDataset) -> CondensedSet:
    return condense(load("digits", classes=["0", "1", "2"]), ipc=2, method="random")


def in_another_order(_: ImageDataset) -> CondensedSet:
    return condense(load("digits", classes=[str(number) for number in range(9, -1, -1)]), ipc=2, method="random")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (in_another_order, "class 0 is 9 in number 2 and 0 in the first"),
        (of_other_classes, "classes: 3, 4, 5, 6, 7 and 2 more only in the first"),
        (
            lambda digits: condense(load("digits", size=16), ipc=2, method="random"),
            "shape of the images",
        ),
        (lambda digits: condense(digits, ipc=9, method="random"), "number of images: 90 and not 20"),
        (lambda digits: condense(digits, ipc=2, method="random", factor=2), "factor: 2 and not 1"),
        (lambda digits: condense(digits, ipc=2, method="random", flip=True), "flip: True and not False"),
        (lambda digits: dataclasses.replace(condense(digits, ipc=2, method="random"), mean=(0.1,)), "normalisation"),
        (lambda digits: digits, "number of images"),
    ],
)
def test_subjects_that_take_turns_are_alike(
    other: Callable[[ImageDataset], Any], said: str, chosen: CondensedSet, digits: ImageDataset, plain: Execution
) -> None:
    with pytest.raises(UserError, match=rf"^number 2 of those that are trained on \(digits.*{said}") as refused:
        evaluate([chosen, other(digits)], digits, repeats=2, epochs=3, execution=plain)
    assert "\n" not in str(refused.value)


def test_every_soft_labels_of_subjects_that_take_turns_are_told(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution
) -> None:
    sets = [dataclasses.replace(chosen), dataclasses.replace(chosen)]
    for seed, one in enumerate(sets):
        one.add_soft_labels(soft_labels(one, seed))
    common: dict[str, Any] = {"repeats": 2, "epochs": 3, "execution": plain}
    told = evaluate(sets, digits, **common).settings["soft_labels"]
    assert told == [one.soft_labels.fingerprint for one in sets]  # type: ignore[union-attr]
    alike = [sets[0], dataclasses.replace(sets[0])]
    assert evaluate(alike, digits, **common).settings["soft_labels"] == told[0]


@pytest.mark.parametrize("other", ["nowhere", ([[[0]]], [0])])
def test_a_data_set_is_tested_on_its_own_test_split(other: Any, digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="digits takes no other data"):
        evaluate(digits, other, repeats=1, epochs=1)


@pytest.mark.parametrize(
    ("first", "condensed", "steps"), [(1, False, 1_000), (700, False, 1_008), (1, True, 1_000), (700, True, 1_800)]
)
def test_quick_takes_a_thousand_steps_of_unequal_classes_too(first: int, condensed: bool, steps: int) -> None:
    labels = torch.tensor([0] * first + [1] * 20 + [2] * 20)
    images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = labels
    whole = {"factor": 1, "mean": (0.5,), "std": (0.25,)}
    subject = (
        make(images=images, labels=labels, **whole) if condensed else load((images, labels), test=(images, labels))
    )
    assert adapted("quick", subject, None, flip=False).steps(count_of(subject)) == steps
