"""What a stored set says of its making and its scoring, as settings that can be used again."""

from __future__ import annotations

from dataclasses import dataclass, fields

from m3d_condense.recipes.names import imports_code
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.tools.errors import UserError


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


def scored_by(condensed: CondensedSet, score: Score) -> str:
    """Say by which protocol a set was scored, in what that is not the protocol's own, and on which other data.

    Such as "quick, 2 epochs, soft labels, on few in place of the source".
    """
    own_epochs = None
    if score.protocol in PROTOCOLS:
        problem = condensed.problem(mirrored=True)
        own_epochs = PROTOCOLS[score.protocol].adapted(problem, factor=condensed.factor).epochs
    said = score.trained_by(own_epochs)
    kept, flip = condensed.settings.get("flip"), score.settings.get("flip")
    if None not in (kept, flip) and flip != kept:
        said += f", {'mirrored' if flip else 'not mirrored'}"
    source, tested = condensed.source.get("fingerprint"), score.settings.get("fingerprint")
    if None in (source, tested) or source == tested:
        return said
    return f"{said}, on {score.settings.get('data', 'other data')} in place of the source"


def recipe_of(condensed: CondensedSet) -> Recipe | None:
    """Return the recipe that a set was made by; None where its settings are not one, as those of an imported set.

    Nor where its network is code, which no set may have imported.
    """
    names = {field.name for field in fields(Recipe)}
    try:
        found = Recipe(**{name: value for name, value in condensed.settings.items() if name in names})
    except (TypeError, AttributeError, UserError):
        return None
    return None if imports_code(str(found.network)) else found


def is_grouped(condensed: CondensedSet) -> bool:
    """Whether a set's classes were condensed in groups: networks that are trained for it know those of one group."""
    return condensed.settings.get("class_groups") is not None
