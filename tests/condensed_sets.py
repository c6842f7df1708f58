"""Condensed sets to test with."""

from __future__ import annotations

from typing import Any

import torch

from m3d_condense.sets.bits import quantised
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.soft import SoftLabels


def make(num_classes: int = 3, ipc: int = 2, shape: tuple[int, int, int] = (3, 8, 8), **changes: Any) -> CondensedSet:
    generator = torch.Generator().manual_seed(0)
    values: dict[str, Any] = {
        "images": torch.randint(256, (num_classes * ipc, *shape), generator=generator, dtype=torch.int32).byte(),
        "labels": torch.arange(num_classes).repeat_interleave(ipc),
        "class_names": tuple(f"class {k}" for k in range(num_classes)),
        "factor": 2,
        "mean": (0.1, 0.2, 0.3)[: shape[0]],
        "std": (0.4, 0.5, 0.6)[: shape[0]],
        "method": "m3d",
        "settings": {"lr": 0.1, "kernel": "gaussian", "scales": [1, 2], "limit": None},
        "source": {"data": "digits", "name": "digits", "fingerprint": "0123abcd"},
        "seed": 7,
        "versions": {"python": "3.11.7"},
        "hardware": {"cpu": "a processor", "cores": 2},
        "seconds": 12.25,
        "created": "2026-01-02T03:04:05+00:00",
        "history": [{"step": 0, "loss": 1.5, "seconds": 0.1}, {"step": 10, "loss": 0.5, "seconds": 1.0}],
        "scores": [Score.of("convnet3", "idc", [60.0, 61.5, 62.25], {"epochs": 10})],
    }
    return CondensedSet(**values | changes)


def make_packed(bits: int, **changes: Any) -> CondensedSet:
    """A set whose pixels have fewer bits than 8."""
    whole = make(**changes)
    levels = quantised(whole.images.float() / 255, bits)
    return make(**{**changes, "images": levels, "settings": {**whole.settings, "bits": bits}})


def soft_labels(condensed: CondensedSet, seed: int = 0, **origin: Any) -> SoftLabels:
    """Probabilities of the decoded images of a set, of no network."""
    shape = len(condensed.images) * condensed.factor**2, condensed.num_classes
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return SoftLabels.of(logits.softmax(1), {"temperature": 1.0, "networks": [{"network": "convnet"}]} | origin)


def make_soft(seed: int = 0, **changes: Any) -> CondensedSet:
    """A set with soft labels."""
    condensed = make(**changes)
    condensed.add_soft_labels(soft_labels(condensed, seed))
    return condensed
