"""How far rounding moves what a step computes: the features, and the gradient of the pixels. No times.

Steps of M3D on random networks, by torch's own operations, eager and in float32, and the same steps in other arithmetic
and by native blocks. Beside them the same step with other real images, as any two steps differ.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import parse, parser, publish, record
from m3d_condense import Execution, ImageDataset, load
from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.condensing.run import begin
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.native import multiplies_bfloat16
from m3d_condense.tools.progress import set_quiet

STILL = {"optimizer": "sgd", "lr": 1e-12, "lr_schedule": "constant"}  # pixels that no step moves
ALIKE = {"augmentation": "none", "iterations_per_model": 2}  # two steps that differ in their real images alone

Seen = tuple[Tensor, Tensor]


def paths(device: str) -> dict[str, Execution]:
    """Return what is compared, by name: the reference, then each arithmetic that the device has."""
    kinds: dict[str, dict[str, Any]] = {"torch, float32": {"native": False}}
    if device == "cpu":
        kinds |= {"native blocks, float32": {}}
        if multiplies_bfloat16():
            kinds |= {"native blocks, bfloat16": {"precision": "bfloat16"}}
    else:
        kinds |= {"torch, tf32": {"precision": "tf32"}}
    kinds |= {"torch, bfloat16": {"native": False, "precision": "bfloat16"}}
    usual = {"device": device, "precision": "float32", "compile": "no"}
    return {name: Execution(**(usual | kind)) for name, kind in kinds.items()}


def steps(dataset: ImageDataset, arguments: argparse.Namespace, execution: Execution) -> list[Seen]:
    """Return features of real images, and the gradient of all pixels, of two steps on each of `rounds` networks."""
    settings = {"network": arguments.network, "batch_real": arguments.batch_real}
    settings |= STILL | ALIKE | {"iterations": 2 * arguments.rounds}
    run = begin(dataset, recipe_for(dataset, "m3d", "quick", arguments.ipc, settings), Engine(execution))
    gradient = torch.zeros_like(run.pixels.values)
    run.pixels.values.register_hook(gradient.add_)  # type: ignore[no-untyped-call]
    found = []
    for step in range(2 * arguments.rounds):
        real, _ = run.draws.at(step, range(1))
        assert real is not None
        with torch.no_grad():
            features = run.encoders.at(step).features(real)
        gradient.zero_()
        run.take_step()
        found.append((features.cpu(), gradient.cpu().clone()))
    return found


def apart(seen: Tensor, reference: Tensor) -> dict[str, float]:
    """Return by how much of its length a vector has moved, and the cosine between the two."""
    cosine = torch.nn.functional.cosine_similarity(seen.flatten(), reference.flatten(), dim=0)
    return {"moved": float((seen - reference).norm() / reference.norm()), "cosine": float(cosine)}


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=3, steps=1)
    made.add_argument("data", nargs="?", default="digits", help="data set, as of m3d condense")
    made.add_argument("--size", type=int, help="pixels that its images are scaled to")
    made.add_argument("--ipc", type=int, default=10, help="images per class")
    made.add_argument("--batch-real", type=int, default=64, help="real images per class")
    made.add_argument("--network", default="convnet2", help="whose features are compared")
    arguments = parse(made)
    set_quiet(True)
    dataset = load(arguments.data, size=arguments.size)
    sides = {name: steps(dataset, arguments, execution) for name, execution in paths(arguments.device).items()}
    reference, *others = sides
    own, redrawn = sides[reference][::2], sides[reference][1::2]
    pairs = {name: (sides[name][::2], own) for name in others} | {"other real images": (redrawn, own)}
    moves = [
        {"what": what, "features": None if side is redrawn else apart(a[0], b[0]), "gradient": apart(a[1], b[1])}
        for what, (side, beside) in pairs.items()
        for a, b in zip(side, beside, strict=True)
    ]
    publish(record("rounding", arguments, moves=moves), arguments.out)


if __name__ == "__main__":
    main()
