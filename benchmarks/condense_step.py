"""One condensation step: the package against a plain loop, class by class, eager, in float32.

Each side has a process of its own; --same-allocator gives the package's allocator settings to the plain side too.
"""

from __future__ import annotations

import torch

from benchmarks.harness import Comparison, alternate, parse, parser, record, show, write
from benchmarks.reference import PlainLoop
from benchmarks.workers import Step, Worker
from benchmarks.workload import Workload, our_run, random_images


def ours(workload: Workload) -> tuple[Step, str]:
    """Build the package's step."""
    run = our_run(workload)
    return run.take_step, f"{run.engine.describe()}; {run.engine.reason}"


def plain(workload: Workload) -> tuple[Step, str]:
    """Build the plain step."""
    torch.backends.cudnn.benchmark = True  # as the public code has it
    images, labels = random_images(workload)
    loop = PlainLoop(images, labels, workload.ipc, workload.factor, workload.batch_real, workload.device)
    return loop.step, "float32, eager"


def main() -> None:
    made = parser(__doc__, rounds=5, steps=5)
    Workload.add_flags(made)
    made.add_argument("--same-allocator", action="store_true", help="recycle pages on the plain side too")
    arguments = parse(made)
    workload = Workload.of(arguments)
    common = {"device": arguments.device, "steps": arguments.steps}
    with (
        Worker(plain, workload, recycle=arguments.same_allocator, **common) as slow,
        Worker(ours, workload, **common) as fast,
    ):
        times = alternate({"plain loop": slow, "m3d_condense": fast}, arguments.rounds)
    comparison = Comparison(case=workload.name, unit="step", baseline="plain loop", times=times)
    show("A condensation step", [comparison])
    sides = {
        name: {"runs": worker.description, "peak_bytes": worker.peak_bytes}
        for name, worker in (("plain loop", slow), ("m3d_condense", fast))
    }
    write(record("condense_step", arguments, comparisons=[comparison], sides=sides), arguments.out)


if __name__ == "__main__":
    main()
