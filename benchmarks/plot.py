"""Write the tables of docs/performance.md, between its markers, and docs/performance.png from the stored records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.tables import Record, notes, rows
from m3d_condense.tools.files import write_file_atomic

DOCS = Path(__file__).parents[1] / "docs"
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def records(folder: Path) -> list[Record]:
    """Read every record of a folder, by name and device."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*-*.json"))]


def page(text: str, stored: list[Record]) -> str:
    """Return the page with the text between its markers made anew; a benchmark without a record says so."""

    def filled(match: re.Match[str]) -> str:
        found = [record for record in stored if record["benchmark"] == match[2]]
        body = "\n".join(section(record) for record in found)
        return match[1] + (body or f"Not measured yet: `python -m benchmarks.{match[2]}`.\n") + match[3]

    return MARKED.sub(filled, text)


def section(record: Record) -> str:
    """Return a record's table and the notes under it."""
    headings, *others = rows(record)
    lines = ["| " + " | ".join(line) + " |" for line in (headings, ["---"] * len(headings), *others)]
    return "\n".join(lines) + "\n\n" + "  \n".join(f"<sub>{line}</sub>" for line in notes(record)) + "\n"


def draw(stored: list[Record], file: Path) -> None:
    """Plot how many times faster each side is than its baseline, and how a step grows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 7), layout="constrained")
    _bars(left, stored)
    for record in (record for record in stored if record["benchmark"] == "scaling"):
        _growth(right, record)
    right.set(xscale="log", yscale="log", xlabel="times the task", ylabel="times the seconds of a step")
    right.set_title("A step as the task grows")
    limits = right.get_xlim()
    right.plot(limits, limits, color="grey", linestyle=":", linewidth=1, label="in proportion")
    right.legend(fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _bars(axes: Any, stored: list[Record]) -> None:
    shown = ("condense_step", "gradient_step", "scoring_epoch", "kernels", "allocator", "waiting")
    labels, middles, lows, highs = [], [], [], []
    for record in (record for record in stored if record["benchmark"] in shown):
        for comparison in record["comparisons"]:
            for side, ratio in comparison["ratio"].items():
                labels.append(f"{record['benchmark']} ({record['device']}): {side}\n{comparison['case']}")
                middles.append(ratio["median"])
                lows.append(ratio["median"] - ratio["min"])
                highs.append(ratio["max"] - ratio["median"])
    axes.barh(range(len(labels)), middles, xerr=(lows, highs), color="tab:blue", ecolor="black", capsize=2)
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.axvline(1.0, color="grey", linewidth=1)
    axes.set(xlabel="times as fast as the baseline: median, lowest and highest round", title="Speed")


def _growth(axes: Any, record: Record) -> None:
    for axis in record["settings"]["axes"]:
        fixed = [name for name in ("classes", "ipc", "side", "size") if name != axis]
        line = [p for p in record["points"] if all(p["workload"][n] == record["settings"][n] for n in fixed)]
        line.sort(key=lambda point: point["workload"][axis])
        base = line[0]
        power = 2 if axis == "side" else 1
        times = [(point["workload"][axis] / base["workload"][axis]) ** power for point in line]
        seconds = [point["median"] / base["median"] for point in line]
        name = "pixels" if axis == "side" else axis
        axes.plot(times, seconds, marker="o", label=f"{name} ({record['device']})")


def main() -> None:
    """Write both, and say so."""
    stored = records(RESULTS)
    target = DOCS / "performance.md"
    write_file_atomic(target, page(target.read_text(encoding="utf-8"), stored))
    draw(stored, DOCS / "performance.png")
    print(f"written: {target.relative_to(DOCS.parent)}, docs/performance.png from {len(stored)} records")


if __name__ == "__main__":
    main()
