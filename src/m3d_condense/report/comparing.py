"""Several sets in one table: their accuracies beside what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from m3d_condense.report import charts
from m3d_condense.report.facts import Facts
from m3d_condense.sets.text import one_line
from m3d_condense.studies.table import Row
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import read_json
from m3d_condense.tools.text import duration, kib, spread

FILE = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A line of the comparison; what is not known is None."""

    name: str
    ipc: int | None
    network: str
    accuracy: float | None
    spread: float | None
    n: int
    nbytes: int | None
    class_bytes: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its text, and the number it is sorted by; None for one that is sorted as text."""

    text: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table, and whether it holds numbers."""

    name: str
    number: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is shown of several sets."""

    text: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    charts: Sequence[str]


COLUMNS = (
    ("set", False),
    ("ipc", True),
    ("network", False),
    ("accuracy, %", True),
    ("KiB a class", True),
    ("time", True),
)


def is_comparison(folder: Path) -> bool:
    """Tell whether `m3d compare` wrote a folder."""
    return (folder / FILE).is_file()


def of_folder(folder: Path) -> list[Compared]:
    """Read the table of a comparison.

    Raises:
        UserError: it cannot be read.
    """
    try:
        rows = msgspec.convert(read_json(folder / FILE).get("rows"), list[Row])
    except msgspec.ValidationError as error:
        raise UserError(f"{folder / FILE} is damaged, or of another version ({error}); run m3d compare again") from None
    several = len({row.data for row in rows}) > 1
    return [
        Compared(
            name=one_line(f"{row.data}, {row.method}" if several else row.method),
            ipc=row.ipc,
            network=row.network,
            accuracy=row.mean,
            spread=row.std,
            n=row.n,
            nbytes=row.size_bytes,
            class_bytes=row.class_bytes,
            seconds=row.seconds,
        )
        for row in rows
    ]


def of_facts(found: Sequence[Facts]) -> list[Compared]:
    """Return a line for each set."""
    return [_compared(facts) for facts in found]


def _compared(facts: Facts) -> Compared:
    condensed = facts.condensed
    mean, std, n = facts.accuracy or (None, None, 0)
    return Compared(
        name=facts.name,
        ipc=condensed.ipc,
        network=facts.setup.network,
        accuracy=mean,
        spread=std,
        n=n,
        nbytes=condensed.nbytes,
        class_bytes=condensed.nbytes / condensed.num_classes,
        seconds=condensed.made_in,
    )


def comparison(rows: Sequence[Compared], text: str) -> Comparison:
    """Return the table of these lines, best first, and accuracy against size and against time."""
    ordered = sorted(rows, key=lambda row: -1.0 if row.accuracy is None else row.accuracy, reverse=True)
    drawn = []
    for name, label in (("nbytes", "bytes"), ("seconds", "seconds of condensing")):
        points = [_point(row, getattr(row, name)) for row in ordered if row.accuracy is not None and getattr(row, name)]
        if points:
            drawn.append(charts.tradeoff(points, title=f"Test accuracy against {label}", label=label))
    columns = [Column(name=name, number=number) for name, number in COLUMNS]
    return Comparison(text=text, columns=columns, rows=[_cells(row) for row in ordered], charts=drawn)


def _point(row: Compared, cost: Any) -> charts.Point:
    assert row.accuracy is not None
    return charts.Point(cost=cost, accuracy=row.accuracy, spread=row.spread or 0.0, name=row.name)


def _cells(row: Compared) -> list[Cell]:
    accuracy = "" if row.accuracy is None else f"{row.accuracy:.1f}{spread(row.spread, row.n)}"
    return [
        Cell(text=row.name),
        Cell(text="" if row.ipc is None else str(row.ipc), value=row.ipc or 0),
        Cell(text=row.network),
        Cell(text=accuracy, value=-1.0 if row.accuracy is None else row.accuracy),
        Cell(text="" if row.class_bytes is None else kib(row.class_bytes), value=row.class_bytes or 0.0),
        Cell(text="" if row.seconds is None else duration(row.seconds), value=row.seconds or 0.0),
    ]
