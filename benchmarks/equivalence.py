"""Whether the fast path's condensed sets are as good as the reference path's: accuracies, not times.

The fast path is what the engine chooses: native blocks on a CPU, bfloat16 and compilation on a GPU. The reference is
eager and in float32. Each seed condenses the embedded digits with both, and the reference scores both sets. Bits
differ; the means should not, beyond their spread.
"""

from __future__ import annotations

from statistics import fmean, stdev

from rich.table import Table

from benchmarks.harness import parse, parser, record, wide, write
from m3d_condense import Execution, condense, evaluate, load
from m3d_condense.tools.progress import set_quiet


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=200)
    made.add_argument("--ipc", type=int, default=1, help="images per class")
    made.add_argument("--network", default="convnet2", help="condensed with and scored on")
    made.add_argument("--repeats", type=int, default=3, help="networks a set is scored with")
    arguments = parse(made)
    set_quiet(True)
    paths = {
        "as the engine chooses": Execution(device=arguments.device),
        "eager, float32": Execution(device=arguments.device, native=False, compile="no", precision="float32"),
    }
    digits = load("digits")
    accuracies: dict[str, list[float]] = {path: [] for path in paths}
    for seed in range(arguments.rounds):
        for path, execution in paths.items():
            settings = {"ipc": arguments.ipc, "network": arguments.network, "iterations": arguments.steps}
            condensed = condense(digits, seed=seed, execution=execution, **settings)
            score = evaluate(
                condensed,
                digits,
                network=arguments.network,
                repeats=arguments.repeats,
                execution=paths["eager, float32"],
            )
            accuracies[path].append(score.mean)
    table = Table(
        "path", "seeds", "mean accuracy, %", "std over seeds", title="Sets of the fast path and the reference"
    )
    for path, values in accuracies.items():
        table.add_row(path, str(len(values)), f"{fmean(values):.2f}", f"{stdev(values):.2f}")
    wide().print(table)
    write(record("equivalence", arguments, accuracies=accuracies), arguments.out)


if __name__ == "__main__":
    main()
