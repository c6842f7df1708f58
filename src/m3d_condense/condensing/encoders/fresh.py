"""Random networks that are never trained."""

from __future__ import annotations

from torch import Tensor

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder
from m3d_condense.tools.seeds import derive


class FreshEncoders:
    """A new random network every `iterations_per_model` steps (DM with 1, M3D with 5).

    The network of a step is a function of the seed and the step, so there is no state to keep.
    """

    spared = 0.0

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

    def advance(self, step: int, pixels: Pixels) -> None:
        """Do nothing: random networks are not trained."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Do nothing."""
