"""What there is by name, and where it lives. Nothing is imported until it is used, so that help is quick.

To add an objective, an encoder source or a selection, write it in a file of its room and name it here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m3d_condense.recipes import papers

OBJECTIVES: Mapping[str, str] = {
    "mmd": "condensing.objectives.distribution:mmd",
    "mean": "condensing.objectives.distribution:mean",
    "moments2": "condensing.objectives.distribution:two_moments",
    "moments3": "condensing.objectives.distribution:three_moments",
    "layers": "condensing.objectives.layers:layers",
    "attention": "condensing.objectives.layers:attention",
    "gradient-cosine": "condensing.objectives.gradient:gradient_cosine",
    "gradient-mse": "condensing.objectives.gradient:gradient_mse",
    "gradient-l1": "condensing.objectives.gradient:gradient_l1",
}
"""What is compared between real and synthetic images: a function of the recipe that returns an `Objective`."""

ENCODERS: Mapping[str, str] = {
    "fresh": "condensing.encoders.fresh:FreshEncoders",
    "synthetic": "condensing.encoders.trained:EncodersOnSynthetic",
    "dynamic": "condensing.encoders.dynamic:DynamicEncoders",
    "real": "condensing.encoders.trained:EncodersOnReal",
    "queue": "condensing.encoders.queue:QueueEncoders",
    "pool": "condensing.encoders.pool:PoolEncoders",
}
"""Where the encoder of a step comes from: an `EncoderSource`."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A way to choose real images of a class by their features: a coreset, and an initialisation.

    Attributes:
        function: where it lives: of features N×D and a count M, it returns indices M.
        title, citation: of the method that stores the selection.
    """

    function: str
    title: str
    citation: str


SELECTIONS: Mapping[str, Selection] = {
    "herding": Selection(
        function="condensing.coresets:herding",
        title="Herding: real images whose mean feature is the class's",
        citation=papers.HERDING,
    ),
    "k-center": Selection(
        function="condensing.coresets:k_center",
        title="K-Center: real images that leave none far from all of them",
        citation=papers.K_CENTER,
    ),
}

EASY = "easy"
INITIALISATIONS = ("random", EASY, *SELECTIONS, "noise")


def find(place: str) -> Any:
    """Import what lives at ``module:name`` of this package."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"m3d_condense.{module}"), name)


def imports_code(network: str) -> bool:
    """Tell whether the name of a network is a user's ``module:callable``, which is imported to make it."""
    return ":" in network and not network.startswith("timm:")
