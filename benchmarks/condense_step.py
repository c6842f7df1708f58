"""One condensation step: the package against a plain loop, class by class, eager, in float32.

Each side has a process of its own; --same-allocator gives the package's allocator settings to the plain side too.
"""

from __future__ import annotations

from functools import partial

from benchmarks.harness import against_plain, parse, parser
from benchmarks.reference import PlainLoop
from benchmarks.workers import Step
from benchmarks.workload import Workload, our_run, plain_step


def ours(workload: Workload) -> tuple[Step, str]:
    """Build the package's step."""
    run = our_run(workload)
    return run.take_step, run.plan.placed.explain()


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=5, same_allocator=True)
    Workload.add_flags(made)
    arguments = parse(made)
    workload = Workload.of(arguments)
    against_plain("condense_step", arguments, partial(plain_step, PlainLoop), ours, workload, case=workload.name)


if __name__ == "__main__":
    main()
