"""One condensation step under three settings of the memory allocator, each in its own process.

default: glibc as it comes; mallopt: freed pages stay in the process (`process.recycle_pages`, what the package does);
huge pages: torch asks for transparent huge pages (THP_MEM_ALLOC_ENABLE=1).
"""

from __future__ import annotations

from benchmarks.condense_step import ours
from benchmarks.harness import Comparison, alternate, parse, parser, publish, record, sides_of
from benchmarks.workers import in_environments
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
    with in_environments(SETTINGS, ours, workload, device=arguments.device, steps=arguments.steps) as workers:
        times = alternate(workers, arguments.rounds)
    comparison = Comparison(case=workload.name, unit="step", baseline="default", times=times)
    publish(record("allocator", arguments, comparisons=[comparison], sides=sides_of(workers)), arguments.out)


if __name__ == "__main__":
    main()
