"""Folders of pictures beside which files list labels and splits, as listings and texts."""

from __future__ import annotations

from typing import Any

from m3d_condense.data.layout import Layout, pictures_layout
from m3d_condense.data.tree import tree

FLAT = [f"pictures/{number}.png" for number in range(4)]
FOOD = [f"food/images/{name}/{number}.png" for number, name in enumerate(["pie", "cake"] * 4)]


def read(paths: list[str], texts: dict[str, str], **options: Any) -> Layout:
    return pictures_layout(tree([*paths, *texts], {".png", ".jpg", ".jpeg"}), texts, shown="data", **options)


def labels(layout: Layout) -> dict[str, list[str]]:
    return {part.name: list(part.labels) for part in layout.parts}


def rows(*cells: str) -> str:
    return "\n".join(cells) + "\n"
