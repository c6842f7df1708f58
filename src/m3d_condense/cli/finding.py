"""Where a condensed set is that a command is given: a folder here, or a data set of the hub that holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3d_condense.tools.errors import UserError
from m3d_condense.tools.places import CONDENSED
from m3d_condense.tools.progress import notice


@dataclass(frozen=True, kw_only=True)
class Found:
    """A condensed set that was found.

    Attributes:
        name: as it was given.
        folder: that holds it.
        hub_id: of a set of the hub, whose folder is in the cache and not to be written to; None of one that lies here.
    """

    name: str
    folder: Path
    hub_id: str | None = None


def find(name: str) -> Found | None:
    """Find the set that a path or the id of a data set of the hub names; None where that is something else.

    A path names it itself or by its condensed.json, and comes before an id.

    Raises:
        UserError: it can only be an id, and the hub cannot be asked.
    """
    here = set_at(name)
    if here is not None:
        return Found(name=name, folder=here)
    hub_id = _hub_id(name)
    if hub_id is None:
        return None
    from m3d_condense.sets.hub import fetch

    folder = fetch(hub_id)
    return None if folder is None else Found(name=name, folder=folder, hub_id=hub_id)


def need(name: str | None) -> Found:
    """Find a set as `find` does, and say so where it is one of the hub.

    Raises:
        UserError: there is none, or none was given.
    """
    if name is None:
        raise UserError("no set given; name the folder that m3d condense made, or an id of the hub")
    found = find(name)
    if found is None:
        raise UserError(f"{name}: not a condensed set; give the folder that m3d condense wrote, or an id of the hub")
    if found.hub_id:
        notice(f"{found.hub_id}: a set of the Hugging Face hub, in {found.folder}")
    return found


def set_at(path: str | Path) -> Path | None:
    """Return the folder of the condensed set that a path names, itself or by its condensed.json; None for no set."""
    path = Path(path)
    folder = path.parent if path.name == CONDENSED else path
    try:
        return folder if (folder / CONDENSED).is_file() else None
    except (OSError, ValueError):  # a path that cannot even be looked at
        return None


def _hub_id(name: str) -> str | None:
    """Return the id of the hub that a name or an address gives; None for what lies here, and for known data sets."""
    from m3d_condense.data import hub
    from m3d_condense.data.sources import exists

    hub_id = hub.hub_id(name)
    if hub_id is None or ":" in hub_id or hub_id in hub.KNOWN or exists(Path(name)):
        return None
    return hub_id
