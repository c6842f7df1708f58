"""The table of methods: each row is a composition of settings, with its paper's values and a quick preset.

To add a method, write its values here; the loop knows none of them. Every value can be overridden one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from m3d_condense.errors import UserError
from m3d_condense.recipe import Recipe

PRESETS = ("quick", "paper")
HIGH_RESOLUTION = 64  # pixels; from this side on the settings of the papers' ImageNet subsets hold
UNMIRRORED = ("digits", "mnist", "svhn")  # data whose images change meaning when mirrored

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: what it is, where it comes from, and its values as functions of ipc and the images' side."""

    title: str
    citation: str
    quick: Callable[[int, int], Values]
    paper: Callable[[int, int], Values]


# What every method shares unless it says otherwise; the quick values are ours, sized for two cores.
_COMMON: Values = {
    "seed": 0,
    "initialisation": "random",
    "selection_features": "trained",
    "factor": 1,
    "objective": "mmd",
    "kernel": "gaussian",
    "encoders": "fresh",
    "iterations_per_model": 1,
    "network": "convnet",
    "batch_synthetic": 200,
    "augmentation_draw": "dsa",
    "lr_schedule": "constant",
    "momentum": 0.5,
}


def _quick(side: int) -> Values:
    iterations = 600 if side < HIGH_RESOLUTION else 200
    return {"iterations": iterations, "batch_real": 64, "optimizer": "adam", "lr": 0.01, "lr_schedule": "cosine"}


def _factor(side: int) -> int:
    """Return the paper's 2, or 3 at high resolution; images below 16 pixels are too small to be cut up."""
    return 3 if side >= HIGH_RESOLUTION else 2 if side >= 16 else 1


def _m3d(ipc: int, side: int) -> Values:
    return {
        "factor": _factor(side),
        "iterations_per_model": 5,
        "augmentation": "color_crop_cutout",
        "augmentation_draw": "idc",
    }


def _m3d_paper(ipc: int, side: int) -> Values:
    high = side >= HIGH_RESOLUTION
    return _m3d(ipc, side) | {
        "iterations": 1_000 if high else 10_000,
        "network": "resnetap10" if high else "convnet",
        "batch_real": 128,
        "optimizer": "sgd",
        # The paper's nominal 1 and 0.1, scaled with ipc as its public configurations are: the
        # gradient of an image falls as 1/ipc.
        "lr": (0.1 if high else 1.0) * ipc,
    }


def _dm(ipc: int, side: int) -> Values:
    return {"objective": "mean", "augmentation": "color_crop_cutout_flip_scale_rotate"}


def _dm_paper(ipc: int, side: int) -> Values:
    return _dm(ipc, side) | {"iterations": 20_000, "batch_real": 256, "optimizer": "sgd", "lr": 1.0}


def _coreset(initialisation: str) -> Callable[[int, int], Values]:
    values = {"iterations": 0, "batch_real": 1, "augmentation": "none", "optimizer": "sgd", "lr": 1.0}
    return lambda ipc, side: values | {"initialisation": initialisation}


METHODS: Mapping[str, Method] = {
    "m3d": Method(
        title="M3D: minimizing maximum mean discrepancy",
        citation="Zhang, Li, Wang, Zeng, Ge. M3D: Dataset Condensation by Minimizing Maximum Mean Discrepancy. "
        "AAAI 2024.",
        quick=lambda ipc, side: _quick(side) | _m3d(ipc, side),
        paper=_m3d_paper,
    ),
    "dm": Method(
        title="DM: distribution matching by class means",
        citation="Zhao, Bilen. Dataset Condensation with Distribution Matching. WACV 2023.",
        quick=lambda ipc, side: _quick(side) | _dm(ipc, side),
        paper=_dm_paper,
    ),
    "random": Method(
        title="Random: real images drawn at random",
        citation="A baseline; Table 2 of Zhang et al., AAAI 2024.",
        quick=_coreset("random"),
        paper=_coreset("random"),
    ),
    "herding": Method(
        title="Herding: real images whose mean feature is the class's",
        citation="Welling. Herding Dynamical Weights to Learn. ICML 2009.",
        quick=_coreset("herding"),
        paper=_coreset("herding"),
    ),
    "k-center": Method(
        title="K-Center: real images that leave none far from all of them",
        citation="Sener, Savarese. Active Learning for Convolutional Neural Networks: A Core-Set Approach. ICLR 2018.",
        quick=_coreset("k-center"),
        paper=_coreset("k-center"),
    ),
}


def recipe(
    method: str, preset: str, *, ipc: int, side: int, mirrored: bool = True, overrides: Mapping[str, Any]
) -> Recipe:
    """Resolve a method and a preset into the settings of a run.

    Args:
        method: a key of `METHODS`.
        preset: one of `PRESETS`.
        ipc: stored images per class.
        side: of the images, in pixels; the smaller one.
        mirrored: the default of ``flip``: whether mirrored images keep their class.
        overrides: settings that take precedence; those that are None do not count.

    Raises:
        UserError: for an unknown method, preset or setting, or a value out of range.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}: one of {', '.join(METHODS)}")
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}: one of {', '.join(PRESETS)}")
    row = METHODS[method]
    values = _COMMON | {"flip": mirrored} | (row.quick if preset == "quick" else row.paper)(ipc, side)
    given = {name: value for name, value in overrides.items() if value is not None}
    unknown = given.keys() - Recipe.__dataclass_fields__.keys()
    if unknown:
        raise UserError(f"unknown setting {sorted(unknown)[0]!r}: one of {', '.join(Recipe.__dataclass_fields__)}")
    return Recipe(**values | given | {"method": method, "preset": preset, "ipc": ipc})
