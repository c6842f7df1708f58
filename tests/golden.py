"""Golden numbers: the losses of every method's first steps, so that a change of what a method computes shows.

`python tests/golden.py` writes those of a small set anew, `python tests/golden.py cifar10` those of CIFAR-10 (minutes);
a diff of the files then says which methods changed. Presets are the papers', with fewer images a step.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shared_data
import torch

from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.methods import METHODS
from m3d_condense.tools.progress import set_quiet
from m3d_condense.tools.stopwatch import Stopwatch

PLAIN = Execution(device="cpu", precision="float32", native=False, compile="no")
SMALL_STEPS, CIFAR_STEPS = (1, 2, 3), (1, 10, 100)


def small_set() -> ImageDataset:
    """Return three classes of 32×32 images in colour: one blurred pattern each, under noise."""
    draw = np.random.default_rng(0)
    patterns = np.kron(draw.integers(60, 196, (3, 8, 8, 3)), np.ones((1, 4, 4, 1)))
    labels = np.arange(60) % 3
    images = np.clip(patterns[labels] + draw.normal(0, 40, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    return load((images, labels), test=(images[:6], labels[:6]))


def trajectory(
    dataset: ImageDataset, method: str, ipc: int, steps: Sequence[int], images: int, **changes: Any
) -> list[float]:
    """Return the mean loss over the classes at these steps of a paper preset; of a coreset, its mean pixel.

    A step takes `images` real ones, and as many synthetic ones, of each class.
    """
    few: dict[str, Any] = {"batch_real": images, "batch_synthetic": images, "encoder_batch": images}
    few |= {"selection_features": "pixels"}
    preset = recipe_for(dataset, method, "paper", ipc, {})
    few |= {"encoder_steps": min(preset.encoder_steps, 2), "encoder_count": min(preset.encoder_count, 2)}
    recipe = recipe_for(dataset, method, "paper", ipc, few | changes)
    if recipe.iterations == 0:
        return [float(start(dataset, recipe, Engine(PLAIN), Stopwatch()).values.detach().mean())]
    run = begin(dataset, recipe, Engine(PLAIN))
    losses = [float(run.take_step().mean()) for _ in range(max(steps))]
    return [losses[step - 1] for step in steps]


def small(row: str) -> list[float]:
    """Return a row's losses on the small set; how classes step may stand after the method's name."""
    method, _, class_steps = row.partition(" ")
    changes = {"class_steps": class_steps} if class_steps else {}
    return trajectory(small_set(), method, 2, SMALL_STEPS, 8, **changes)


def cifar10(row: str) -> list[float]:
    """Return a method's losses on CIFAR-10 at 10 images per class, on a narrow network."""
    return trajectory(_cifar10(), row, 10, CIFAR_STEPS, 4, network="convnet-width16", encoder_batch=64)


@functools.cache
def _cifar10() -> ImageDataset:
    return load(shared_data.folder("cifar10"))


ROWS = {
    "small": (small, [*METHODS, "m3d sequential"]),
    "cifar10": (cifar10, [name for name in METHODS if name not in ("random", "herding", "k-center")]),
}


def path(name: str) -> Path:
    """Return where the golden numbers of a set are kept."""
    return Path(__file__).with_name(f"golden_{name}.json")


def stored(name: str) -> dict[str, list[float]]:
    """Return the golden numbers of a set, by row."""
    found: dict[str, list[float]] = json.loads(path(name).read_text(encoding="utf-8"))
    return found


def write(name: str) -> None:
    """Write the golden numbers of a set anew."""
    function, rows = ROWS[name]
    lines = []
    for row in rows:
        lines.append(f'  "{row}": {json.dumps([float(f"{loss:.6g}") for loss in function(row)])}')
        print(lines[-1].strip(), flush=True)
    path(name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    set_quiet(True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["M3D_CACHE"] = cache
        write(sys.argv[1] if sys.argv[1:] else "small")
