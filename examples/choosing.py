"""Choosing among eight small networks: each trained on a condensed set, and on all of the data.

    python examples/choosing.py [DATA]

The order of the networks on the set is compared with that on the whole by Spearman's rank correlation; the seconds are
those of training and testing alone, and the set's own making is told beside them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib
from scipy.stats import rankdata, spearmanr

from m3d_condense import condense, evaluate, load

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

NETWORKS = (
    "convnet1-width2",
    "convnet1-width8",
    "convnet1-width32",
    "convnet2-width4",
    "convnet2-width16",
    "convnet1-width8-none",
    "convnet2-width4-batch",
    "resnet10-width4",
)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the example and return the rank correlation and the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=150, help="of condensing")
    parser.add_argument("--epochs", type=int, default=60, help="on the set")
    parser.add_argument("--whole-epochs", type=int, default=20, help="on all of the data")
    parser.add_argument("--repeats", type=int, default=2, help="networks of each kind")
    parser.add_argument("--out", type=Path, default=Path("runs/examples"))
    given = parser.parse_args(arguments)
    data = load(given.data)
    condensed = condense(data, ipc=given.ipc, iterations=given.iterations)
    subjects = {"set": (condensed, given.epochs), "whole": (data, given.whole_epochs)}
    means: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for name, (subject, epochs) in subjects.items():
        begun = time.monotonic()
        common = {"repeats": given.repeats, "epochs": epochs}
        means[name] = [evaluate(subject, data, network=network, **common).mean for network in NETWORKS]
        seconds[name] = time.monotonic() - begun
    correlation = float(spearmanr(means["set"], means["whole"]).statistic)
    draw(means, seconds, correlation, data.name, given.out)
    for row in zip(NETWORKS, means["set"], means["whole"], strict=True):
        print("{:24} {:5.1f} % on the set, {:5.1f} % on the whole".format(*row))
    found = {"correlation": correlation, **seconds, "condensing": condensed.seconds}
    print(", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return found


def draw(means: dict[str, list[float]], seconds: dict[str, float], correlation: float, name: str, out: Path) -> None:
    """Draw the order of the networks on the set beside that on the whole, and the minutes of both."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.5, 4), width_ratios=[3, 1], layout="constrained")
    places = {name: rankdata([-mean for mean in of_all], method="ordinal") for name, of_all in means.items()}
    for number, network in enumerate(NETWORKS):
        ends = places["set"][number], places["whole"][number]
        left.plot((0, 1), ends, marker="o", color="#1f6fb4")
        left.text(-0.05, ends[0], f"{network}  {means['set'][number]:.1f} %", ha="right", va="center", fontsize=8)
        left.text(1.05, ends[1], f"{means['whole'][number]:.1f} %  {network}", ha="left", va="center", fontsize=8)
    left.set(
        xlim=(-1.1, 2.1), ylim=(len(NETWORKS) + 0.5, 0.2), xticks=(0, 1), xticklabels=("on the set", "on the whole")
    )
    left.set(yticks=())
    left.set_title(f"Eight networks on {name}, best first: rank correlation {correlation:.2f}", fontsize=10)
    bars = right.bar(list(seconds), [value / 60 for value in seconds.values()], color=["#1f6fb4", "#999999"])
    right.bar_label(bars, fmt="%.1f", fontsize=8)
    right.set_title("minutes to train all", fontsize=10)
    left.spines[:].set_visible(False)
    right.spines[["top", "right"]].set_visible(False)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "choosing.png", dpi=100)


if __name__ == "__main__":
    main()
