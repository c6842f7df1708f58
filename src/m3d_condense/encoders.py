"""Where a step's encoder comes from."""

from __future__ import annotations

from typing import Protocol

from m3d_condense.engine import Encoder
from m3d_condense.seeds import derive
from m3d_condense.synthetic import Pixels


class EncoderSource(Protocol):
    """Gives each step its encoder, and may train it between steps."""

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step, counted from 0; any step may be asked for first."""
        ...

    def advance(self, pixels: Pixels) -> None:
        """Learn from the step just made, where the method trains its encoder."""
        ...


class FreshEncoders:
    """A new random network every `iterations_per_model` steps (DM with 1, M3D with 5).

    The network of a step is a function of the seed and the step, so a resumed run meets the same ones.
    """

    def __init__(self, encoder: Encoder, iterations_per_model: int, seed: int) -> None:
        self.encoder, self.iterations_per_model, self.seed = encoder, iterations_per_model, seed
        self._current = -1

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step, refilled where its turn begins."""
        index = step // self.iterations_per_model
        if index != self._current:
            self.encoder.refill(derive(self.seed, "encoder", index))
            self._current = index
        return self.encoder

    def advance(self, pixels: Pixels) -> None:
        """Do nothing: random networks are not trained."""
