"""The table of methods: each row is a composition of settings, with its paper's values and a quick preset.

To add a method, write its values here; the loop knows none of them. Every value can be overridden one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from m3d_condense.recipes import papers
from m3d_condense.recipes.names import SELECTIONS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError

PRESETS = ("quick", "paper")
HIGH_RESOLUTION = 64  # pixels; from this side on the settings of the papers' ImageNet subsets hold
DSA = "color_crop_cutout_flip_scale_rotate"
# Several papers move pixels normalised by about 0.25; a step of 1 on those is one of 0.25² on pixels in [0, 1].
NORMALISED = 0.25**2

Values = dict[str, Any]
Setting = Callable[[int, int], Values]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: what it is, where it comes from, and its values as functions of ipc and the images' side."""

    title: str
    citation: str
    quick: Setting
    paper: Setting


# What every method shares unless it says otherwise; the quick values are ours, sized for two cores.
_COMMON: Values = {
    "seed": 0,
    "initialisation": "random",
    "selection_features": "trained",
    "factor": 1,
    "objective": "mmd",
    "kernel": "gaussian",
    "cross_entropy": 0.0,
    "encoders": "fresh",
    "iterations_per_model": 1,
    "encoder_steps": 0,
    "encoder_batch": 64,
    "encoder_lr": 0.01,
    "encoder_count": 1,
    "encoder_warmup": 0,
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
    return {"objective": "mean", "augmentation": DSA}


def _dm_paper(ipc: int, side: int) -> Values:
    return _dm(ipc, side) | {"iterations": 20_000, "batch_real": 256, "optimizer": "sgd", "lr": NORMALISED}


def _cafe(ipc: int, side: int) -> Values:
    return {"objective": "layers", "encoders": "dynamic", "encoder_batch": 256, "augmentation": "none"}


def _cafe_quick(ipc: int, side: int) -> Values:
    # A step trains and queries the network ten times or more, so fewer steps fit in the same minutes.
    few = {"iterations": 200 if side < HIGH_RESOLUTION else 60, "encoder_steps": 12}
    return _quick(side) | _cafe(ipc, side) | few


def _cafe_paper(ipc: int, side: int) -> Values:
    values = {"iterations": 20_000, "batch_real": 256, "encoder_steps": 100, "optimizer": "sgd", "lr": 0.1 * NORMALISED}
    return _cafe(ipc, side) | values


def _datadam(ipc: int, side: int) -> Values:
    return {"objective": "attention", "augmentation": DSA}


def _datadam_paper(ipc: int, side: int) -> Values:
    # Its public code multiplies the loss by 100; here the rate is.
    values = {"iterations": 8_000, "batch_real": 128, "optimizer": "sgd", "lr": 100 * NORMALISED}
    return _datadam(ipc, side) | values


def _idm(ipc: int, side: int) -> Values:
    return {
        "objective": "mean",
        "factor": _factor(side),
        "encoders": "queue",
        "iterations_per_model": 30 if ipc > 1 else 5,
        # The public weights, 0.5 and 0.1, are multiplied with accuracies in percent, ours with shares.
        "cross_entropy": 50.0 if ipc < 50 else 10.0,
        "augmentation": DSA,
    }


def _idm_quick(ipc: int, side: int) -> Values:
    return _quick(side) | _idm(ipc, side) | {"encoder_count": 10, "encoder_steps": 5}


def _idm_paper(ipc: int, side: int) -> Values:
    network = {"encoder_count": 100, "encoder_steps": 10, "encoder_batch": 256}
    pixels = {"iterations": 20_000, "batch_real": 256, "optimizer": "sgd", "lr": 0.2 * NORMALISED}
    return _idm(ipc, side) | network | pixels


def _dc(ipc: int, side: int) -> Values:
    loops = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
    outer, inner = loops[min(loops, key=lambda known: abs(known - ipc))]
    return {
        "objective": "gradient-cosine",
        "encoders": "synthetic",
        "iterations_per_model": outer,
        "encoder_steps": inner * -(-10 * ipc // 256),  # passes over the images of ten classes
        "encoder_batch": 256,
        "augmentation": "none",
    }


def _dc_quick(ipc: int, side: int) -> Values:
    values = _dc(ipc, side)
    return _quick(side) | values | {"encoder_steps": min(values["encoder_steps"], 10)}


def _dc_paper(ipc: int, side: int) -> Values:
    values = _dc(ipc, side)
    pixels = {"batch_real": 256, "optimizer": "sgd", "lr": 0.1 * NORMALISED, "initialisation": "noise"}
    return values | pixels | {"iterations": 1_000 * values["iterations_per_model"]}


def _idc(ipc: int, side: int) -> Values:
    return {
        "objective": "gradient-mse" if side == 32 else "gradient-l1",  # CIFAR and SVHN; others
        "factor": _factor(side),
        "encoders": "real",
        "iterations_per_model": 100,
        "batch_synthetic": 128,
        "augmentation": "color_crop_cutout",
        "augmentation_draw": "idc",
    }


def _idc_quick(ipc: int, side: int) -> Values:
    return _quick(side) | _idc(ipc, side) | {"encoder_steps": 10}


def _idc_paper(ipc: int, side: int) -> Values:
    high = side >= HIGH_RESOLUTION
    rate = 3e-3 if high else 5e-3 if side == 32 else 1e-4
    pixels = {"iterations": 50_000 if high else 200_000, "batch_real": 64, "optimizer": "sgd", "lr": rate}
    encoder = {"encoder_steps": 8 if high else 31, "encoder_warmup": 2_000 if high else 0}
    return _idc(ipc, side) | pixels | encoder | {"network": "resnetap10" if high else "convnet"}


def _pool(ipc: int, side: int) -> Values:
    return {
        "encoders": "pool",
        "iterations_per_model": 1,
        "encoder_count": 5,
        "encoder_steps": 400,
        "encoder_batch": 256,
        "encoder_lr": 0.05,
        "cross_entropy": 0.05,
    }


def _pool_paper(ipc: int, side: int) -> Values:
    # No paper has this row; the pool is DANCE's: 20 networks of 60 epochs on 50,000 images.
    return _m3d_paper(ipc, side) | _pool(ipc, side) | {"encoder_count": 20, "encoder_steps": 12_000}


def _row(title: str, citation: str, quick: Setting, paper: Setting, **changes: Any) -> Method:
    """Make a row out of another's values and what it changes."""
    return Method(
        title=title,
        citation=citation,
        quick=lambda ipc, side: quick(ipc, side) | changes,
        paper=lambda ipc, side: paper(ipc, side) | changes,
    )


def _coreset(title: str, citation: str, initialisation: str) -> Method:
    values = {"iterations": 0, "batch_real": 1, "augmentation": "none", "optimizer": "sgd", "lr": 1.0}
    return _row(title, citation, lambda *_: values, lambda *_: values, initialisation=initialisation)


def _quick_of(values: Setting) -> Setting:
    return lambda ipc, side: _quick(side) | values(ipc, side)


_m3d_quick, _dm_quick = _quick_of(_m3d), _quick_of(_dm)
_AUGMENTED = {"augmentation": DSA}

METHODS: Mapping[str, Method] = {
    "m3d": _row("M3D: minimizing maximum mean discrepancy", papers.M3D, _m3d_quick, _m3d_paper),
    "m3d-linear": _row("M3D with the linear kernel", papers.M3D, _m3d_quick, _m3d_paper, kernel="linear"),
    "m3d-polynomial": _row("M3D with the polynomial kernel", papers.M3D, _m3d_quick, _m3d_paper, kernel="polynomial"),
    "m3d-no-factor": _row("M3D without the factor", papers.M3D, _m3d_quick, _m3d_paper, factor=1),
    "m3d-pool": _row(
        "M3D on encoders out of a trained pool, with cross-entropy",
        papers.POOL,
        lambda ipc, side: _m3d_quick(ipc, side) | _pool(ipc, side),
        _pool_paper,
    ),
    "dm": _row("DM: distribution matching by class means", papers.DM, _dm_quick, _dm_paper),
    "dm-2nd": _row("DM with variances", papers.TABLE_1, _dm_quick, _dm_paper, objective="moments2"),
    "dm-3rd": _row("DM with variances and third moments", papers.TABLE_1, _dm_quick, _dm_paper, objective="moments3"),
    "dm-m3d": _row("DM with M3D's loss", papers.TABLE_5, _dm_quick, _dm_paper, objective="mmd"),
    "cafe": _row("CAFE: aligning the features of every layer", papers.CAFE, _cafe_quick, _cafe_paper),
    "cafe-dsa": _row("CAFE with Siamese augmentation", papers.CAFE, _cafe_quick, _cafe_paper, **_AUGMENTED),
    "datadam": _row("DataDAM: matching spatial attention", papers.DATADAM, _quick_of(_datadam), _datadam_paper),
    "idm": _row("IDM: a queue of trained encoders, and cross-entropy", papers.IDM, _idm_quick, _idm_paper),
    "idm-m3d": _row(
        # M3D's loss is bounded: IDM's weight of the cross-entropy would rule it. The paper does not say which it used.
        "IDM with M3D's loss",
        papers.TABLE_5,
        _idm_quick,
        _idm_paper,
        objective="mmd",
        cross_entropy=0.05,
    ),
    "dc": _row("DC: matching gradients", papers.DC, _dc_quick, _dc_paper),
    "dsa": _row(
        "DSA: matching gradients under Siamese augmentation",
        papers.DSA,
        lambda ipc, side: _dc_quick(ipc, side) | _AUGMENTED,
        lambda ipc, side: _dc_paper(ipc, side) | _AUGMENTED | {"initialisation": "random"},
    ),
    "idc": _row("IDC: matching gradients of tiled images on networks in training", papers.IDC, _idc_quick, _idc_paper),
    "random": _coreset("Random: real images drawn at random", papers.TABLE_2, "random"),
    **{name: _coreset(chosen.title, chosen.citation, name) for name, chosen in SELECTIONS.items()},
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
