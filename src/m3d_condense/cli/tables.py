"""What the commands print: tables of scores and of what there is, or JSON, and the line that sums a run up."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from m3d_condense.cli.streams import as_shown, complain
from m3d_condense.machine.memory import readable
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import counted, duration, kib, percent

if TYPE_CHECKING:
    from m3d_condense.condensing.estimate import Estimate
    from m3d_condense.data.dataset import ImageDataset
    from m3d_condense.machine.engine import Engine
    from m3d_condense.sets.condensed import CondensedSet, Score
    from m3d_condense.sets.soft import SoftLabels
    from m3d_condense.studies.results import Results


WIDEST = 1000  # columns that a table may take


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A line of the table of scores.

    Attributes:
        name: of what was trained on.
        score: of it.
        class_bytes: its bytes a class, as stored.
        own_epochs: what the protocol has for it.
    """

    name: str
    score: Score
    class_bytes: float
    own_epochs: int


def print_scores(rows: Sequence[Scored], as_json: bool) -> None:
    """Print scores, each under the name of what was trained on."""
    if as_json:
        told = [{"set": row.name, "labels": row.score.labels, "bytes_per_class": row.class_bytes} for row in rows]
        print(json.dumps([one | asdict(row.score) for one, row in zip(told, rows, strict=True)], indent=2))
        return
    from m3d_condense.studies.table import BEST

    lines = []
    for row in rows:
        score = row.score
        line = {"trained on": row.name, "network": score.network, "protocol": score.trained_by(row.own_epochs)}
        line |= {"KiB a class": kib(row.class_bytes), "n": str(score.n), "accuracy, %": score.rounded(1)}
        if any(other.score.best for other in rows):
            line[BEST] = f"{statistics.fmean(score.best):.1f}" if score.best else ""
        lines.append(line)
    print_lines(lines, Table(), left=tuple(lines[0]), wrapped=("trained on", "protocol"))


def print_comparison(comparison: Results, as_json: bool) -> None:
    """Print the table of a comparison, and its notes."""
    if as_json:
        print(json.dumps([asdict(row) for row in comparison.rows], indent=2))
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    print_lines(comparison.table(), table, left=("method", "network"), wrapped=("method", "network"))
    plain_console().print(*map(cell, comparison.notes()), highlight=False, sep="\n")


def print_lines(
    lines: Sequence[dict[str, str]], table: Table, *, left: Container[str], wrapped: Container[str]
) -> None:
    """Print lines of texts by the names of their columns; wider than the terminal where that is too narrow.

    A figure that is cut off would mislead, and one in two rows is hard to read.

    Args:
        lines: at least one, of the same columns.
        table: an empty one, which says how it looks.
        left: columns that are set flush left.
        wrapped: columns of words, which may take several rows, as the names of all columns may.
    """
    least = []
    for column in lines[0]:
        texts = [as_shown(line[column]) for line in lines]
        parts = [word for text in texts for word in text.split()] if column in wrapped else texts
        least.append(max(map(cell_len, [*as_shown(column).split(), *parts]), default=0))
        natural = max(map(cell_len, [as_shown(column), *texts]))
        table.add_column(cell(column), justify="left" if column in left else "right", width=natural)
    for line in lines:
        table.add_row(*map(cell, line.values()))
    console = plain_console()
    console.width = _narrowed(table, least, console)
    console.print(table, highlight=False)


def _narrowed(table: Table, least: Sequence[int], console: Console) -> int:
    """Take from the widths of a table's columns what the console lacks, but leave these; return the width it takes.

    rich would take it from the widest columns, whatever they need.
    """
    natural = [column.width or 0 for column in table.columns]
    frame = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum - sum(natural)
    spare = max(console.width - frame - sum(least), 0)
    for column, low, high in zip(table.columns, least, natural, strict=True):
        column.width = min(high, low + spare)
        spare -= column.width - low
    return max(console.width, frame + sum(column.width or 0 for column in table.columns))


def _facts() -> Table:
    """Return a table of two columns, names and texts, in which neither is cut off."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def print_study(results: Results, as_json: bool, out: Path) -> int:
    """Print the table of a study that is kept in a folder, and say what failed; return the exit status."""
    print_comparison(results, as_json)
    notice(f"the table as CSV, Markdown and JSON, and the condensed sets: {out}")
    failed = f"{results.failed} of {len(results.jobs)} sets failed, as said below the table"
    return complain(failed, 1) if results.failed else 0


def print_info(engine: Engine) -> None:
    """Print what this machine offers, what will be used, and the names of methods, protocols, networks and data."""
    from m3d_condense.data.sources import NAMES
    from m3d_condense.machine.environment import describe_environment
    from m3d_condense.networks import NAMES as NETWORKS

    versions, hardware = describe_environment()
    table = _facts()
    table.add_row("versions", cell(", ".join(f"{name} {number}" for name, number in versions.items())))
    table.add_row("machine", cell(", ".join(f"{name} {value}" for name, value in hardware.items())))
    for name, text in _uses(engine).items():
        table.add_row(name, cell(text))
    for name, method in METHODS.items():
        table.add_row(f"method {name}", method.title)
    for name, protocol in PROTOCOLS.items():
        training = protocol.training
        table.add_row(
            f"protocol {name}", f"{counted(protocol.epochs, 'epoch')}, batch {training.batch}, {training.schedule}"
        )
    table.add_row("networks", ", ".join((*NETWORKS, "module:callable", "timm:NAME")))
    table.add_row("data by name", f"{', '.join(NAMES)}; digits are embedded, the others come from the hub")
    plain_console().print(table)


def _uses(engine: Engine) -> dict[str, str]:
    from m3d_condense.machine import native
    from m3d_condense.machine.engine import has_compiler
    from m3d_condense.machine.execution import name_of
    from m3d_condense.machine.process import recycle_pages

    cpu, missing = engine.device.type == "cpu", "no compiler found: never"
    found = "compiled on first use" if native.compiler() else missing
    products = "bfloat16, in AMX's tiles" if native.has_tiles() else "bfloat16"
    precisions = f"float32 or, asked for, {products}" if native.multiplies_bfloat16() else "float32"
    uses = {
        "will use": engine.describe(),
        "precision": name_of(engine.dtype) + (" in torch's operations" if cpu else ""),
        "native blocks": f"of ConvNet and ResNetAP, in {precisions}, {found}" if cpu else "on a CPU only",
        "compilation": "where it pays back" if has_compiler(engine.device) else missing,
        "memory": f"{readable(engine.budget)} for the activations of one chunk of classes",
    }
    if cpu:
        uses["freed pages"] = "kept and used again" if recycle_pages() else "handed back to the system"
    return uses


def summary(condensed: CondensedSet, dataset: ImageDataset, out: Path) -> str:
    """Say in one line what a run made of what, and what to do next."""
    share = percent(len(condensed.images) / len(dataset.train))
    return (
        f"{len(condensed.images)} images for {len(dataset.train)} ({share}), "
        f"{readable(condensed.nbytes)}, in {condensed.seconds:.0f} s; look at {out / 'preview.png'}, "
        f"score with: m3d evaluate {shlex.quote(str(out))}"
    )


def print_estimate(found: Estimate, time_limit: float | None) -> None:
    """Print what a condensation will take."""
    from m3d_condense.studies.table import PEAKS

    steps = f"{found.iterations:,}"
    if found.groups > 1:
        steps += f" for each of {found.groups} groups of at most {found.classes} classes"
    networks, training = found.networks
    lines = {"networks, beforehand": f"{networks}, each trained by {training:,} steps"} if networks else {}
    lines |= {
        "steps": steps,
        "a step": duration(found.each) if found.each >= 1 else f"{1000 * found.each:.0f} ms",
        "before the first": duration(found.before) + (" a group" if found.groups > 1 else ""),
        "in all": f"about {duration(found.seconds)}",
        "memory at its peak": f"{readable(found.peak[0]) or 'unknown'}, {PEAKS.get(found.peak[1], '')}",
        "memory that is free": readable(found.free) or "unknown",
        "pixels of the set": readable(found.nbytes),
        "tried on": found.machine,
    }
    if time_limit is not None and found.each > 0:
        lines[f"within {duration(time_limit)}"] = f"about {found.within(time_limit):,} steps"
    table = _facts()
    for name, text in lines.items():
        table.add_row(name, cell(text))
    plain_console().print(table)


def notice_labels(before: SoftLabels | None, condensed: CondensedSet, folder: Path) -> None:
    """Say in one line what soft labels a set was given, what they take, and what to do next.

    Nothing is said where it had them `before`, which `label` has said.
    """
    soft = condensed.soft_labels
    assert soft is not None
    if before is not None and before.origin == soft.origin:
        return
    count, networks = len(soft.probabilities), len(soft.origin["networks"])
    by = counted(networks, "network")
    notice(
        f"soft labels of {count:,} decoded images by {by} at temperature {soft.origin['temperature']:g}: "
        f"{kib(soft.nbytes)} KiB beside {kib(condensed.nbytes)} KiB of pixels; "
        f"score with: m3d evaluate {shlex.quote(str(folder))}"
    )


def plain_console() -> Console:
    """Return a console on standard output that shows texts as they are: ``:x:`` is no picture."""
    return Console(emoji=False)


def cell(text: str) -> str:
    """Return a text for rich, as standard output will show it."""
    return escape(as_shown(text))
