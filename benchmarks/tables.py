"""A record as a table and the notes under it: printed once it is measured, and written into docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean, stdev
from typing import Any

MIB = 2**20

Record = dict[str, Any]


def rows(record: Record) -> list[list[str]]:
    """Return a record's table: the headings, then the rows."""
    return list(TABLES.get(record["benchmark"], _comparison)(record))


def notes(record: Record) -> list[str]:
    """Say on what, of which commit, when, how often and with which command it was measured; add checks and sides."""
    hardware, settings = record["hardware"], record["settings"]
    processor = " ".join((hardware["cpu"], hardware.get("instructions", ""))).strip()
    machine = hardware.get("cuda") if record["device"] == "cuda" else processor
    changed = ", with changes not committed" if record["changed_since"] else ""
    measured = (
        f"{machine}, {hardware['threads']} threads, torch {record['versions']['torch']}, commit "
        f"{record['commit'][:10]}{changed}, {record['date'][:10]}; n = {settings['rounds']} rounds of "
        f"{settings['steps']}; `{record['command']}`."
    )
    checks = [f"{'kept' if check['kept'] else '**broken**'}: {check['check']}" for check in record.get("checks", [])]
    runs = [f"{name}: {side['runs']}" for name, side in record.get("sides", {}).items()]
    if "runs" in record:
        runs.append(record["runs"])
    return [measured, *(f"{line[0].upper()}{line[1:]}." for line in checks + runs)]


def duration(seconds: float) -> str:
    """Write seconds with three digits and a fitting unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            break
    value = seconds * factor
    return f"{value:.{max(2 - len(str(int(value))) + 1, 0)}f} {unit}"


def _mebibytes(count: int | None) -> str:
    return f"{count / MIB:.0f} MiB" if count else ""


def _comparison(record: Record) -> Iterator[list[str]]:
    """Yield medians, and the ratio to the baseline with its range over the rounds."""
    baselines = {comparison["baseline"] for comparison in record["comparisons"]}
    yield ["case", "side", "median", f"{' / '.join(baselines)} over it", "lowest – highest", "peak memory"]
    for comparison in record["comparisons"]:
        for side, median in comparison["median"].items():
            ratio = comparison["ratio"].get(side)
            spread = [f"{ratio['median']:.2f}×", f"{ratio['min']:.2f} – {ratio['max']:.2f}"] if ratio else ["", ""]
            peak = record.get("sides", {}).get(side, {}).get("peak_bytes")
            yield [comparison["case"], side, f"{duration(median)}/{comparison['unit']}", *spread, _mebibytes(peak)]


def _phases(record: Record) -> Iterator[list[str]]:
    """Yield the phases of a step."""
    yield ["phase", "median", "share"]
    for phase in record["phases"]:
        yield [phase["phase"], duration(phase["median"]), f"{phase['share']:.1%}"]


def _scaling(record: Record) -> Iterator[list[str]]:
    """Yield the points."""
    yield ["classes", "IPC", "side", "data", "a step", "peak", "above the loaded data", "the data's 8-bit form"]
    for point in record["points"]:
        shape = [f"{point['workload'][axis]:,}" for axis in ("classes", "ipc", "side", "size")]
        grown = point["peak_bytes"] - point["built_bytes"]
        sizes = [_mebibytes(count) for count in (point["peak_bytes"], grown, point["data_bytes"])]
        yield [*shape, duration(point["median"]), *sizes]


def _equivalence(record: Record) -> Iterator[list[str]]:
    """Yield each path's accuracy over the seeds of condensing."""
    yield ["path", "seeds", "networks a seed", "mean accuracy", "std over the seeds"]
    for path, values in record["accuracies"].items():
        spread = f"{stdev(values):.2f}" if len(values) > 1 else ""
        yield [path, str(len(values)), str(record["settings"]["repeats"]), f"{fmean(values):.2f} %", spread]


def _rounding(record: Record) -> Iterator[list[str]]:
    """Yield how far each path moves features and gradients, as means over the networks."""
    yield ["arithmetic", "networks", "features move by", "the pixels' gradient by", "cosine of the gradients"]
    for what in dict.fromkeys(move["what"] for move in record["moves"]):
        moves = [move for move in record["moves"] if move["what"] == what]
        known = [move["features"]["moved"] for move in moves if move["features"]]
        gradients = [move["gradient"] for move in moves]
        moved, cosine = (fmean(gradient[name] for gradient in gradients) for name in ("moved", "cosine"))
        yield [what, str(len(moves)), f"{fmean(known):.2g}" if known else "", f"{moved:.2g}", f"{cosine:.3f}"]


TABLES: dict[str, Callable[[Record], Iterator[list[str]]]] = {
    "phases": _phases,
    "scaling": _scaling,
    "equivalence": _equivalence,
    "rounding": _rounding,
}
