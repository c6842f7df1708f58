"""A step of every method under its quick preset: as the package runs it by itself, against eager float32 in torch.

A step is one of the loop, with what is trained between the steps. A pool, which is trained beforehand, is one network
of one step here: no step's time depends on how well it is trained. Both sides have the package's allocator settings.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from benchmarks.harness import Comparison, alternate, parse, parser, publish, record
from benchmarks.workers import timed
from benchmarks.workload import Workload, random_dataset
from m3d_condense.condensing.run import Run, begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import nothing_kept
from m3d_condense.tools.progress import set_quiet


def quick(method: str, ipc: int, side: int) -> Recipe:
    """Return a method's quick preset for a data set such as CIFAR-10, of images of any side."""
    return methods.recipe(method, "quick", Problem(ipc=ipc, side=side), {})


def run_of(method: str, dataset: ImageDataset, ipc: int, execution: Execution) -> Run:
    """Return a run of a method's quick preset, ready to take steps."""
    recipe = quick(method, ipc, min(dataset.size))
    if recipe.encoders == "pool":
        recipe = dataclasses.replace(recipe, encoder_count=1, encoder_steps=1)
    with nothing_kept():
        return begin(dataset, recipe, Engine(execution))


def main() -> None:
    """Measure as the command line says, print and store."""
    steppers = [name for name in methods.METHODS if quick(name, 1, 32).iterations]
    made = parser(__doc__, rounds=5, steps=1)
    made.add_argument("--methods", nargs="+", choices=steppers, default=steppers, metavar="NAME", help="which methods")
    made.add_argument("--ipc", type=int, default=10, help="stored images per class")
    made.add_argument("--side", type=int, default=32, help="side of the images")
    arguments = parse(made)
    set_quiet(True)
    dataset = random_dataset(Workload(side=arguments.side))
    sides = {
        "torch, eager": Execution(device=arguments.device, native=False, compile="no", precision="float32"),
        "m3d_condense": Execution(device=arguments.device),
    }
    comparisons = []
    for method in arguments.methods:
        runs = {name: run_of(method, dataset, arguments.ipc, execution) for name, execution in sides.items()}
        turns = {name: partial(timed, run.take_step, arguments.steps, arguments.device) for name, run in runs.items()}
        times = alternate(turns, arguments.rounds, warm_up=1)
        comparisons.append(Comparison(case=method, unit="step", baseline="torch, eager", times=times))
    publish(record("methods", arguments, comparisons=comparisons), arguments.out)


if __name__ == "__main__":
    main()
