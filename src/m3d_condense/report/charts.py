"""Charts as SVG that stands in a page: its colours and fonts are the page's, in a light and in a dark scheme.

They are drawn in colours that stand for the page's and that are replaced in the text of the SVG.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from torch import Tensor

from m3d_condense.report.facts import FeatureView

CLASS_COLOURS = 10
COLOURS = {
    "ink": "#010101",
    "faint": "#010102",
    "accent": "#010103",
    "random": "#010104",
    "whole": "#010105",
    "paper": "#010106",
    **{f"class{number}": f"#0102{number:02x}" for number in range(CLASS_COLOURS)},
}
"""Names of the page's colours, and what each is drawn in."""

SIZE = (4.9, 2.9)  # inches; at 72 units to the inch as wide as a telephone, so that letters stay readable there
FEW = 60  # synthetic images that are drawn as larger points
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "m3d-condense",
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "text.parse_math": False,  # a name may hold a $
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["faint"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 0.6,
    "xtick.color": COLOURS["faint"],
    "ytick.color": COLOURS["faint"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A level that is drawn across a chart, in one of the page's colours."""

    value: float
    label: str
    colour: str


def course(
    points: Sequence[tuple[float, float]], *, title: str, label: str, lines: Sequence[Line] = (), log: bool = False
) -> str:
    """Draw a number against the steps, with levels across.

    Args:
        points: steps and values, in order.
        title: what the chart shows, for those who do not see it.
        label: of the vertical axis.
        lines: levels.
        log: whether the vertical axis is logarithmic.
    """

    def draw(axes: Any) -> None:
        _course(axes, points, label, lines)
        if log:
            axes.set_yscale("log")
            _plain(axes.yaxis)

    return _svg(draw, title)


def _course(axes: Any, points: Sequence[tuple[float, float]], label: str, lines: Sequence[Line]) -> None:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=COLOURS["accent"], marker="o" if len(points) < 40 else "", markersize=3.5)
    for line in lines:
        axes.axhline(line.value, color=COLOURS[line.colour], linestyle=(0, (4, 3)), linewidth=1.4)
        axes.annotate(
            f"{line.label} {line.value:.1f}",
            (1, line.value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            color=COLOURS[line.colour],
        )
    axes.set_xlabel("step")
    axes.set_ylabel(label)


def features(view: FeatureView, title: str) -> str:
    """Draw real and synthetic images in two principal components: faint and full points, a colour a class."""
    return _svg(lambda axes: _features(axes, view), title, height=3.7)


def _features(axes: Any, view: FeatureView) -> None:
    large = 42 if len(view.synthetic_labels) <= FEW else 22
    for number in sorted(set(view.real_labels.tolist())):
        colour = COLOURS[f"class{number % CLASS_COLOURS}"]
        real, synthetic = (
            (part[labels == number])
            for part, labels in (
                (view.projection.real, view.real_labels),
                (view.projection.synthetic, view.synthetic_labels),
            )
        )
        axes.scatter(*_columns(real), s=9, color=colour, alpha=0.3, linewidths=0)
        axes.scatter(*_columns(synthetic), s=large, color=colour, edgecolors=COLOURS["paper"], linewidths=0.9, zorder=3)
    axes.set_xticks([], [])
    axes.set_yticks([], [])
    axes.grid(visible=False)
    axes.set_xlabel("first component")
    axes.set_ylabel("second component")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A set in a chart: what it costs, its accuracy (percent), its spread, and its number in the table."""

    cost: float
    accuracy: float
    spread: float
    name: str


def tradeoff(points: Sequence[Point], *, title: str, label: str) -> str:
    """Draw accuracy against a cost, on a logarithmic axis, each point with its name."""
    return _svg(lambda axes: _tradeoff(axes, points, label), title)


def _tradeoff(axes: Any, points: Sequence[Point], label: str) -> None:
    for number, point in enumerate(points):
        colour = COLOURS[f"class{number % CLASS_COLOURS}"]
        axes.errorbar(
            point.cost, point.accuracy, yerr=point.spread or None, color=colour, marker="o", markersize=6, capsize=3
        )
        axes.annotate(
            point.name, (point.cost, point.accuracy), xytext=(7, 5), textcoords="offset points", color=COLOURS["ink"]
        )
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.margins(x=0.25, y=0.2)
    axes.set_xlabel(label)
    axes.set_ylabel("test accuracy, %")


def _plain(axis: Any) -> None:
    """Mark a logarithmic axis at 1, 2, 5, 10 and so on, in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _columns(points: Tensor) -> tuple[list[float], list[float]]:
    first, second = points.unbind(1)
    return first.tolist(), second.tolist()


def _svg(draw: Callable[[Any], None], title: str, height: float = SIZE[1]) -> str:
    """Return what is drawn on axes as an SVG element with a title, in the page's style; matplotlib is loaded here."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    with rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _placed(file.getvalue(), title)


def _placed(text: str, title: str) -> str:
    """Return matplotlib's SVG as a part of a page."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    own = f"c{zlib.crc32(title.encode()):x}-"
    svg = re.sub(r'\bid="', f'id="{own}', svg)
    svg = re.sub(r"url\(#", f"url(#{own}", svg)
    svg = re.sub(r'href="#', f'href="#{own}', svg)
    svg = re.sub(r'(?<==")[^"]*\d\.\d{3}[^"]*', lambda value: _rounded(value[0]), svg)  # of attributes, not of texts
    for name, drawn in COLOURS.items():
        svg = svg.replace(drawn, f"var(--{name})")
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    opening = re.search(r'viewBox="[^"]*"', svg)
    assert opening is not None
    body = re.sub(r"\s*\n\s*", " ", svg[svg.index(">") + 1 :])
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    heading = f'<svg class="chart" {opening[0]} {xlink} role="img" aria-labelledby="{own}title">'
    return f'{heading}<title id="{own}title">{escape(title)}</title>{body}'


def _rounded(value: str) -> str:
    """Return the numbers in an attribute with two decimals, which no eye tells from more."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
