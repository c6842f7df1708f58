"""How OpenMP's threads wait for each other: one condensation step, alone on the machine and beside a busy process.

spinning: GNU's runtime as it comes; short spins: what the command line sets (`process.wait_politely`);
passive: OMP_WAIT_POLICY=passive. The busy process does nothing but count, on one core.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.condense_step import ours
from benchmarks.harness import Comparison, alternate, parse, parser, publish, record, sides_of
from benchmarks.workers import in_environments
from benchmarks.workload import Workload
from m3d_condense.machine.process import SPINS

SETTINGS = {
    "spinning": {},
    "short spins": {"GOMP_SPINCOUNT": SPINS},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=2)
    Workload.add_flags(made, batch_real=64)
    arguments = parse(made)
    if arguments.device != "cpu":
        print("threads wait for each other on the CPU only: nothing to measure")
        return
    workload, comparisons = Workload.of(arguments), []
    with in_environments(SETTINGS, ours, workload, device=arguments.device, steps=arguments.steps) as workers:
        for company in ("alone", "beside a busy process"):
            busy = [sys.executable, "-c", "while True: pass"] if company != "alone" else [sys.executable, "-c", ""]
            with subprocess.Popen(busy) as process:
                times = alternate(workers, arguments.rounds, warm_up=1)
                process.kill()
            case = f"{workload.name}, {company}"
            comparisons.append(Comparison(case=case, unit="step", baseline="spinning", times=times))
    publish(record("waiting", arguments, comparisons=comparisons, sides=sides_of(workers)), arguments.out)


if __name__ == "__main__":
    main()
