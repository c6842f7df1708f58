"""Random networks that are never trained."""

from __future__ import annotations

from m3d_condense.condensing.encoders.source import EncoderSource, Material
from m3d_condense.condensing.view import Encoder
from m3d_condense.tools.seeds import derive


class FreshEncoders(EncoderSource):
    """A new random network every `iterations_per_model` steps (DM with 1, M3D with 5).

    The network of a step is a function of the seed and the step, so there is no state to keep.
    """

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self._current = -1

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step, refilled where its turn begins."""
        index = step // self.recipe.iterations_per_model
        if index != self._current:
            self.encoder.refill(derive(self.recipe.seed, "encoder", index))
            self._current = index
        return self.encoder
