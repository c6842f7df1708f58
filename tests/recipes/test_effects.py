"""Which settings do nothing beside the others."""

from typing import Any

import pytest
import torch

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.effects import idle
from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import CHOICES, Recipe
from m3d_condense.studies.variants import study
from m3d_condense.tools.errors import UserError

SMALL: dict[str, Any] = {
    "network": "convnet1-width8",
    "batch_real": 4,
    "iterations_per_model": 2,
    "encoder_batch": 8,
    "encoder_steps": 2,
    "encoder_count": 2,
    "encoder_warmup": 1,
}


def other(name: str, value: Any) -> Any:
    """Return another value that a setting may have."""
    if name in CHOICES:
        return next(choice for choice in CHOICES[name] if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return {"idc": "dsa", "dsa": "idc", "none": "crop"}.get(value, "convnet2" if name == "network" else "none")
    return {"encoder_cutmix": 0.5, "teacher_lead": 0.7, "momentum": 0.3}.get(name, value + 1)


@pytest.mark.parametrize("method", ["m3d", "dm", "dc", "dsa", "idc", "cafe", "idm", "m3d-pool", "m3d-plus"])
def test_idle_settings_change_no_bit(method: str, digits: ImageDataset) -> None:
    given = {name: value for name, value in SMALL.items() if name != "encoder_steps" or method != "cafe"}
    given["iterations"] = 3
    plain = condense(digits, ipc=1, method=method, **given)
    own = Recipe(**{name: plain.settings[name] for name in Recipe.__dataclass_fields__})
    changes = {name: other(name, getattr(own, name)) for name in idle(own)}
    assert changes
    changed = condense(digits, ipc=1, method=method, **given | changes)
    assert torch.equal(plain.images, changed.images)


@pytest.mark.parametrize("method", ["random", "herding", "k-center"])
def test_a_selection_has_little_use_for_settings(method: str, digits: ImageDataset) -> None:
    plain = condense(digits, ipc=2, method=method, selection_features="pixels")
    own = Recipe(**{name: plain.settings[name] for name in Recipe.__dataclass_fields__})
    changes = {name: other(name, getattr(own, name)) for name in idle(own).keys() - {"share_real"}}
    assert {"objective", "lr", "network", "encoders", "mosaic"} <= changes.keys()
    changed = condense(digits, ipc=2, method=method, **{"selection_features": "pixels"} | changes)
    assert torch.equal(plain.images, changed.images)


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("m3d", "kernel", "linear"),
        ("m3d", "mosaic", "bilinear"),
        ("m3d", "iterations_per_model", 1),
        ("dc", "encoder_lr", 0.3),
        ("dc", "encoder_warmup", 3),
        ("idc", "encoder_weight_decay", 0.3),
        ("idc", "encoder_cutmix", 0.0),
        ("cafe", "encoder_steps", 1),
        ("idm", "encoder_count", 1),
        ("m3d-pool", "encoder_points", 3),
        ("m3d-pool", "encoder_augmentation", "none"),
        ("m3d-plus", "teacher_lead", 0.0),
        ("herding", "selection_features", "random"),
    ],
)
def test_settings_that_are_not_idle_change_the_images(method: str, name: str, value: Any, digits: ImageDataset) -> None:
    steps = {} if method == "herding" else {"iterations": 4, "ipc": 1, "lr": 0.1} | SMALL
    given = {"ipc": 1, "factor": 2, "selection_features": "pixels"} | steps
    plain = condense(digits, method=method, **given)
    assert name not in idle(Recipe(**{one: plain.settings[one] for one in Recipe.__dataclass_fields__}))
    assert not torch.equal(plain.images, condense(digits, method=method, **given | {name: value}).images)


def test_every_idle_setting_is_one_of_the_recipe() -> None:
    for method in METHODS:
        found = idle(recipe(method, "paper", Problem(ipc=1, side=32), {}))
        assert found.keys() < Recipe.__dataclass_fields__.keys()


def test_a_setting_without_effect_is_said(digits: ImageDataset, capsys: pytest.CaptureFixture[str]) -> None:
    given = SMALL | {"iterations": 1, "network": "convnet1"}
    condense(digits, ipc=1, method="dm", kernel="linear", encoder_lr=0.3, **given)
    said = capsys.readouterr().err
    assert "kernel=linear has no effect: it goes with objective mmd" in said
    assert "encoder_lr=0.3 has no effect: it goes with synthetic, dynamic, real, queue or pool encoders" in said
    condense(digits, ipc=1, method="dm", lr=0.3, iterations=1, network="convnet1", batch_real=4)
    assert "has no effect" not in capsys.readouterr().err
    condense(digits, ipc=1, method="random", lr=0.3)
    assert "lr=0.3 has no effect: it goes with steps of the optimisation" in capsys.readouterr().err


def test_a_setting_without_effect_is_not_varied(digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="teacher_lead has no effect, and cannot be varied: it goes with pool encoders"):
        study(digits, vary={"teacher_lead": [0.5, 1.0]}, method="m3d", ipc=1)
    with pytest.raises(UserError, match="above 0"):
        study(digits, vary={"teacher_lead": [0.5]}, method="m3d", ipc=1, encoders="pool")
