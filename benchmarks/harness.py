"""What all benchmarks share: turns, ratios with their spread, and a record that can be read years later."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.tables import Record, notes, rows
from benchmarks.workers import Factory, Worker
from m3d_condense.machine.environment import describe_environment
from m3d_condense.tools.files import write_file_atomic

RESULTS = Path(__file__).parent / "results"


def parser(
    description: str | None, *, rounds: int, steps: int, same_allocator: bool = False
) -> argparse.ArgumentParser:
    """Return a parser with the flags that every benchmark has; `rounds` and `steps` are their defaults.

    With `same_allocator` it also has that flag, for `against_plain`.
    """
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what to measure on")
    made.add_argument("--rounds", type=int, default=rounds, help="turns of each side")
    made.add_argument("--steps", type=int, default=steps, help="steps a turn")
    if same_allocator:
        made.add_argument("--same-allocator", action="store_true", help="recycle pages on the plain side too")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder for the record")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, with the device resolved to cpu or cuda."""
    arguments = made.parse_args()
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    return arguments


def alternate(turns: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 0) -> dict[str, list[float]]:
    """Have the sides take turns, A B A B …, and return the seconds that each turn reported.

    Machines drift, so that a side is compared with the turn beside its own. The first `warm_up` rounds are dropped.
    """
    times: dict[str, list[float]] = {side: [] for side in turns}
    for number in range(warm_up + rounds):
        for side, turn in turns.items():
            seconds = turn()
            if number >= warm_up:
                times[side].append(seconds)
    return times


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Raw seconds of several sides doing one case, turn by turn; the other sides are compared with `baseline`."""

    case: str
    unit: str
    baseline: str
    times: dict[str, list[float]]

    def ratios(self, side: str) -> list[float]:
        """Return how many times faster than the baseline a side is, round by round."""
        return [slow / fast for slow, fast in zip(self.times[self.baseline], self.times[side], strict=True)]

    @property
    def others(self) -> list[str]:
        """The sides that are not the baseline."""
        return [side for side in self.times if side != self.baseline]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, with medians and the ratios' spread."""
        ratios = {side: self.ratios(side) for side in self.others}
        return dataclasses.asdict(self) | {
            "median": {side: statistics.median(values) for side, values in self.times.items()},
            "ratio": {
                side: {"median": statistics.median(r), "min": min(r), "max": max(r), "rounds": r}
                for side, r in ratios.items()
            },
        }


def against_plain(
    name: str,
    arguments: argparse.Namespace,
    plain: Factory,
    ours: Factory,
    settings: Any,
    *,
    case: str,
    unit: str = "step",
    units: int = 1,
) -> None:
    """Have a plain loop and the package take turns, each in a process of its own; print and store how they compare.

    Args:
        name: of the benchmark.
        arguments: parsed, with the flags of `parser` and `same_allocator`.
        plain, ours: build the sides out of `settings`.
        case: what both do.
        unit: what is timed; a side's step does `units` of them.
    """
    common = {"device": arguments.device, "steps": arguments.steps}
    with (
        Worker(plain, settings, recycle=arguments.same_allocator, **common) as slow,
        Worker(ours, settings, **common) as fast,
    ):
        workers = {"plain loop": slow, "m3d_condense": fast}
        turns = alternate(workers, arguments.rounds)
    times = {side: [seconds / units for seconds in values] for side, values in turns.items()}
    comparison = Comparison(case=case, unit=unit, baseline="plain loop", times=times)
    publish(record(name, arguments, comparisons=[comparison], sides=sides_of(workers)), arguments.out)


def sides_of(workers: Mapping[str, Worker]) -> dict[str, dict[str, Any]]:
    """Return what a record says of sides that have ended: how each ran, and its peak memory."""
    return {side: {"runs": worker.description, "peak_bytes": worker.peak_bytes} for side, worker in workers.items()}


def record(
    name: str, arguments: argparse.Namespace, *, comparisons: list[Comparison] | None = None, **more: Any
) -> Record:
    """Return what is stored: the command, machine, versions, commit, date, settings, and every raw time."""
    versions, hardware = describe_environment()
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    words = [word for word in sys.argv[1:] if word not in ("--out", str(vars(arguments).get("out")))]
    return {
        "benchmark": name,
        "device": arguments.device,
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *words]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **_commit(),
        "versions": versions,
        "hardware": hardware | {"threads": torch.get_num_threads()},
        "settings": settings,
        "comparisons": [comparison.as_dict() for comparison in comparisons or []],
        **more,
    }


def publish(stored: Record, folder: Path) -> Path:
    """Print a record, write it to NAME-DEVICE.json in a folder, and return the file."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=140)  # a log or pipe does not fold the table
    headings, *others = rows(stored)
    table = Table(*headings, title=stored["benchmark"])
    for row in others:
        table.add_row(*row)
    console.print(table)
    file = folder / f"{stored['benchmark']}-{stored['device']}.json"
    write_file_atomic(file, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    plain = Console(soft_wrap=True, markup=False, highlight=False)
    plain.print(*notes(stored), f"written: {file}", sep="\n")
    return file


def _commit() -> dict[str, Any]:
    """Return the git commit, and whether the measured code differs from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = bool(_git("status", "--porcelain", "--", "src", "benchmarks/*.py"))
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "changed_since": None}
    return {"commit": commit, "changed_since": changed}


def _git(*words: str) -> str:
    root = Path(__file__).parents[1]
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
