"""What in a folder is never data: our own results, the folders of systems and tools, and what is hidden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from m3d_condense.data.tree import Folder
from m3d_condense.data.words import is_hidden, is_our_leftover, is_system_folder
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.leftovers import METRICS, PREVIEW
from m3d_condense.tools.places import CONDENSED, STUDIES

OURS = "of m3d's own results in"
LITTER = {"thumbs.db", "desktop.ini"}


def pruned(root: Folder, shown: str) -> tuple[Folder, Counter[str]]:
    """Take away what is never data, and count its files by what they are.

    `shown` is how messages call the root. Raises UserError where the root itself is a result of ours.
    """
    unused: Counter[str] = Counter()
    if CONDENSED in root.others:
        raise UserError(f"{shown} is a condensed set: give the data it was condensed from")
    kept = _kept(root, unused)
    if kept is None:
        raise UserError(f"{shown} holds results of m3d only: give the folder of the data")
    return kept, unused


def _kept(folder: Folder, unused: Counter[str]) -> Folder | None:
    """The folder without what is never data; None where it held results of ours and nothing else."""
    kept: list[Folder] = []
    ours = False
    for below in folder.folders:
        if _is_ours(below):
            unused[f"{OURS} {below.path}"] += below.files
            ours = True
        elif is_system_folder(below.name):
            unused[f"in {below.name}"] += below.files
        elif is_hidden(below.name):
            unused[f"in the hidden folder {below.path}"] += below.files
        else:
            rest = _kept(below, unused)
            ours |= rest is None
            kept += [] if rest is None else [rest]
    leftovers = [name for name in folder.others if is_our_leftover(name)]
    leftovers += [name for name in folder.pictures if _is_preview(name, leftovers)]
    pictures, others = (tuple(n for n in names if n not in leftovers) for names in (folder.pictures, folder.others))
    unused[f"{OURS} {folder.path or '.'}"] += len(leftovers)
    if (ours or leftovers) and not kept and not pictures and all(_is_litter(name) for name in others):
        unused["hidden"] += len(others)
        return None
    return replace(folder, folders=tuple(kept), pictures=pictures, others=others)


def _is_ours(folder: Folder) -> bool:
    """Whether it is a condensed set, a comparison, or half of one; the folder for them alone is empty."""
    if is_our_leftover(folder.name) or CONDENSED in folder.others:
        return True
    if folder.name == "runs" and folder.files == 0:
        return True
    return not folder.pictures and bool(STUDIES & set(folder.others))


def _is_preview(name: str, leftovers: Collection[str]) -> bool:
    """Whether a picture shows how a run goes whose logged steps lie beside it."""
    return name.endswith(PREVIEW) and name.removesuffix(PREVIEW) + METRICS in leftovers


def _is_litter(name: str) -> bool:
    return is_hidden(name) or name.lower() in LITTER
