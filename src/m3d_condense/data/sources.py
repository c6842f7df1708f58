"""Where images come from: the Hugging Face hub, and what lies on this machine.

Each source gives labelled rows of undecoded images.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3d_condense.data import hub
from m3d_condense.data.classes import chosen_rows
from m3d_condense.data.hub import HUB_SETS, NAMES, UNMIRRORED
from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.pictures import translated
from m3d_condense.tools.errors import UserError

if TYPE_CHECKING:
    from m3d_condense.data.local import Found

__all__ = ["HUB_SETS", "NAMES", "UNMIRRORED", "exists", "find", "labelled"]

LONGEST = 300  # letters of a name in a message


def find(
    data: str | list[str],
    image_column: str | None,
    label_column: str | None,
    asked: Sequence[str] | None = None,
) -> Found:
    """Find a name of `HUB_SETS`, a hub id or its address, a folder, or parquet files (one path or a list of paths).

    Returns the training split, the test split where there is one, and the K class names. Raises UserError
    where the data cannot be found, reached or read, or could be read in more than one way.
    """
    from m3d_condense.data import local  # and pyarrow with it, which what is found in the cache does not need

    known = HUB_SETS.get(data) if isinstance(data, str) else None
    if known is None and (paths := _existing(data)):
        found = local.find(paths, image_column, label_column, asked)
    else:
        import datasets  # noqa: F401  # before it is silenced

        column = label_column or (known.label_column if known else None)
        with translated(data, local=False):
            found = local.labelled_tables(hub.read(str(data), known), image_column, column)
        if known is not None and known.subset is not None:
            found = chosen_rows(found[0], [one.id for one in SUBSETS[known.subset]], found[1])
    return found


def labelled(tables: dict[str, Any], image_column: str | None, label_column: str | None) -> Found:
    """Take tables of `datasets` by split, as `find` takes names and paths."""
    from m3d_condense.data import local

    with translated("the data set", local=True):
        return local.labelled_tables(tables, image_column, label_column)


def exists(path: Path) -> bool:
    """Whether there is such a path; a text that can be none, as a very long one, is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _existing(data: str | list[str]) -> list[Path]:
    """Return the paths; nothing for a hub id. Raises UserError for what is neither."""
    given = [data] if isinstance(data, str) else data
    missing = [path for path in given if not exists(Path(path))]
    if not missing:
        return [Path(path) for path in given]
    if isinstance(data, str) and hub.hub_id(data) == data:
        return []
    if "://" in missing[0]:
        raise UserError(f"{missing[0]} is an address: fetch it, and give the folder or file")
    shown = missing[0] if len(missing[0]) < LONGEST else f"{missing[0][:LONGEST]}…"
    near = difflib.get_close_matches(shown.lower(), NAMES, n=2)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known names: {', '.join(NAMES)}"
    raise UserError(f"no such file or folder: {shown}; {advice}")
