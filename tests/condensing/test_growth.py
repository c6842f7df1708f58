from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from condensed_sets import soft_labels
from torch import Tensor

from m3d_condense.condensing.condensation import condense, recipe_for
from m3d_condense.condensing.growth import earlier
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.run import begin
from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import recorded, set_quiet

TINY: dict[str, Any] = {"iterations": 4, "batch_real": 4, "network": "convnet1", "factor": 2}
METHODS = ("m3d", "dm", "dc", "cafe", "idm")


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def some_classes(digits: ImageDataset, *names: str) -> ImageDataset:
    """The digits of these classes alone, numbered anew in this order."""

    def part(split: Split) -> Split:
        numbers = [digits.class_names.index(name) for name in names]
        of_these = torch.isin(split.labels, torch.tensor(numbers))
        labels = torch.tensor([numbers.index(k) for k in split.labels[of_these].tolist()])
        return Split(images=split.images[of_these], labels=labels)

    return dataclasses.replace(digits, train=part(digits.train), test=part(digits.test), class_names=names)


def first_images(digits: ImageDataset, count: int) -> ImageDataset:
    """The digits with the first training images of each class alone."""
    labels = digits.train.labels
    first = torch.cat([(labels == k).nonzero().flatten()[:count] for k in range(10)])
    return dataclasses.replace(digits, train=Split(images=digits.train.images[first], labels=labels[first]))


def grow(data: ImageDataset, **settings: Any) -> CondensedSet:
    plain = Execution(device="cpu", precision="float32", native=False, compile="no")
    return condense(data, **TINY | {"execution": plain} | settings)


def by_class(condensed: CondensedSet) -> dict[str, Tensor]:
    return {name: condensed.images[condensed.labels == k] for k, name in enumerate(condensed.class_names)}


@pytest.fixture(scope="module")
def old(digits: ImageDataset) -> CondensedSet:
    return grow(some_classes(digits, "1", "7", "3"), ipc=2)


@pytest.mark.parametrize("method", METHODS)
def test_new_classes_leave_the_old_ones_pixels_alone(method: str, digits: ImageDataset, old: CondensedSet) -> None:
    data = some_classes(digits, "0", "3", "4", "7", "1", "9")  # between the old ones, which are in another order
    started = by_class(grow(data, ipc=2, method=method, iterations=0, start_from=old))
    grown = by_class(grow(data, ipc=2, method=method, start_from=old))
    for name, images in by_class(old).items():
        assert torch.equal(grown[name], images)
    for name in ("0", "4", "9"):
        assert not torch.equal(grown[name], started[name])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("class_steps", ["joint", "sequential"])
def test_a_larger_ipc_keeps_the_old_images_and_adds(
    optimizer: str, class_steps: str, digits: ImageDataset, old: CondensedSet
) -> None:
    data = some_classes(digits, "1", "7", "3")
    asked: dict[str, Any] = {"ipc": 5, "optimizer": optimizer, "class_steps": class_steps, "lr": 0.1}
    started = by_class(grow(data, iterations=0, start_from=old, **asked))
    grown = by_class(grow(data, start_from=old, **asked))
    for name, images in by_class(old).items():
        assert grown[name].shape == (5, 1, 8, 8)
        assert torch.equal(grown[name][:2], images)
        assert torch.equal(started[name][:2], images)
        moved = (grown[name][2:] != started[name][2:]).flatten(1).any(1)
        assert moved.all()


def test_old_pixels_are_optimised_further_where_that_is_asked_for(digits: ImageDataset, old: CondensedSet) -> None:
    data = some_classes(digits, "1", "7", "3", "5")
    with recorded() as heard:
        started = by_class(grow(data, ipc=2, iterations=0, start_from=old, keep_old=False))
    assert any("images of the earlier set stay as they are" in line for line in heard)
    grown = by_class(grow(data, ipc=2, start_from=old, keep_old=False))
    for name, images in by_class(old).items():
        assert torch.equal(started[name], images)
        assert not torch.equal(grown[name], images)


def test_a_set_to_which_nothing_is_added_is_optimised_further(digits: ImageDataset, old: CondensedSet) -> None:
    data = some_classes(digits, "3", "1", "7")
    with recorded() as heard:
        grown = by_class(grow(data, ipc=2, start_from=old))
    assert "6 images of the earlier set are optimised further, and 0 are added" in heard
    assert all(not torch.equal(grown[name], images) for name, images in by_class(old).items())
    with pytest.raises(UserError, match="nothing is left to optimise: .* give a larger ipc"):
        grow(data, ipc=2, start_from=old, keep_old=True)


def test_a_frozen_image_takes_no_gradient() -> None:
    frozen = torch.tensor([[True, False], [True, True], [False, False], [True, True]])
    pixels = Pixels(torch.rand(4, 2, 1, 4, 4), 2, frozen=frozen)
    pixels.draw(range(4), 99, []).square().sum().backward()
    assert pixels.values.grad is not None
    assert not pixels.values.grad[frozen].any()
    assert pixels.values.grad[~frozen].any()


def test_classes_that_stay_cost_no_step(digits: ImageDataset, old: CondensedSet, plain: Execution) -> None:
    data = some_classes(digits, "0", "1", "2", "3", "7", "9")
    recipe = recipe_for(data, "m3d", "quick", 2, TINY)
    run = begin(data, recipe, Engine(plain), earlier=earlier(old, data, recipe))
    assert run.plan.chunks == (range(1), range(2, 3), range(5, 6))
    assert (run.take_step() > 0).tolist() == [True, False, True, False, False, True]


def test_the_earlier_set_is_told(digits: ImageDataset, old: CondensedSet, tmp_path: Path) -> None:
    old.save(tmp_path / "old")
    data = some_classes(digits, "1", "7", "3")
    expected = {"fingerprint": old.fingerprint, "images": 6, "kept": True}
    for given, where in ((old, None), (tmp_path / "old", str(tmp_path / "old")), (str(tmp_path / "old"),) * 2):
        grown = grow(data, ipc=3, start_from=given)
        assert grown.settings["start_from"] == expected | {"set": where}
    assert "start_from" not in old.settings
    other = CondensedSet(**vars(old) | {"images": 255 - old.images})
    assert other.fingerprint != old.fingerprint


def test_soft_labels_of_the_earlier_set_do_not_go_into_the_new_one(digits: ImageDataset, old: CondensedSet) -> None:
    data, labelled = some_classes(digits, "1", "7", "3"), dataclasses.replace(old)
    labelled.add_soft_labels(soft_labels(labelled))
    with recorded() as notices:
        grown = grow(data, ipc=3, start_from=labelled)
    assert any("soft labels" in notice for notice in notices)
    assert grown.soft_labels is None
    assert torch.equal(grown.images, grow(data, ipc=3, start_from=old).images)


def test_a_grown_run_goes_on_to_the_same_bits(digits: ImageDataset, old: CondensedSet, tmp_path: Path) -> None:
    data = some_classes(digits, "1", "7", "3", "8")
    asked: dict[str, Any] = {"ipc": 3, "iterations": 6, "start_from": old}
    expected = grow(data, **asked)
    partly = grow(data, out=tmp_path / "set", time_limit=1e-9, **asked)
    assert partly.steps == 1
    other = CondensedSet(**vars(old) | {"images": 255 - old.images})
    for wrong in ({"start_from": other}, {"start_from": None}, {"keep_old": False}):
        with pytest.raises(UserError, match="of other settings or data"):
            grow(data, out=tmp_path / "set", **asked | wrong)
    found = grow(data, out=tmp_path / "set", **asked)
    assert found.steps == 6
    assert torch.equal(found.images, expected.images)
    assert [step["loss"] for step in found.history] == [step["loss"] for step in expected.history]
    with recorded() as heard:
        again = grow(data, out=tmp_path / "set", **asked)
    assert torch.equal(again.images, expected.images)
    assert "already condensed with these settings" in heard[-1]


def test_a_set_does_not_take_the_place_of_the_one_that_it_grows_from(
    digits: ImageDataset, old: CondensedSet, tmp_path: Path
) -> None:
    data, folder = some_classes(digits, "1", "7", "3"), old.save(tmp_path / "old")
    for out in (folder, tmp_path / "x" / ".." / "old"):
        with pytest.raises(UserError, match="is the set to start from, which would be lost; name another folder"):
            grow(data, ipc=3, start_from=str(folder), out=out, overwrite=True, time_limit=1e-9)
    assert torch.equal(CondensedSet.load(folder).images, old.images)
    with pytest.raises(UserError, match="start_from=5: a condensed set, or its folder"):
        grow(data, ipc=3, start_from=5)


def test_a_checkpoint_of_another_start_is_refused(digits: ImageDataset, old: CondensedSet, tmp_path: Path) -> None:
    data = some_classes(digits, "1", "7", "3", "8")
    grow(data, ipc=2, iterations=6, out=tmp_path / "set", time_limit=1e-9, start_from=old)
    (tmp_path / "set.checkpoint").rename(tmp_path / "new.checkpoint")
    with pytest.raises(UserError, match="left by a run with other settings or data"):
        grow(data, ipc=2, iterations=6, out=tmp_path / "new")
    with pytest.raises(UserError, match="left by a run with other settings or data"):
        grow(data, ipc=2, iterations=6, out=tmp_path / "new", start_from=old, keep_old=False)


def test_real_images_are_added_by_a_selection(digits: ImageDataset) -> None:
    small, large = (condense(digits, ipc=ipc, method="random") for ipc in (2, 5))
    grown = condense(digits, ipc=5, method="random", start_from=small)
    assert torch.equal(grown.images, large.images)  # of one seed, a selection holds the smaller ones


@pytest.mark.parametrize("bits", [8, 2])
@pytest.mark.parametrize("method", ["random", "herding", "k-center"])
def test_no_real_image_is_added_twice(digits: ImageDataset, method: str, bits: int) -> None:
    few = first_images(digits, 9)
    pixels: dict[str, Any] = {} if method == "random" else {"selection_features": "pixels"}
    small = condense(few, ipc=4, method="random", seed=1, bits=bits)
    grown = by_class(condense(few, ipc=8, method=method, bits=bits, start_from=small, **pixels))
    wanted = by_class(condense(few, ipc=8, method=method, bits=bits, **pixels))
    for name, kept in by_class(small).items():
        assert len({image.numpy().tobytes() for image in grown[name]}) == 8
        assert torch.equal(grown[name][:4], kept)
        others = [image for image in wanted[name] if not (image == kept).flatten(1).all(1).any()]
        assert torch.equal(grown[name][4:], torch.stack(others)[:4])  # the first of the selection


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"ipc": 1}, "ipc=1: the set to start from has 2 images of 1, more than that; give at least as many"),
        ({}, {"factor": 1}, "start_from: has the factor 2, but this run 1; give factor=2"),
        ({"names": ("1", "7")}, {}, "start_from: has classes that digits has not: 3; give data of all classes"),
        (
            {"images": torch.zeros(6, 1, 6, 6).byte()},
            {},
            r"start_from: holds images of \(1, 6, 6\), but .* size resizes",
        ),
        ({"images": torch.zeros(6, 3, 8, 8).byte()}, {}, r"start_from: holds images of \(3, 8, 8\), but"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(
    changes: dict[str, Any], settings: dict[str, Any], message: str, digits: ImageDataset, old: CondensedSet
) -> None:
    data = some_classes(digits, *changes.pop("names", ("1", "7", "3", "4")))
    channels = changes.get("images", old.images).shape[1]
    fitting = {"mean": old.mean * channels, "std": old.std * channels} if channels != 1 else {}
    with pytest.raises(UserError, match=message):
        grow(data, **{"ipc": 2, "start_from": CondensedSet(**vars(old) | changes | fitting)} | settings)


def test_what_is_no_set_is_refused(digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a condensed set"):
        grow(digits, ipc=2, start_from=tmp_path)
    with pytest.raises(UserError, match="keep_old=True: goes with start_from only"):
        grow(digits, ipc=2, keep_old=True)
