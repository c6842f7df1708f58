"""``m3d push``: what is sent to the hub is listed, and sent."""

from __future__ import annotations

from pathlib import Path

from m3d_condense.cli.finding import set_at
from m3d_condense.machine.memory import readable
from m3d_condense.sets import hub
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice


def run(given: Path, hub_id: str, *, private: bool, dry_run: bool) -> int:
    """Push the set in a folder, or list its files."""
    folder = set_at(given)
    if folder is None:
        raise UserError(f"{given}: not a condensed set; give the folder that m3d condense wrote")
    hub.check_id(hub_id)
    for path in local_paths(CondensedSet.load(folder)):
        notice(f"condensed.json and README.md name {path} as the source: who sees the set sees that")
    if not dry_run:
        print(hub.push(folder, hub_id, private=private))
        return 0
    files = hub.to_push(folder)
    width = max(map(len, files))
    lines = [f"{name:{width}}  {readable(size):>9}" for name, size in files.items()]
    total = readable(sum(files.values()))
    print(*lines, f"{len(files)} files, {total}, to {hub_id}{' (private)' if private else ''}; nothing sent", sep="\n")
    return 0


def local_paths(condensed: CondensedSet) -> list[str]:
    """Return the paths of this machine that a set gives as its source."""
    data = condensed.source.get("data")
    return [
        str(path) for path in (data if isinstance(data, list) else [data]) if path and Path(str(path)).is_absolute()
    ]
