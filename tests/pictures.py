"""Pictures to test with: random pixels, and folders of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(*shape: int, seed: int = 0) -> NDArray[Any]:
    """Return random uint8 pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(number: int) -> bytes:
    """Return a PNG of 4×5 random pixels, another one for each number."""
    buffer = io.BytesIO()
    Image.fromarray(noise(4, 5, 3, seed=number)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(
    root: Path, classes: Sequence[str] = ("ant", "bee"), count: int = 5, shape: tuple[int, ...] = (6, 8, 3)
) -> Path:
    """Fill a folder with a sub-folder of images for each class; return it."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(noise(*shape, seed=100 * number + i)).save(root / name / f"{i}.png")
    return root


def moving(file: Path, shape: tuple[int, ...] = (6, 8, 3)) -> Path:
    """Write a picture of two frames; return its path."""
    first, second = (Image.fromarray(noise(*shape, seed=seed)) for seed in (7, 8))
    first.save(file, save_all=True, append_images=[second])
    return file
