"""Tables of jobs and what is known of them: rows, and the rows as text, CSV and notes."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from m3d_condense.machine.memory import readable
from m3d_condense.sets.score import deviation
from m3d_condense.sets.soft import SOFT
from m3d_condense.studies.job import Job, network_and_labels
from m3d_condense.studies.record import Record
from m3d_condense.studies.writing import comma_separated
from m3d_condense.tools.text import kib, shown, spread

__all__ = ["BEST", "ORDERS", "Row", "Sample", "described", "environments", "make_rows", "notes", "to_csv", "to_text"]

BEST = "best reading, %"
CELL = 80  # characters of a name in a table
PEAKS = {"device": "the GPU's", "run": "the process's during the run", "process": "the process's of all time"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One set behind a row: its seed, its accuracies under the row's network (percent), and what making it took.

    What is not known, or has no meaning for the whole training split, is None.
    """

    seed: int | None
    mean: float | None
    accuracies: list[float]
    best: list[float] | None
    seconds: float | None
    peak_bytes: int | None
    peak_of: str
    size_bytes: int | None
    class_bytes: float | None
    iterations: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: a series of jobs that differ in their seed, scored by one network.

    What is not known, or has no meaning for the whole training split, is None.

    Attributes:
        data: name of the data set.
        method: what the sets are made by, see `Job.label`; "whole" is the training split, without ipc and seeds.
        preset, ipc, network: what was made, and what was trained on it, such as "convnet" or "convnet, soft labels".
        mean, std: of all accuracies of all seeds, percent; `std` is the sample standard deviation, 0.0 when n is 1.
        n: how many networks were trained.
        best: the mean of the best readings of the same networks, percent, where they were read more than once.
        seconds: that condensing took, the median over the seeds.
        peak_bytes, peak_of: memory at its peak, the most over the seeds, and of what it is, see `peak_memory`.
        size_bytes: of what the network was trained on, as stored, the most over the seeds: pixels, and soft labels
            where it saw them.
        class_bytes: the same by class.
        iterations: of the loop that condenses, the most over the seeds.
        error: what went wrong; empty where nothing did.
        seeds: the sets, one a seed.
    """

    data: str
    method: str
    preset: str | None
    ipc: int | None
    network: str
    mean: float | None
    std: float | None
    n: int
    seconds: float | None
    peak_bytes: int | None
    peak_of: str
    size_bytes: int | None
    iterations: int | None
    error: str
    seeds: list[Sample]
    class_bytes: float | None = None
    best: float | None = None

    @property
    def accuracy(self) -> str:
        """The mean and its spread, such as 58.9 ± 0.6."""
        if self.mean is None:
            return "failed" if self.error else ""
        return f"{self.mean:.1f}{spread(self.std, self.n)}"


ORDERS: Mapping[str, Callable[[Row], tuple[Any, ...]]] = {
    "accuracy": lambda row: (row.mean is None, -(row.mean or 0.0)),
    "seconds": lambda row: (row.seconds is None, row.seconds or 0.0),
    "method": lambda row: (row.method, row.ipc or 0),
    "bytes": lambda row: (row.size_bytes is None, row.size_bytes or 0),
}
"""How rows are sorted; what is not known comes last."""


def make_rows(known: Iterable[tuple[Job, Record]], sort: str = "accuracy") -> list[Row]:
    """Return a row for each series of jobs and each network, of those of which something is known.

    Args:
        known: jobs, and what is known of each. Jobs of one series name the same networks.
        sort: a key of `ORDERS`; rows that are equal in it keep the order of the jobs.
    """
    series: dict[str, list[tuple[Job, Record]]] = {}
    for job, record in known:
        if record.scores or record.errors:
            series.setdefault(job.series, []).append((job, record))
    rows = [_row(members, network) for members in series.values() for network in members[0][0].scorers]
    return sorted(rows, key=ORDERS[sort])


def to_text(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the rows as text by column; a data set, preset or network that is the only one has no column."""
    read = any(row.best is not None for row in rows)
    varying = [name for name in ("data", "preset", "network") if len(_distinct(rows, name)) > 1]
    lines = []
    for row in rows:
        named = {name: _text(getattr(row, name)) for name in ("data", "method", "preset", "ipc", "network")}
        line = {name: text for name, text in named.items() if name in ("method", "ipc", *varying)}
        line |= {"accuracy, %": row.accuracy}
        if read:
            line[BEST] = "" if row.best is None else f"{row.best:.1f}"
        line |= {"n": str(row.n), "seconds": _text(row.seconds)}
        size = "" if row.class_bytes is None else kib(row.class_bytes)
        line |= {"memory": readable(row.peak_bytes), "KiB a class": size}
        lines.append(line | {"iterations": _text(row.iterations)})
    return lines


def to_csv(rows: Iterable[Row]) -> str:
    """Return the rows as comma-separated values, numbers in full, without the single seeds."""
    names = [field.name for field in dataclasses.fields(Row) if field.name != "seeds"]
    return comma_separated(names, map(asdict, rows))


def notes(jobs: Sequence[Job], rows: Sequence[Row], scored_on: str = "") -> list[str]:
    """Say what the figures of a table are, on which images if not on test ones, and what went wrong."""
    scorings = [job.scoring for job in jobs]
    repeats, protocols = _listed(one.repeats for one in scorings), _listed(one.protocol for one in scorings)
    epochs, presets = _listed(one.epochs for one in scorings), _listed(job.preset for job in jobs)
    peaks = _listed(PEAKS.get(sample.peak_of) for row in rows for sample in row.seeds)
    data = ", ".join(dict.fromkeys(job.data for job in jobs))
    accuracy = f"accuracy on {scored_on}" if scored_on else "test accuracy"
    figures = [
        f"{data}: {accuracy}, mean ± sample standard deviation of n networks, {repeats} for each set, "
        f"protocol {protocols}" + (f", {epochs} epoch{'' if epochs == '1' else 's'}" if epochs else "")
    ]
    if any(row.best is not None for row in rows):
        figures.append(f"{BEST}, the mean of the networks' best of {_listed(one.readings for one in scorings)}")
    if presets:
        figures.append(f"seconds of condensing, preset {presets}, the median over the seeds")
    if peaks:
        figures.append(f"memory at its peak, {peaks}")
    several = len(_distinct(rows, "data")) > 1
    failures = [f"{_subject(row, several)}: {row.error}" for row in rows if row.error]
    return [shown("; ".join(figures)), *dict.fromkeys(map(shown, failures))]


def environments(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the versions and the hardware that the records name, each combination once."""
    found: list[dict[str, Any]] = []
    for record in records:
        one = {"versions": record.versions, "hardware": record.hardware}
        if record.versions and one not in found:
            found.append(one)
    return found


def described(ran_on: Iterable[dict[str, Any]]) -> list[str]:
    """Return a line for each of the environments."""
    return [
        "; ".join(", ".join(f"{key} {value}" for key, value in part.items()) for part in one.values()) for one in ran_on
    ]


def _row(members: Sequence[tuple[Job, Record]], network: str) -> Row:
    """Return the row of a series under one network."""
    first = members[0][0]
    samples = [_sample(job, record, network) for job, record in members]
    errors = [record.errors[network] for _, record in members if network in record.errors]
    accuracies = [accuracy for sample in samples for accuracy in sample.accuracies]
    seconds = [sample.seconds for sample in samples if sample.seconds is not None]
    best = [reading for sample in samples for reading in sample.best or ()]
    return Row(
        data=first.data,
        method=first.label,
        preset=first.preset,
        ipc=first.ipc,
        network=network,
        mean=statistics.fmean(accuracies) if accuracies else None,
        std=deviation(accuracies) if accuracies else None,
        n=len(accuracies),
        seconds=statistics.median(seconds) if seconds else None,
        peak_bytes=_most(sample.peak_bytes for sample in samples),
        peak_of=" or ".join(sorted({sample.peak_of for sample in samples if sample.peak_of})),
        size_bytes=_most(sample.size_bytes for sample in samples),
        class_bytes=max((one.class_bytes for one in samples if one.class_bytes is not None), default=None),
        iterations=_most(sample.iterations for sample in samples),
        error="; ".join(dict.fromkeys(errors)),
        seeds=samples,
        best=statistics.fmean(best) if best else None,
    )


def _sample(job: Job, record: Record, network: str) -> Sample:
    score, size = record.scores.get(network), record.size_bytes
    if size is not None and network_and_labels(network)[1] == SOFT:
        size += record.label_bytes or 0
    return Sample(
        seed=job.seed,
        mean=None if score is None else score.mean,
        accuracies=[] if score is None else score.accuracies,
        best=None if score is None else score.best,
        seconds=record.seconds,
        peak_bytes=record.peak_bytes,
        peak_of=record.peak_of,
        size_bytes=size,
        class_bytes=None if size is None or record.classes is None else size / record.classes,
        iterations=record.iterations,
    )


def _most(numbers: Iterable[int | None]) -> int | None:
    return max((number for number in numbers if number is not None), default=None)


def _distinct(rows: Iterable[Row], name: str) -> set[Any]:
    """Return the values that an attribute of the rows has, without None."""
    return {getattr(row, name) for row in rows} - {None}


def _listed(values: Iterable[object]) -> str:
    """Join the distinct values that are not None, in their order, by "or"."""
    return " or ".join(dict.fromkeys(str(value) for value in values if value is not None))


def _subject(row: Row, several: bool) -> str:
    """Name what a row is of; its data set too where there are several."""
    images = "" if row.ipc is None else f", ipc {row.ipc}"
    return f"{row.data}, {row.method}{images}" if several else f"{row.method}{images}"


def _text(value: float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return shown(value, CELL)
    return f"{value:.1f}" if isinstance(value, float) and value < 10 else f"{value:.0f}"
