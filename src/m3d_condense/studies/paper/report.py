"""A grid's results as text, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m3d_condense.recipes.papers import M3D
from m3d_condense.studies.paper.beside import Beside, rank_orders, shown
from m3d_condense.studies.paper.cells import Asked, paper_repeats
from m3d_condense.studies.record import MOMENTS, Record
from m3d_condense.studies.table import BEST, described, environments
from m3d_condense.studies.writing import comma_separated, markdown
from m3d_condense.tools import files
from m3d_condense.tools.text import duration, kib, listed, spread

__all__ = ["Reproduction"]

ORDERS = ("mean", "variance", "skewness")


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table or figure of the paper, as far as it has been made here.

    Attributes:
        asked: what is wanted.
        rows: our results beside the paper's.
        records: what is known of the sets.
        settings: what all the sets share.
    """

    asked: Asked
    rows: Sequence[Beside]
    records: Sequence[Record]
    settings: Mapping[str, Any]

    @property
    def failed(self) -> int:
        """How many rows have no result, or not all of it, because something went wrong."""
        networks = {network for row in self.rows for network in (row.network, MOMENTS)}
        return sum(bool(record.failed(sorted(networks))) for record in self.records)

    @property
    def title(self) -> str:
        """Such as "Table 2: …"."""
        return f"{shown(self.asked.grid)}: {self.asked.grid.title}"

    def table(self) -> list[dict[str, str]]:
        """Return the rows as text by column; a column that is empty in every row is left out."""
        lines = [_line(row) for row in self.rows]
        always = ("method", "ours", "n")
        used = [name for name in lines[0] if name in always or any(line[name] for line in lines)]
        if len({row.network for row in self.rows}) == 1:
            used.remove("network")
        return [{name: line[name] for name in used} for line in lines]

    def notes(self) -> list[str]:
        """Say what the figures are, how the methods rank, and why a row is empty."""
        said = [_figures(self), *self.asked.grid.notes]
        if any(row.paper is not None and row.paper.moments is not None for row in self.rows):
            said.append("In parentheses: the paper's distances")
        if any(row.best is not None for row in self.rows):
            readings = self.asked.readings
            said.append(
                f"{BEST}: the mean of the networks' best of {readings}, as public code reports; ours is the last"
            )
        if any(row.paper is not None and row.paper.reproduced for row in self.rows):
            said.append("† measured by the paper's authors, not taken from the method's paper")
        if self.asked.preset != "paper":
            said.append(
                "The quick preset also has another optimiser, rate and number of real images than the paper: the JSON "
                "file has every setting that differs, row by row"
            )
        if self.asked.grid.name == "table2":
            said += rank_orders(self.rows)
        missing: dict[str, list[str]] = {}
        for row in self.rows:
            if row.missing:
                missing.setdefault(row.missing, []).append(_named(row))
        return [*said, *(f"{listed(list(dict.fromkeys(names)), 6)}: {why}" for why, names in missing.items())]

    def save(self, folder: Path) -> None:
        """Write NAME.md, NAME.csv and NAME.json, each complete or as it was."""
        name = self.asked.grid.name
        files.write_file_atomic(folder / f"{name}.md", self.markdown())
        files.write_file_atomic(folder / f"{name}.csv", _csv(self.rows))
        files.write_file_atomic(folder / f"{name}.json", json.dumps(self.content(), indent=1) + "\n")

    def content(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        rows = [asdict(row) | {"difference": row.difference} for row in self.rows]
        return {
            "name": self.asked.grid.name,
            "title": self.title,
            "paper": M3D,
            "settings": dict(self.settings),
            "environments": environments(self.records),
            "rows": rows,
            "notes": self.notes(),
        }

    def markdown(self) -> str:
        """Return the table and its notes in GitHub's Markdown."""
        remarks = [*self.notes(), *described(environments(self.records))]
        table = markdown(self.table())
        return f"# {self.title}\n\n{table}" + "".join(f"\n- {remark}" for remark in remarks) + "\n"


def _line(row: Beside) -> dict[str, str]:
    """Return a row as text; a column that has nothing in it is empty."""
    paper = row.paper
    line = {
        "data": row.data,
        "ipc": "" if row.ipc is None else str(row.ipc),
        "method": row.method,
        "network": row.network,
        "paper": "" if paper is None else str(paper),
        "ours": _empty(row) if row.mean is None else f"{row.mean:.1f}{spread(row.std, row.n)}",
        "difference": "" if row.difference is None else f"{row.difference:+.1f}",
        BEST: "" if row.best is None else f"{row.best:.1f}",
        "n": str(row.n) if row.n else "",
        "KiB a class": "" if row.class_bytes is None else kib(row.class_bytes),
    }
    for place, name in enumerate(ORDERS):
        theirs = "" if paper is None or paper.moments is None else f"({paper.moments[place]:.2f})"
        line[name] = f"{'' if row.moments is None else f'{row.moments[place]:.2f}'} {theirs}".strip()
    hours = None if paper is None else paper.hours
    line["condensed in, paper"] = "" if hours is None else f"{hours:g} h"
    line["condensed in"] = "" if row.seconds is None else duration(row.seconds)
    line["differs in"] = ", ".join(row.differs)
    return line


def _empty(row: Beside) -> str:
    """Say in a word why a cell has no accuracy; the notes have the sentence."""
    if not row.at_hand:
        return "no data"
    return "not yet" if row.missing == "not done yet" else "failed"


def _figures(of: Reproduction) -> str:
    asked = of.asked
    sets = "1 set" if asked.seeds == 1 else f"{asked.seeds} sets"
    return (
        f"Test accuracy in percent: mean ± sample standard deviation of n networks on {sets} of each kind, "
        f"protocol {asked.scoring(high=False).protocol}; the difference is in points. The paper trains "
        f"{paper_repeats(high=False)} networks, {paper_repeats(high=True)} on subsets of ImageNet"
    )


def _named(row: Beside) -> str:
    images = "" if row.ipc is None else f"/{row.ipc}"
    return f"{row.data}{images} {row.method}"


def _csv(rows: Sequence[Beside]) -> str:
    """Return the rows as comma-separated values, numbers in full."""
    return comma_separated(list(_flat(rows[0])), map(_flat, rows))


def _flat(row: Beside) -> dict[str, Any]:
    values: dict[str, Any] = {name: value for name, value in asdict(row).items() if name not in ("paper", "settings")}
    paper = row.paper
    ours, theirs = values.pop("moments"), None if paper is None else paper.moments
    values |= {"paper_mean": None if paper is None else paper.mean, "paper_std": None if paper is None else paper.std}
    values |= {"difference": row.difference, "paper_hours": None if paper is None else paper.hours}
    for place, name in enumerate(ORDERS):
        values[f"paper_{name}_distance"] = None if theirs is None else theirs[place]
        values[f"{name}_distance"] = None if ours is None else ours[place]
    return values | {"differs": ", ".join(row.differs)}
