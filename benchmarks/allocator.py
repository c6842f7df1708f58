"""One condensation step under three settings of the memory allocator, each in its own process.

default: glibc as it comes; mallopt: freed pages stay in the process (`engine.recycle_pages`, what the package does);
huge pages: torch asks for transparent huge pages (THP_MEM_ALLOC_ENABLE=1).
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.condense_step import ours
from benchmarks.harness import Comparison, alternate, parse, parser, record, show, write
from benchmarks.workers import Worker
from benchmarks.workload import Workload

SETTINGS = {
    "default": {"M3D_MALLOC": "0"},
    "mallopt": {"M3D_MALLOC": "1"},
    "huge pages": {"M3D_MALLOC": "0", "THP_MEM_ALLOC_ENABLE": "1"},
}


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=3)
    Workload.add_flags(made)
    arguments = parse(made)
    if arguments.device != "cpu":
        print("the package sets the allocator on the CPU only: nothing to measure")
        return
    workload = Workload.of(arguments)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(ours, workload, device=arguments.device, steps=arguments.steps, environment=environment)
            )
            for name, environment in SETTINGS.items()
        }
        times = alternate(workers, arguments.rounds)
    comparison = Comparison(case=workload.name, unit="step", baseline="default", times=times)
    show("Allocator settings", [comparison])
    sides = {name: {"runs": w.description, "peak_bytes": w.peak_bytes} for name, w in workers.items()}
    write(record("allocator", arguments, comparisons=[comparison], sides=sides), arguments.out)


if __name__ == "__main__":
    main()
