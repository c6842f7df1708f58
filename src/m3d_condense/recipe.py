"""Every setting of a condensation run, in one frozen record. Free of torch, so that help is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass

from m3d_condense.errors import UserError

OBJECTIVES = ("mmd", "mean")
KERNELS = ("gaussian", "polynomial", "linear")
ENCODERS = ("fresh",)
INITIALISATIONS = ("random", "herding", "k-center", "noise")
SELECTION_FEATURES = ("trained", "random", "pixels")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine")
OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
DRAWS = ("idc", "dsa")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does; a named method is a set of values for these.

    Args:
        method: name of the row in the table of methods that the values came from.
        preset: quick or paper.
        ipc: stored images per class.
        seed: of every random draw.
        initialisation: real images the synthetic ones start from, chosen at random, by herding or by
            k-center; or noise for none.
        selection_features: what herding and k-center compare: features of a network trained on the data, of a
            random one, or pixels.
        factor: l; each stored image holds l×l small ones (M3D, Eq. 10).
        iterations: steps of the loop; 0 stores the initialisation, which makes a coreset.
        objective: mmd (M3D, Eq. 9) or mean (DM, Eq. 3).
        kernel: of the mmd objective: gaussian, polynomial or linear.
        encoders: where the encoder comes from: fresh random networks.
        iterations_per_model: steps that one network serves.
        network: architecture of the encoder: convnet or convnetD with its depth, resnet10, resnet18,
            resnetap10, densenet121, any with -batch or -group for its norm; module:callable; or timm:NAME.
        batch_real: real images per class and step.
        batch_synthetic: at most this many decoded synthetic images per class and step.
        augmentation: operations joined by _ out of color, crop, cutout, flip, scale, rotate; or none.
        augmentation_draw: idc (colour, flip and cutout always, one of the rest) or dsa (one of all).
        flip: whether a mirrored image is still of its class; off takes flip out of the augmentation.
        optimizer: of the pixels: sgd, or adam, whose step adapts to the gradient's scale.
        lr: step size of the pixels, which lie in [0, 1].
        lr_schedule: constant, or cosine, which falls to nothing over the iterations.
        momentum: of sgd, for each class on its own; the first beta of adam.
    """

    method: str
    preset: str
    ipc: int
    seed: int
    initialisation: str
    selection_features: str
    factor: int
    iterations: int
    objective: str
    kernel: str
    encoders: str
    iterations_per_model: int
    network: str
    batch_real: int
    batch_synthetic: int
    augmentation: str
    augmentation_draw: str
    flip: bool
    optimizer: str
    lr: float
    lr_schedule: str
    momentum: float

    def __post_init__(self) -> None:
        choices = {
            "initialisation": INITIALISATIONS,
            "selection_features": SELECTION_FEATURES,
            "objective": OBJECTIVES,
            "kernel": KERNELS,
            "encoders": ENCODERS,
            "augmentation_draw": DRAWS,
            "optimizer": OPTIMIZERS,
            "lr_schedule": SCHEDULES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{flag(name)} {getattr(self, name)}: one of {', '.join(allowed)}")
        for name in ("ipc", "factor", "iterations_per_model", "batch_real", "batch_synthetic"):
            if getattr(self, name) < 1:
                raise UserError(f"{flag(name)} {getattr(self, name)}: at least 1")
        operations(self.augmentation)
        if self.iterations < 0:
            raise UserError(f"--iterations {self.iterations}: at least 0")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise UserError(f"--lr {self.lr}: a finite number above 0")
        if not 0 <= self.momentum < 1:
            raise UserError(f"--momentum {self.momentum}: at least 0 and below 1")


def rate(recipe: Recipe, step: int) -> float:
    """Return the pixels' step size at a step, counted from 0."""
    if recipe.lr_schedule == "constant":
        return recipe.lr
    return recipe.lr * (1 + math.cos(math.pi * step / recipe.iterations)) / 2


def operations(strategy: str) -> tuple[str, ...]:
    """Split an augmentation such as ``color_crop_cutout`` into its operations; empty or "none" has none.

    Raises:
        UserError: for an operation that is not in `OPERATIONS`.
    """
    names = () if strategy in ("", "none") else tuple(strategy.split("_"))
    for name in names:
        if name not in OPERATIONS:
            raise UserError(f"--augmentation {strategy}: no {name!r} among {', '.join(OPERATIONS)}")
    return names


def flag(name: str) -> str:
    """Return the command line's flag for a setting."""
    return "--" + name.replace("_", "-")
