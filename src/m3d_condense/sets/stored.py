"""How the networks were trained that a set was last scored with: what is trained on it follows that again."""

from __future__ import annotations

from dataclasses import dataclass

from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.sets.condensed import CondensedSet


@dataclass(frozen=True, kw_only=True)
class StoredProtocol:
    """What a set's newest score says of its training.

    Attributes:
        name: of the protocol.
        network: the architecture.
        epochs: that were trained; None for the protocol's.
        flip: whether a mirrored image keeps its class; None where the score does not say.
    """

    name: str = "quick"
    network: str = "convnet"
    epochs: int | None = None
    flip: bool | None = None


def stored_protocol(condensed: CondensedSet) -> StoredProtocol:
    """Return the newest score's protocol that there is here; the protocol `quick` for a set without one."""
    known = [score for score in condensed.scores if score.protocol in PROTOCOLS]
    if not known:
        return StoredProtocol()
    newest = known[-1]
    epochs, flip = newest.settings.get("epochs"), newest.settings.get("flip")
    return StoredProtocol(
        name=newest.protocol,
        network=newest.network,
        epochs=epochs if isinstance(epochs, int) else None,
        flip=flip if isinstance(flip, bool) else None,
    )
