"""Test accuracy against minutes of condensing: methods under several budgets, and the minutes to an accuracy.

    python -m benchmarks.minutes cifar10 --methods m3d m3d-pool dm idm dc --budgets 1m 2m 5m 10m 20m --random

Each point is a run of its own, whose rate of learning ends where its budget does, scored by the same networks under one
protocol; the line between two points is no measurement. The minutes are those of condensing, with all that a method
trains beforehand. Every budget is a comparison in `--out`: what is there is read, what is missing is made, so that the
same command goes on where it stopped, and methods, budgets and seeds may be added. `--plain-loop 5m 60m` adds M3D as a
plain loop, one run that is read after each of these.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import parse, record
from benchmarks.plain_run import plain_rows
from m3d_condense import Execution, compare
from m3d_condense.cli.settings import seconds
from m3d_condense.data.load import load
from m3d_condense.studies.job import Scoring
from m3d_condense.studies.paper.pictures import save_figure
from m3d_condense.studies.table import Row
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import write_file_atomic

RANDOM = "random"
MOST = 100_000  # steps of a run that its budget ends
TARGETS = (55.0, 60.0, 65.0)


def rows_of(arguments: argparse.Namespace) -> Iterator[Row]:
    """Make or read the sets and scores, and yield a row for each method and budget."""
    dataset = load(arguments.data, size=arguments.size)
    runs: dict[str, dict[str, Any]] = {"selected": {"methods": [], "random": True}} if arguments.random else {}
    for budget in dict.fromkeys((*arguments.budgets, *(budget for _, budget in arguments.more))):
        methods = arguments.methods if budget in arguments.budgets else []
        methods = [*methods, *(method for method, also in arguments.more if also == budget)]
        runs[budget] = {"time_limit": seconds(budget), "iterations": MOST, "methods": list(dict.fromkeys(methods))}
    runs |= {f"{steps}-steps": {"iterations": steps} for steps in arguments.step_counts}
    shared = {name: getattr(arguments, name) for name in ("ipc", "seeds", "protocol", "repeats", "epochs")}
    execution = Execution(device=arguments.device, precision=arguments.precision)
    for name, own in runs.items():
        settings = {"methods": arguments.methods, "random": False, "whole": False} | shared | own
        yield from compare(dataset, execution=execution, out=arguments.out / name, **settings).rows
    if arguments.plain_loop:
        asked = {name: shared[name] for name in ("protocol", "repeats", "epochs")}
        scoring = Scoring(networks=("convnet",), seed=0, **asked)
        budgets = [seconds(budget) or 0.0 for budget in arguments.plain_loop]
        yield from plain_rows(dataset, arguments.ipc, budgets, scoring, execution, arguments.out / "plain-loop")


def curves(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that have an accuracy, by method and in the order of their minutes."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.method, row.seconds or 0.0)):
        if row.mean is not None:
            found.setdefault(row.method, []).append(row)
    return found


def minutes(row: Row) -> float:
    """Return the minutes that condensing took."""
    return (row.seconds or 0.0) / 60


def minutes_to(target: float, curve: Sequence[tuple[float, float]]) -> str:
    """Say when a curve of (minutes, percent) first reaches an accuracy; between two points, in proportion."""
    if curve[0][1] >= target:
        return f"at most {curve[0][0]:.2g}"
    for (before, low), (after, high) in pairwise(curve):
        if low < target <= high:
            return f"{before + (after - before) * (target - low) / (high - low):.2g}"
    return "not reached"


def draw(found: dict[str, list[Row]], title: str, folder: Path) -> list[Path]:
    """Draw a curve for each method, and a line for one that takes no time, as minutes.svg and minutes.png."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (method, rows) in enumerate(found.items()):
        means, spreads = [row.mean or 0.0 for row in rows], [row.std or 0.0 for row in rows]
        style: dict[str, Any] = {"color": f"C{number}", "label": method}
        if method == RANDOM:
            axes.axhline(means[0], linestyle=":", **style)
        else:
            axes.errorbar([minutes(row) for row in rows], means, spreads, marker="o", capsize=3, **style)
    axes.set(xscale="log", xlabel="minutes of condensing", ylabel="test accuracy, %", title=title)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    return [save_figure(figure, folder / f"minutes.{kind}") for kind in ("svg", "png")]


def one_more(text: str) -> tuple[str, str]:
    """Return the method and the budget of METHOD=BUDGET."""
    method, _, budget = text.partition("=")
    if not budget:
        raise argparse.ArgumentTypeError(f"{text!r}: give METHOD=BUDGET, such as m3d-plus=40m")
    return method, budget


def flags() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", help="as of m3d condense")
    made.add_argument("--methods", nargs="+", default=["m3d", "dm"])
    made.add_argument("--budgets", nargs="+", default=[], help="times for each set, such as 30s 5m")
    made.add_argument("--more", nargs="+", type=one_more, default=[], metavar="METHOD=BUDGET", help="single points")
    made.add_argument(
        "--plain-loop", nargs="+", default=[], metavar="BUDGET", help="M3D by a plain loop, read after these"
    )
    made.add_argument("--step-counts", nargs="+", type=int, default=[], help="numbers of steps, beside or in place")
    made.add_argument("--random", action="store_true", help="score random selections too")
    made.add_argument("--targets", nargs="+", type=float, default=TARGETS, help="accuracies in percent")
    for name, number in (("size", None), ("ipc", 10), ("seeds", 1), ("repeats", 2), ("epochs", None)):
        made.add_argument(f"--{name}", type=int, default=number, help=f"as of m3d compare (default: {number})")
    made.add_argument("--protocol", default="quick", help="as of m3d compare (default: quick)")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--precision", default="auto", help="as of m3d compare; the plain loop is in float32")
    made.add_argument("--out", type=Path, default=Path("runs/minutes"), help="folder (default: runs/minutes)")
    return made


def main() -> None:
    """Make what is missing, print the points and the minutes to each accuracy, store and draw them."""
    parser = flags()
    arguments = parse(parser)
    try:
        found = curves(rows_of(arguments))
    except UserError as error:
        parser.error(str(error))
    if not found:
        parser.error("there is nothing to draw: give --budgets or --step-counts, and see the notices above")
    for method, rows in found.items():
        for row in rows:
            print(f"{method}: {row.accuracy} % (n = {row.n}), {minutes(row):.2g} min, {row.iterations} steps")
        if method != RANDOM:
            points = [(minutes(row), row.mean or 0.0) for row in rows]
            reached = ", ".join(f"{target:g} %: {minutes_to(target, points)}" for target in arguments.targets)
            print(f"{method}, minutes to {reached}")
    stored = record("minutes", arguments, rows=[asdict(row) for rows in found.values() for row in rows])
    write_file_atomic(arguments.out / "minutes.json", json.dumps(stored, indent=1) + "\n")
    machine = f"CPU threads: {torch.get_num_threads()}" if arguments.device == "cpu" else torch.cuda.get_device_name()
    drawn = draw(found, f"{Path(arguments.data).name}, images a class: {arguments.ipc}, {machine}", arguments.out)
    print("written:", arguments.out / "minutes.json", *drawn)


if __name__ == "__main__":
    main()
