"""Objectives by name: what is compared between real and synthetic images.

A new one is a function of features K×N×D and K×M×D in a file of this room, and a line in `build`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from m3d_condense import kernels
from m3d_condense.engine import Encoder
from m3d_condense.objectives.distribution import FeatureMatching, mean_distance


class Objective(Protocol):
    """One loss per class for images K×N×C×H×W and K×M×C×H×W, normalised and augmented."""

    def __call__(self, encoder: Encoder, real: Tensor, synthetic: Tensor, whole: bool = False) -> Tensor:
        """Return K losses; `whole` adds terms without a gradient, for the reported value."""
        ...


def build(name: str, *, kernel: str) -> Objective:
    """Build an objective by name: "mmd" (M3D, Eq. 9, under `kernel`) or "mean" (DM)."""
    if name == "mmd":
        return FeatureMatching(lambda real, synthetic, whole: kernels.mmd(real, synthetic, kernel, whole=whole))
    if name == "mean":
        return FeatureMatching(mean_distance)
    raise ValueError(f"unknown objective {name!r}: mmd or mean")
