"""A step of one set in one process and in several, each with one thread, started by torchrun.

Wall times tell little on a machine that others use; the processor's seconds of the busiest process tell how the work
is shared, whatever else runs. Both are of the whole step, with what the processes tell each other.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.harness import alternate, parse, parser
from benchmarks.workload import Workload, our_run
from m3d_condense.machine.group import current
from m3d_condense.machine.joining import process_group

CHILD = "--child"


def measured(arguments: list[str], count: int) -> dict[str, list[float]]:
    """Return the seconds and the processor's seconds that a step takes each of `count` processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    command = [*launcher, "-m", "benchmarks.processes", CHILD, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(workload: Workload, steps: int) -> None:
    """Take some steps as one of several processes; the first prints what they took all."""
    torch.set_num_threads(1)
    with process_group():
        run, group = our_run(workload), current()
        run.take_step()
        group.wait()
        begun, worked = time.monotonic(), time.process_time()
        for _ in range(steps):
            heard = group.ask(lambda: False)
            run.take_step()
            heard()
        spent = time.process_time() - worked
        group.wait()
        taken = group.objects((spent / steps, (time.monotonic() - begun) / steps))
        if group.leads:
            print(json.dumps({"processor": [each for each, _ in taken], "wall": [each for _, each in taken]}))


def main() -> None:
    """Measure as the command line says, and print."""
    made = parser(__doc__, rounds=5, steps=4)
    made.add_argument("--processes", type=int, default=2, help="how many are compared with one")
    made.add_argument(CHILD, action="store_true", help="be one of them")
    Workload.add_flags(made)
    arguments = parse(made)
    if arguments.child:
        child(Workload.of(arguments), arguments.steps)
        return
    given, found = sys.argv[1:], dict[str, list[dict[str, list[float]]]]()

    def turn(count: int) -> float:
        found.setdefault(str(count), []).append(measured(given, count))
        return max(found[str(count)][-1]["wall"])

    alternate({str(count): lambda count=count: turn(count) for count in (1, arguments.processes)}, arguments.rounds)
    pairs = list(zip(*found.values(), strict=True))
    for kind in ("wall", "processor"):
        one, several = (statistics.median(max(turn[kind]) for turn in turns) for turns in found.values())
        ratios = [max(first[kind]) / max(other[kind]) for first, other in pairs]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{kind}: {one:.3f} s a step in one process, {several:.3f} s in {arguments.processes}; {spread} times")


if __name__ == "__main__":
    main()
