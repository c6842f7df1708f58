"""Soft labels: for each decoded image of a set the probabilities of all classes, as networks that know them say.

Shapes: N stored images, l factor, K classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import plain_json

HARD, SOFT = "hard", "soft"
LABELS = (HARD, SOFT)
"""What a network can be trained on: a class for each image, or the probabilities of all classes."""

TOLERANCE = 0.01  # by which a row of stored probabilities may miss the sum of 1: rounding takes less


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftLabels:
    """The soft labels of a condensed set, as they are stored.

    Two bytes a number: with one byte, probabilities below 0.2 % would be lost, which of many classes is all of them.

    Attributes:
        probabilities: (N·l²)×K float16 on the CPU, a row for each decoded image; every row adds up to 1, but for
            rounding.
        origin: where they come from: "networks", a description of each, and the "temperature".

    Raises:
        UserError: the tensor holds anything else.
    """

    probabilities: Tensor
    origin: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", self.probabilities.cpu().contiguous())
        object.__setattr__(self, "origin", plain_json("the origin of soft labels", self.origin))
        problem = _problem(self.probabilities)
        if problem:
            raise UserError(f"soft labels {problem}")

    def __repr__(self) -> str:
        rows, classes = self.probabilities.shape
        return f"SoftLabels({rows:,} decoded images, {classes:,} classes)"

    @classmethod
    def of(cls, probabilities: Tensor, origin: dict[str, Any]) -> SoftLabels:
        """Round probabilities (N·l²)×K to what is stored."""
        return cls(probabilities=probabilities.to(torch.float16), origin=origin)

    @property
    def nbytes(self) -> int:
        """Bytes they take as they are stored."""
        return self.probabilities.nbytes

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of the stored numbers."""
        digest = hashlib.sha256(repr(tuple(self.probabilities.shape)).encode())
        digest.update(self.probabilities.numpy().data)
        return f"sha256:{digest.hexdigest()}"

    def decode(self) -> Tensor:
        """Return float32 (N·l²)×K, what a network trains on: every row adds up to 1."""
        values = self.probabilities.float()
        return values / values.sum(dim=1, keepdim=True)


def check_labels(name: str) -> None:
    """Raise `UserError` for a kind of labels that there is not."""
    if name not in LABELS:
        raise UserError(f"one of {', '.join(LABELS)}", setting="labels", value=name)


def are_probabilities(values: Tensor) -> bool:
    """Whether every row of N×K floats is finite, not below 0, and adds up to 1, but for rounding."""
    sums = values.double().sum(dim=1)
    return bool(values.isfinite().all() and (values >= 0).all() and ((sums - 1).abs() <= TOLERANCE).all())


def _problem(probabilities: Tensor) -> str | None:
    """Say what keeps a tensor from being stored probabilities; None where nothing does."""
    if probabilities.dtype != torch.float16 or probabilities.ndim != 2 or 0 in probabilities.shape:
        return f"are {probabilities.dtype} of {tuple(probabilities.shape)}, not float16 of images × classes"
    return None if are_probabilities(probabilities) else "are no probabilities: not finite, below 0, or not 1 in all"
