"""Time and peak memory of a step as the task grows: classes, IPC, side and data size, one at a time.

Every point has a process of its own. The peak is the whole process's on the CPU, with the data, the compiler and
the libraries in it; what lies above the loaded data is what the steps took of it.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.condense_step import ours
from benchmarks.harness import parse, parser, publish, record
from benchmarks.tables import MIB, duration
from benchmarks.workers import Worker
from benchmarks.workload import Workload

AXES = {
    "classes": (10, 30, 100),
    "ipc": (1, 10, 50),
    "side": (32, 64, 128),
    "size": (10_000, 50_000, 200_000),
}
SLACK = 1.15  # of what a bound allows: allocators and compilers are not exact


def measure(workload: Workload, rounds: int, steps: int) -> dict[str, Any]:
    """Return one point: every time, the peak in bytes, and the bytes held before the first step."""
    with Worker(ours, workload, device=workload.device, steps=steps, warm_up=1) as worker:
        seconds = [worker() for _ in range(rounds)]
    return {
        "workload": dataclasses.asdict(workload),
        "runs": worker.description,
        "seconds": seconds,
        "median": statistics.median(seconds),
        "peak_bytes": worker.peak_bytes,
        "built_bytes": worker.built_bytes,
        "data_bytes": workload.size * 3 * workload.side**2,
    }


def checks(base: Workload, points: dict[Workload, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say of every bound whether the points keep it."""
    first, last = (points[dataclasses.replace(base, size=size)] for size in (AXES["size"][0], AXES["size"][-1]))
    more = last["data_bytes"] - first["data_bytes"]
    above = last["peak_bytes"] - first["peak_bytes"] - more
    yield _check(
        "peak grows with the data by no more than their 8-bit form", above <= (SLACK - 1) * more + 64 * MIB, above
    )
    for axis in ("classes", "ipc", "side"):
        low, high = (points[dataclasses.replace(base, **{axis: value})] for value in (AXES[axis][0], AXES[axis][-1]))
        work = (AXES[axis][-1] / AXES[axis][0]) ** (2 if axis == "side" else 1)
        grown = high["peak_bytes"] - high["built_bytes"]
        bound = work * (low["peak_bytes"] - low["built_bytes"])
        yield _check(
            f"{axis}: work ×{work:.0f}, memory above the loaded data grows no faster", grown <= SLACK * bound, grown
        )


def _check(what: str, kept: bool, measured: int) -> dict[str, Any]:
    return {"check": what, "kept": bool(kept), "bytes": measured}


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=2, steps=1)
    Workload.add_flags(made, size=AXES["size"][0], batch_real=64)
    made.add_argument("--axes", nargs="*", choices=AXES, default=list(AXES), help="which to grow")
    arguments = parse(made)
    base = Workload.of(arguments)
    wanted = [dataclasses.replace(base, **{axis: value}) for axis in arguments.axes for value in AXES[axis]]
    points: dict[Workload, dict[str, Any]] = {}
    for workload in wanted:
        if workload not in points:
            points[workload] = measure(workload, arguments.rounds, arguments.steps)
            print(f"{workload.name}, {workload.size} images: {duration(points[workload]['median'])}", flush=True)
    checked = list(checks(base, points)) if set(arguments.axes) == set(AXES) else []
    publish(record("scaling", arguments, points=list(points.values()), checks=checked), arguments.out)


if __name__ == "__main__":
    main()
