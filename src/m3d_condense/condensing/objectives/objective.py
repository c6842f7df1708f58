"""What an objective is, and what the loop must know of one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from m3d_condense.condensing.view import View
from m3d_condense.machine.costs import FORWARD


class Objective(ABC):
    """One loss per class for real and synthetic images as an encoder sees them.

    Attributes:
        joint: whether a class's loss depends on the others' images, so that the classes must not be split in chunks.
        layered: whether it compares the maps of every block, which are then kept of the real images too.
        twice: whether it matches gradients of the weights, and so derives them once more by the images.
        passes: what a real and a synthetic image cost, in passes forward and backward through the network.
    """

    joint: bool = False
    layered: bool = False
    twice: bool = False
    passes: tuple[float, float] = (FORWARD, 1.0)

    @abstractmethod
    def __call__(self, real: View, synthetic: View, constants: bool = False) -> Tensor:
        """Return K losses; `constants` adds the terms that have no gradient, for the reported value."""
