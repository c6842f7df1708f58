"""What a comparison knows of each set, its table, and the files that keep both."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.memory import readable
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools import files
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.leftovers import sweep_within

STATE, SETS = "comparison.json", "sets"
WHOLE = "whole"

Job = Recipe | None
"""A set to make and score, as its recipe; None for the whole data set."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: one method, number of images per class and network, over all seeds.

    What is not known, or has no meaning for the whole data set, is None.

    Attributes:
        method, ipc, network: what was trained on; "whole" is the training split, which has no ipc and no seeds.
        mean, std: of all accuracies of all seeds, percent; `std` is the sample standard deviation, 0.0 when n is 1.
        n: how many networks were trained.
        seconds: that condensing took, the median over the seeds.
        peak_bytes, peak_of: memory at its peak, the most over the seeds, and of what it is, see `peak_memory`.
        size_bytes: of the stored pixels.
        iterations: of the loop that condenses.
        error: what went wrong; empty where nothing did.
        seeds: for each seed its accuracies, their mean, and what its set took.
    """

    method: str
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
    seeds: list[dict[str, Any]]

    @property
    def accuracy(self) -> str:
        """The mean and its spread, such as 58.9 ± 0.6."""
        if self.mean is None:
            return "failed" if self.error else ""
        return f"{self.mean:.1f} ± {self.std:.1f}" if self.n > 1 else f"{self.mean:.1f}"


ORDERS: Mapping[str, Callable[[Row], tuple[Any, ...]]] = {
    "accuracy": lambda row: (row.mean is None, -(row.mean or 0.0)),
    "seconds": lambda row: (row.seconds is None, row.seconds),
    "method": lambda row: (row.method, row.ipc),
    "bytes": lambda row: (row.size_bytes is None, row.size_bytes),
}
"""How rows are sorted; what is not known comes last."""


class Comparison:
    """What is known of each set, and the table of those asked for.

    Attributes:
        jobs, networks: the sets asked for, and what scores them.
        sort: the order of the rows, a key of `ORDERS`.
        folder: where it is kept; None keeps nothing.
        state: the settings that all share, the iterations found to fit in the time limit, and a record for each
            set ever asked for; what JSON can hold.
    """

    def __init__(self, settings: dict[str, Any], jobs: Sequence[Job], scorers: Sequence[str], sort: str) -> None:
        self.jobs, self.networks, self.sort = jobs, scorers, sort
        self.folder: Path | None = None
        self.versions, self.hardware = describe_environment()
        self.state: dict[str, Any] = {"settings": files.plain_json("settings", settings), "fitted": {}, "sets": {}}
        self._expect()

    def open(self, folder: Path, overwrite: bool) -> None:
        """Keep the state in a folder from now on, and take up what is there, unless it is to be overwritten.

        Raises:
            UserError: the folder holds other files, or a comparison of other data or with other settings.
        """
        files.check_folder(folder, lambda path: (path / STATE).is_file())
        if overwrite:
            _discard(folder / SETS)
        elif (folder / STATE).is_file():
            stored = files.read_json(folder / STATE)
            if not all(isinstance(stored.get(name), dict) for name in self.state):
                raise UserError(
                    f"{folder / STATE} is damaged; give another {Setting('out')}, or {Setting('overwrite', True)}"
                )
            other = _difference(stored["settings"], self.state["settings"])
            if other:
                raise UserError(
                    f"{folder}: holds a comparison with other {other}; give another {Setting('out')}, "
                    f"or {Setting('overwrite', True)}"
                )
            self.state = {name: stored[name] for name in self.state}
            self._expect()
        self.folder = folder
        self.save()

    def save(self) -> None:
        """Write the state and the table, each file whole or not at all."""
        if self.folder is not None:
            content = {"versions": self.versions, "hardware": self.hardware}
            content |= {"rows": [asdict(row) for row in self.rows]} | self.state
            files.write_file_atomic(self.folder / STATE, json.dumps(content, indent=1))
            files.write_file_atomic(self.folder / "comparison.csv", self.csv())
            files.write_file_atomic(self.folder / "comparison.md", self.markdown())

    def _expect(self) -> None:
        for job in self.jobs:
            self.state["sets"].setdefault(name_of(job), {"scores": {}, "errors": {}})

    def record(self, job: Job) -> dict[str, Any]:
        """Return what is known of a set, to be added to."""
        known: dict[str, Any] = self.state["sets"][name_of(job)]
        return known

    def missing(self, job: Job) -> list[str]:
        """Return the networks that have not scored a set yet."""
        return [network for network in self.networks if network not in self.record(job)["scores"]]

    @property
    def failed(self) -> int:
        """How many of the sets asked for could not be made or scored."""
        return sum(bool(self.record(job)["errors"].keys() & set(self.networks)) for job in self.jobs)

    @property
    def rows(self) -> list[Row]:
        """The table of what is known so far, in order."""
        kinds: dict[str, list[Job]] = {}
        for job in self.jobs:
            if self.record(job)["scores"] or self.record(job)["errors"]:
                kinds.setdefault(kind(job), []).append(job)
        rows = [self._row(jobs, network) for jobs in kinds.values() for network in self.networks]
        return sorted(rows, key=ORDERS[self.sort])

    def _row(self, jobs: Sequence[Job], network: str) -> Row:
        records = [self.record(job) for job in jobs]
        errors = [record["errors"][network] for record in records if network in record["errors"]]
        scores = [record["scores"].get(network, {"mean": None, "accuracies": []}) for record in records]
        accuracies = [accuracy for score in scores for accuracy in score["accuracies"]]
        measured = ("seconds", "peak_bytes", "peak_of", "size_bytes", "iterations")
        known = {name: [r[name] for r in records if r.get(name) is not None] for name in measured}
        return Row(
            method=WHOLE if jobs[0] is None else jobs[0].method,
            ipc=None if jobs[0] is None else jobs[0].ipc,
            network=network,
            mean=statistics.fmean(accuracies) if accuracies else None,
            std=statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0 if accuracies else None,
            n=len(accuracies),
            seconds=statistics.median(known["seconds"]) if known["seconds"] else None,
            peak_bytes=max(known["peak_bytes"], default=None),
            peak_of=" or ".join(sorted(set(known["peak_of"]))),
            size_bytes=max(known["size_bytes"], default=None),
            iterations=max(known["iterations"], default=None),
            error="; ".join(dict.fromkeys(errors)),
            seeds=[
                {"seed": job and job.seed, "mean": score["mean"], "accuracies": score["accuracies"]}
                | {name: record.get(name) for name in measured}
                for job, record, score in zip(jobs, records, scores, strict=True)
            ],
        )

    def table(self) -> list[dict[str, str]]:
        """Return the rows as text by column; a network that is the only one has no column."""
        lines = []
        for row in self.rows:
            line = {"method": row.method, "ipc": _text(row.ipc)}
            line |= {"network": row.network} if len(self.networks) > 1 else {}
            line |= {"accuracy, %": row.accuracy, "n": str(row.n), "seconds": _text(row.seconds)}
            line |= {"memory": readable(row.peak_bytes), "size": readable(row.size_bytes)}
            lines.append(line | {"iterations": _text(row.iterations)})
        return lines

    def notes(self) -> list[str]:
        """Say what the table's figures are, and what went wrong."""
        shared, rows = self.state["settings"], self.rows
        epochs = f", {shared['epochs']} epochs" if shared["epochs"] is not None else ""
        of = {"device": "the GPU's", "run": "the process's during the run", "process": "the process's of all time"}
        peaks = " or ".join(dict.fromkeys(of[row.peak_of] for row in rows if row.peak_of in of))
        figures = (
            f"{shared['data']}: test accuracy, mean ± sample standard deviation of n networks, {shared['repeats']} for "
            f"each set, protocol {shared['protocol']}{epochs}; seconds of condensing, preset {shared['preset']}, the "
            "median over the seeds"
        )
        failed = [f"{row.method}, ipc {row.ipc}: {row.error}" for row in rows if row.error]
        return [figures + (f"; memory at its peak, {peaks}" if peaks else ""), *dict.fromkeys(failed)]

    def markdown(self) -> str:
        """Return the table, its notes, versions and hardware in GitHub's Markdown."""
        environment = (self.versions, self.hardware)
        described = (", ".join(f"{name} {value}" for name, value in part.items()) for part in environment)
        lines, text = self.table(), ""
        for cells in [lines[0], ["---", *["---:"] * (len(lines[0]) - 1)], *map(dict.values, lines)] if lines else ():
            text += f"| {' | '.join(cells)} |\n"
        return text + "".join(f"\n{note}\n" for note in (*self.notes(), "; ".join(described)))

    def csv(self) -> str:
        """Return the rows as comma-separated values, numbers in full; seeds are only in the JSON."""
        names = [field.name for field in dataclasses.fields(Row) if field.name != "seeds"]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say which settings differ; a setting that one of them lacks was not given."""
    names = [name for name in {**stored, **asked} if stored.get(name) != asked.get(name)]
    return ", ".join(dict.fromkeys("data" if name in ("data", "fingerprint") else str(Setting(name)) for name in names))


def kind(job: Job) -> str:
    """Name what the seeds of a set share."""
    return WHOLE if job is None else f"{job.method}-ipc{job.ipc}"


def name_of(job: Job) -> str:
    """Name a set: its record, and its folder."""
    return WHOLE if job is None else f"{kind(job)}-seed{job.seed}"


def title(job: Job) -> str:
    """Say what a set is."""
    return "the whole data set" if job is None else f"{job.method}, {job.ipc} per class, seed {job.seed}"


def _text(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.1f}" if isinstance(number, float) and number < 10 else f"{number:.0f}"


def _discard(folder: Path) -> None:
    """Remove the condensed sets and checkpoints of a folder; raise `UserError` where anything else is among them."""
    if not folder.is_dir():
        return
    sweep_within(folder)
    for entry in folder.iterdir():
        if entry.suffix == ".checkpoint":
            entry.unlink()
        else:
            CondensedSet.check_target(entry)
            shutil.rmtree(entry)
