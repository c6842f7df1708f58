"""Whether the fast path's condensed sets are as good as the reference path's: accuracies, not times.

The fast path is what the engine chooses: native blocks on a CPU, bfloat16 and compilation on a GPU. The reference is
eager and in float32. On a processor that multiplies in bfloat16 native blocks that do so are a third. Each seed
condenses the embedded digits with all, and the reference scores the sets. Bits differ; the means should not, beyond
their spread.
"""

from __future__ import annotations

import argparse

from benchmarks.harness import parse, parser, publish, record
from m3d_condense import CondensedSet, Execution, ImageDataset, condense, evaluate, load, networks
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.native import multiplies_bfloat16
from m3d_condense.tools.progress import set_quiet


def runs(dataset: ImageDataset, name: str, execution: Execution) -> str:
    """Say where a path runs, and in what precision."""
    return Engine(execution).place(networks.build(name, **dataset.shape), dataset.example, 0).describe()


def condensed(dataset: ImageDataset, arguments: argparse.Namespace, seed: int, execution: Execution) -> CondensedSet:
    """Condense on one path, under one seed."""
    settings = {"ipc": arguments.ipc, "network": arguments.network, "iterations": arguments.steps}
    return condense(dataset, seed=seed, execution=execution, **settings)


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=200)
    made.add_argument("--ipc", type=int, default=1, help="images per class")
    made.add_argument("--network", default="convnet2", help="condensed with and scored on")
    made.add_argument("--repeats", type=int, default=3, help="networks a set is scored with")
    arguments = parse(made)
    set_quiet(True)
    reference = Execution(device=arguments.device, native=False, compile="no", precision="float32")
    chosen = Execution(device=arguments.device, native=True, compile="auto", precision="auto")
    paths = {"as the engine chooses": chosen, "eager, float32": reference}
    if arguments.device == "cpu" and multiplies_bfloat16():
        paths["native blocks, bfloat16"] = Execution(device="cpu", precision="bfloat16")
    digits = load("digits")
    accuracies: dict[str, list[float]] = {path: [] for path in paths}
    for seed in range(arguments.rounds):
        for path, execution in paths.items():
            made = condensed(digits, arguments, seed, execution)
            scored = {"network": arguments.network, "repeats": arguments.repeats, "execution": reference}
            accuracies[path].append(evaluate(made, digits, **scored).mean)
    sides = {path: {"runs": runs(digits, arguments.network, execution)} for path, execution in paths.items()}
    publish(record("equivalence", arguments, accuracies=accuracies, sides=sides), arguments.out)


if __name__ == "__main__":
    main()
