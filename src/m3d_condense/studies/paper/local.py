"""Data sets by the names that the paper's grids have for them: copies in a folder, or the hub's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.load import load
from m3d_condense.data.sources import HUB_SETS, NAMES
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

__all__ = ["KNOWN", "DataSets"]

KNOWN = NAMES
"""Names that a grid may have for a data set."""
COPIES: Mapping[str, tuple[str, ...]] = {
    "fashion-mnist": ("fashionmnist", "fmnist"),
    "cifar10": ("cifar10", "cifar10batchespy", "cifar10batchesbin", "cifar10binary", "cifar10python"),
    "cifar100": ("cifar100", "cifar100python", "cifar100binary"),
    "imagenette": ("imagenette", "imagenette2", "imagenette2160", "imagenette2320", "imagenettemini"),
    "imagewoof": ("imagewoof", "imagewoof2", "imagewoof2160", "imagewoof2320"),
}
"""What a copy may be called, in small letters and digits; others have their own name."""
WHOLE_IMAGENET = ("imagenet", "imagenet1k", "ilsvrc2012")
"""What a copy of ImageNet may be called: the classes of its subsets are picked from it."""
SIDES = {"imagenet-10": 224, "imagenet-100": 224, "imagenette": 128, "imagewoof": 128}
"""Pixels that photographs are resized to."""
FILES = (".npz", ".mat", ".parquet")


class DataSets:
    """Data sets by name; the one that was asked for last stays in memory.

    Args:
        root: a folder of local copies, which are then all there is; None takes what has a name from the hub.

    Raises:
        UserError: `root` is no folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        if root is not None and not root.is_dir():
            raise UserError("no such folder", setting="data_root", value=root)
        self.root = root
        self.of = lru_cache(maxsize=1)(self._load)

    def _load(self, name: str) -> ImageDataset:
        """Return a data set under its name here.

        Raises:
            UserError: it is not at hand, or cannot be read.
        """
        place = self._place(name)
        size = SIDES.get(name)
        known = HUB_SETS.get(name)
        if isinstance(place, str):
            return load(place, size=size)
        tables = place.suffix == ".parquet" or any(place.rglob("*.parquet"))
        column = known.label_column if known is not None and tables else None
        whole = name in SUBSETS and _squeezed(place.name) in WHOLE_IMAGENET
        dataset = load(place, size=size, label_column=column, classes=name if whole else None)
        mirrored = dataset.mirrored if known is None else known.mirrored
        named = dataclasses.replace(dataset, name=name, mirrored=mirrored)
        named.recall(dataset.computed())
        if dataset.mirrored and not mirrored:
            notice(f"{name} is known: its images are not mirrored")
        return named

    def _place(self, name: str) -> str | Path:
        """Return what `load` takes: a name, or the path of a copy."""
        if name == "digits" or self.root is None:
            return name
        names = COPIES.get(name, (_squeezed(name),))
        if name in SUBSETS:
            names += WHOLE_IMAGENET
        found = sorted(
            entry
            for entry in self.root.iterdir()
            if (entry.is_dir() and _squeezed(entry.name) in names)
            or (entry.suffix in FILES and _squeezed(entry.stem) in names)
        )
        found.sort(key=lambda entry: _squeezed(entry.name) in WHOLE_IMAGENET)  # a copy of its own comes first
        if not found:
            raise UserError(f"{name} is not at hand: no copy of it in {self.root}")
        return found[0]


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
