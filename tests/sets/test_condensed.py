from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from condensed_sets import make

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.tools.errors import UserError


@pytest.mark.parametrize(("factor", "side"), [(1, 8), (2, 8), (3, 8)])
def test_decode(factor: int, side: int) -> None:
    condensed = make(shape=(1, side, side), factor=factor)
    images, labels = condensed.decode()
    assert images.shape == (6 * factor**2, 1, side, side)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert labels.tolist() == [k for k in range(3) for _ in range(2 * factor**2)]
    if factor == 1:
        assert torch.equal((images * 255).round().byte(), condensed.images)


def test_settings_that_cannot_be_stored_are_refused() -> None:
    with pytest.raises(UserError, match="settings cannot be stored"):
        make(settings={"lr": math.nan})
    with pytest.raises(UserError, match="source cannot be stored"):
        make(source={"data": object()})
    assert make(settings={"scales": (1, 2)}).settings == {"scales": [1, 2]}


def test_score_statistics() -> None:
    accuracies = [60.1, 58.7, 63.4, 61.0]
    score = Score.of("convnet3", "idc", accuracies, {})
    assert score.n == 4
    assert score.mean == pytest.approx(np.mean(accuracies))
    assert score.std == pytest.approx(np.std(accuracies, ddof=1))
    assert Score.of("convnet3", "idc", [50.0], {}).std == 0.0
    for wrong in ([], [101.0], [math.nan], ["a"], [None]):
        with pytest.raises(UserError, match="accuracies"):
            Score.of("convnet3", "idc", wrong, {})  # type: ignore[arg-type]
    for mean in ("a", None, math.nan):
        with pytest.raises(UserError, match="mean"):
            Score(network="x", protocol="y", n=1, mean=mean, std=0.0, accuracies=[1.0], settings={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(6, 3, 8, 8)}, "images are torch.float32"),
        ({"labels": torch.zeros(6, dtype=torch.int64)}, "class 'class 1' has no image"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "not one for each of 6 images"),
        ({"class_names": {"a", "b", "c"}}, "class_names: a set has no order; give a list"),
        ({"class_names": ("a", "b")}, "labels run from 0 to 2, but there are 2 class names"),
        ({"factor": 9}, "factor 9 does not fit images of 8×8 pixels"),
        ({"factor": 5}, "factor 5 does not fit images of 8×8 pixels"),
        ({"std": (0.0, 1.0, 1.0)}, "cannot normalise"),
        ({"mean": (0.5,)}, "1 means and 3 deviations"),
        ({"seconds": math.inf}, "seconds is inf"),
        ({"seconds": -1.0}, "seconds is -1.0, not a duration"),
        ({"steps": -1}, "steps is -1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_settings_nested_too_deep_are_refused() -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(UserError, match="settings cannot be stored: .* nested more than 100 deep"):
        make(settings={"nested": nested})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", None),
        ("seed", 1.5),
        ("seed", True),
        ("method", 1),
        ("created", None),
        ("steps", 1.5),
        ("factor", True),
        ("seconds", "x"),
        ("images", np.zeros((6, 3, 8, 8), dtype=np.uint8)),
        ("labels", None),
        ("scores", [1]),
        ("versions", {"python": 3}),
        ("versions", ["3.11"]),
    ],
)
def test_parts_of_another_type_are_refused_before_they_are_stored(name: str, value: object) -> None:
    with pytest.raises(UserError, match=name):
        make(**{name: value})


def test_numbers_of_numpy_are_stored_as_python_s(tmp_path: Path) -> None:
    made = make(seed=np.int64(3), seconds=np.float32(2), steps=np.int32(4))
    stored = CondensedSet.load(made.save(tmp_path / "set"))
    assert (stored.seed, stored.seconds, stored.steps) == (3, 2.0, 4)


def test_what_is_no_soft_labels_is_refused() -> None:
    with pytest.raises(UserError, match="what label makes, not a int"):
        make().add_soft_labels(3)  # type: ignore[arg-type]
