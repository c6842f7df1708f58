"""The paper's figures as pictures: curves over a setting, bars, or the images of the sets themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.sets.preview import preview
from m3d_condense.studies.ledger import set_folder
from m3d_condense.studies.paper.beside import Beside, shown
from m3d_condense.studies.paper.cells import Cell
from m3d_condense.studies.paper.grids import Grid
from m3d_condense.tools.files import write_file
from m3d_condense.tools.text import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["draw", "save_figure"]

DPI = 100  # pixels of a PNG in an inch
PLOT = 6.4, 4.2  # inches
TITLE, GAP = 0.5, 0.2  # inches above and between pictures of images


def draw(grid: Grid, planned: Sequence[Cell], rows: Sequence[Beside], folder: Path) -> list[Path]:
    """Draw a figure as NAME.svg and NAME.png.

    Args:
        grid: the figure; a table has no picture.
        planned: its cells.
        rows: what came of them.
        folder: of the study, with its sets.

    Returns:
        The files; none where there is nothing to draw yet.
    """
    figure = None
    if grid.shown == "images":
        figure = _images(planned, rows, folder)
    elif grid.shown != "table" and any(row.mean is not None for row in rows):
        figure = _curves(grid, rows) if grid.shown == "curves" else _bars(grid, rows)
    return [] if figure is None else [save_figure(figure, folder / f"{grid.name}.{kind}") for kind in ("svg", "png")]


def save_figure(figure: Figure, file: Path) -> Path:
    """Write a figure as the kind of picture that the file's ending says, the same bytes each time; return the file."""
    import matplotlib

    kind = file.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else None  # the same figure is the same file
    with matplotlib.rc_context({"svg.hashsalt": file.stem}), write_file(file) as new:
        figure.savefig(new, format=kind, dpi=DPI, metadata=metadata)
    return file


def _curves(grid: Grid, rows: Sequence[Beside]) -> Figure:
    """Draw accuracy over the setting that the figure varies, a curve a method, and the minutes beside it."""
    assert grid.axis is not None
    figure, axes = _plot(grid, grid.axis.title)
    minutes = axes.twinx() if grid.axis.timed else None
    if minutes is not None:
        minutes.set_ylabel("minutes of condensing (dashed)")
    values = sorted({row.value for row in rows if row.value is not None})
    if values and values[0] > 0:
        axes.set_xscale("log")
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
    curves: dict[str, list[Beside]] = {}
    for row in rows:
        if row.mean is not None:
            curves.setdefault(_curve(rows, row), []).append(row)
    for number, (name, points) in enumerate(curves.items()):
        colour = f"C{number}"
        means, spreads = [row.mean or 0.0 for row in points], [row.std or 0.0 for row in points]
        if points[0].value is None:
            axes.axhline(means[0], color=colour, linestyle=":", label=name)
            continue
        axes.errorbar(
            [row.value or 0 for row in points], means, spreads, color=colour, marker="o", capsize=3, label=name
        )
        reported = [(row.value or 0, row.paper.mean) for row in points if row.paper is not None]
        if reported:
            axes.plot(*zip(*reported, strict=True), "x", color=colour, label=f"{name}, in the paper")
        timed = [(row.value or 0, row.seconds / 60) for row in points if row.seconds is not None]
        if minutes is not None and timed:
            minutes.plot(*zip(*timed, strict=True), linestyle="--", marker=".", color=colour)
            minutes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _curve(rows: Sequence[Beside], row: Beside) -> str:
    """Name the curve that a row is a point of: its method, and what else differs among the rows."""
    parts = [row.method.partition(",")[0]]
    if len({(one.data, one.ipc) for one in rows}) > 1:
        parts.append(f"{row.data}/{row.ipc}")
    if len({one.network for one in rows}) > 1:
        parts.append(row.network)
    return ", ".join(parts)


def _bars(grid: Grid, rows: Sequence[Beside]) -> Figure:
    """Draw a bar for each result, and a mark where the paper reports one."""
    known = [row for row in rows if row.mean is not None]
    names = [_curve(rows, row).replace(", ", "\n") for row in known]
    figure, axes = _plot(grid, "")
    places = range(len(known))
    heights, spreads = [row.mean or 0.0 for row in known], [row.std or 0.0 for row in known]
    axes.bar(places, heights, yerr=spreads, width=0.6, capsize=4, label="here")
    reported = [(place, row.paper.mean) for place, row in enumerate(known) if row.paper is not None]
    if reported:
        axes.plot(*zip(*reported, strict=True), "kx", label="in the paper")
    axes.set_xticks(list(places), names)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _plot(grid: Grid, below: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=PLOT, layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{shown(grid)}: {grid.title}")
    axes.set_ylabel("test accuracy, %")
    axes.set_xlabel(below)
    axes.grid(alpha=0.3)
    return figure, axes


def _images(planned: Sequence[Cell], rows: Sequence[Beside], folder: Path) -> Figure | None:
    """Draw the images of the first set of each cell side by side, a line for each problem."""
    lines: dict[str, list[tuple[str, Image.Image]]] = {}
    for cell in planned:
        found = set_folder(folder, cell.jobs[0]) if cell.jobs else None
        if found is not None and is_condensed_set(found):
            (row, *_) = [row for row in rows if _is_of(row, cell)]
            made = CondensedSet.load(found)
            picture = preview(made.images, made.labels, made.class_names)
            lines.setdefault(str(cell.problem), []).append((_caption(row), picture))
    return _beside_one_another(list(lines.values())) if lines else None


def _is_of(row: Beside, cell: Cell) -> bool:
    return (row.data, row.ipc, row.method) == (cell.problem.data, cell.ipc, cell.making.label)


def _caption(row: Beside) -> str:
    score = "" if row.mean is None else f"\n{row.network}: {row.mean:.1f}{spread(row.std, row.n)} %"
    return f"{row.data}/{row.ipc}, {row.method}{score}"


def _beside_one_another(lines: list[list[tuple[str, Image.Image]]]) -> Figure:
    """Lay pictures out in lines, each at its own size in pixels, under their captions."""
    from matplotlib.figure import Figure

    width = max(sum(picture.width / DPI + GAP for _, picture in line) for line in lines)
    heights = [max(picture.height for _, picture in line) / DPI + TITLE + GAP for line in lines]
    figure, top = Figure(figsize=(width, sum(heights))), 0.0
    for line, height in zip(lines, heights, strict=True):
        left, total = 0.0, sum(heights)
        for caption, picture in line:
            across, down = picture.width / DPI, picture.height / DPI
            bottom = total - top - TITLE - down
            axes = figure.add_axes((left / width, bottom / total, across / width, down / total))
            axes.imshow(picture, interpolation="none", aspect="auto")
            axes.set_axis_off()
            axes.set_title(caption, fontsize=9)
            left += across + GAP
        top += height
    return figure
