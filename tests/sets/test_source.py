"""The data set that a condensed set is tested on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import pytest
import torch

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.source import source_of
from m3d_condense.tools.errors import UserError


def other_classes(digits: ImageDataset, **changes: Any) -> ImageDataset:
    images, labels = digits.train.images[:200].numpy(), digits.train.labels[:200]
    return load((changes.get("images", images), changes.get("labels", labels.numpy())))


def test_test_data_that_does_not_fit_is_refused(chosen: CondensedSet, digits: ImageDataset) -> None:
    names = np.array([f"digit {k}" for k in digits.train.labels[:200].tolist()])
    with pytest.raises(UserError, match=r"digit 0, .* and 5 more only in the data, 0, .* only in the set"):
        evaluate(chosen, other_classes(digits, labels=names))
    with pytest.raises(UserError, match="condensed set: 9 only in the set"):
        evaluate(chosen, other_classes(digits, labels=digits.train.labels[:200].numpy() % 9))
    with pytest.raises(UserError, match=r"images of \(1, 8, 4\) do not fit a condensed set of \(1, 8, 8\)"):
        evaluate(chosen, other_classes(digits, images=digits.train.images[:200, :, :, :4].numpy()))


def test_classes_in_another_order_are_told(chosen: CondensedSet, digits: ImageDataset) -> None:
    turned = dataclasses.replace(digits, class_names=digits.class_names[::-1])
    with pytest.raises(UserError, match="in another order, class 0 is 9 in the data and 0 in the set"):
        source_of(chosen, turned)


def test_the_source_is_found_again(chosen: CondensedSet, digits: ImageDataset) -> None:
    assert source_of(chosen).fingerprint == digits.fingerprint
    arrays = condense(other_classes(digits), ipc=1, method="random")
    with pytest.raises(UserError, match="condensed from arrays; say with data what to test on"):
        evaluate(arrays)


def test_a_source_that_has_moved_is_asked_for(tmp_path: Path) -> None:
    made = condense(pictures.folder(tmp_path / "pictures"), ipc=1, method="random")
    (tmp_path / "pictures").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"pictures, which this set was condensed from, is gone; say with data where"):
        evaluate(made)
    assert source_of(made, tmp_path / "moved").fingerprint == made.source["fingerprint"]


def test_the_layout_of_arrays_is_kept_with_the_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=pictures.noise(10, 3, 8, 3), y=np.arange(10) % 2)
    made = condense(load(tmp_path / "set.npz", layout="NHWC"), ipc=1, method="random")
    made.save(tmp_path / "made")
    again = source_of(CondensedSet.load(tmp_path / "made"))
    assert (again.size, again.fingerprint) == ((3, 8), made.source["fingerprint"])


def test_other_data_are_taken_at_the_size_of_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = condense(load(pictures.folder(tmp_path / "small"), size=6), ipc=1, method="random")
    large = pictures.folder(tmp_path / "large", shape=(9, 12, 3))
    for given in (large, str(large), load(large)):
        assert source_of(made, given).size == (6, 6)
    assert "large: its images are resized to the 6×6 pixels of the set" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"images of \(3, 8, 8\) do not fit a condensed set of \(3, 6, 6\); size makes"):
        source_of(made, load(large, size=8))
    with pytest.raises(UserError, match="one is grey, the other in colour"):
        source_of(made, pictures.folder(tmp_path / "grey", shape=(6, 6)))


def test_data_divided_by_another_seed_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    pair = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8), [0, 1] * 20
    condensed = condense(load(pair), ipc=1, method="random")
    told = "held out with seed 1, and the set was made of data with seed 0"
    source_of(condensed, load(pair))
    assert told not in capsys.readouterr().err
    source_of(condensed, load(pair, seed=1))
    assert told in capsys.readouterr().err
    condensed = condense(load((pair, pair)), ipc=1, method="random")
    source_of(condensed, load((pair, pair), seed=1))
    assert "held out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("data", 3), ("data", ["digits", 3]), ("seed", "x"), ("seed", None), ("size", "big"), ("classes", [1])],
)
def test_a_source_that_was_edited_is_told_from_what_is_given(name: str, value: Any, chosen: CondensedSet) -> None:
    edited = dataclasses.replace(chosen, source=chosen.source | {name: value})
    with pytest.raises(UserError, match=f"^this set's source has a wrong '{name}' .*; say with data what to test on$"):
        source_of(edited)


@pytest.mark.parametrize("flip", ["false", 0, [1]])
def test_a_flip_that_was_edited_is_neither_true_nor_false(flip: Any, chosen: CondensedSet) -> None:
    with pytest.raises(UserError, match="^settings have flip=.*, not true or false$"):
        dataclasses.replace(chosen, settings=chosen.settings | {"flip": flip})
