"""What the page's template is given of a set: texts, shares and places in the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3d_condense.report.galleries import Gallery, Pair
from m3d_condense.report.yardsticks import Yardstick


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar, as a share in [0, 1] of the longest, and its label."""

    label: str
    share: float
    text: str
    kind: str = "accent"


@dataclass(frozen=True, kw_only=True)
class ClassBars:
    """The accuracies of a class under networks trained on the set, on random images and on all, in percent."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True)
class MistakenRow:
    """A class, how many of its images are named right, and what the others are taken for."""

    name: str
    accuracy: str
    taken_for: str


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A score: texts, and the ends of its interval as shares in [0, 1]."""

    network: str
    protocol: str
    n: int
    accuracy: str
    interval: str
    low: float
    high: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """The accuracies from random selection to the whole data set, percent, and how far the set goes, in [0, 1]."""

    random: float
    condensed: float
    whole: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Distances of one order of moments: the set's, and random selection's."""

    order: str
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The synthetic images nearest to real ones, and what the distances mean."""

    pairs: Sequence[Pair]
    text: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that is shown of one set; what is not known is empty."""

    anchor: str
    name: str
    verdict: str
    way: Way | None
    tiles: Sequence[tuple[str, str]]
    gallery: Gallery
    steps: int
    courses: Sequence[str]
    course_note: str
    classes: Sequence[ClassBars]
    mistaken: Sequence[MistakenRow]
    views: Sequence[tuple[str, str]]
    class_names: Sequence[str]
    moments: Sequence[Moments]
    moments_note: str
    audit: Audit | None
    scores: Sequence[ScoreRow]
    trained: str
    yardsticks: Sequence[Yardstick]
    command: str
    settings: str
    left_out: Sequence[str]
