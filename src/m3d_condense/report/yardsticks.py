"""How good a set is beside random selection and the whole data set, as one number. Accuracies are in percent."""

from __future__ import annotations

import math
from dataclasses import dataclass


def share_of_the_way(random: float, condensed: float, whole: float) -> float | None:
    """Return how much of the way from random selection to the whole data set a set goes: 0 and 1 at the ends.

    Below 0 where it is worse than random selection; None where the whole is no better than random selection.
    """
    return (condensed - random) / (whole - random) if whole > random else None


def improvement_over_random(random: float, condensed: float) -> float:
    """Return DD-Ranking's IOR: Acc(syn) - Acc(random), of a selection of the same size under the same protocol.

    Source: Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025 (arXiv:2505.13300), and
    the README of NUS-HPC-AI-Lab/DD-Ranking.
    """
    return condensed - random


def hard_label_recovery(condensed: float, whole: float) -> float:
    """Return DD-Ranking's HLR: Acc(real, hard labels) - Acc(syn, hard labels); the less, the better.

    Labels are always hard here. Source: as of `improvement_over_random`.
    """
    return whole - condensed


def label_robust_score(random: float, condensed: float, whole: float) -> float:
    """Return DD-Ranking's LRS, in [0, 1]; the more, the better.

    LRS = (e^α - e^-1) / (e - e^-1), α = (IOR - HLR) / 2, with IOR and HLR as shares in [-1, 1]; the weight of 1/2 is
    that of their leaderboard. Source: as of `improvement_over_random`.
    """
    alpha = (improvement_over_random(random, condensed) - hard_label_recovery(condensed, whole)) / 2
    return (math.exp(alpha / 100) - math.exp(-1)) / (math.e - math.exp(-1))


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """One number that a set is measured by.

    Attributes:
        name: short, as the field has it.
        value: as it is shown.
        meaning: what it is, in a sentence.
    """

    name: str
    value: str
    meaning: str


def yardsticks(random: float | None, condensed: float | None, whole: float | None) -> list[Yardstick]:
    """Return those of the yardsticks that can be told from the accuracies that are known, in percent."""
    found = []
    if random is not None and condensed is not None:
        value = f"{improvement_over_random(random, condensed):+.1f} points"
        meaning = "Improvement over random: accuracy of the set less that of a random selection of its size."
        found.append(Yardstick(name="IOR", value=value, meaning=meaning))
    if condensed is not None and whole is not None:
        value = f"{hard_label_recovery(condensed, whole):.1f} points"
        meaning = "Hard label recovery: accuracy of the whole data set less that of the set; the less, the better."
        found.append(Yardstick(name="HLR", value=value, meaning=meaning))
    if random is not None and condensed is not None and whole is not None:
        value = f"{label_robust_score(random, condensed, whole):.3f}"
        meaning = "DD-Ranking's label-robust score of both, with w = 0.5: from 0 to 1; the more, the better."
        found.append(Yardstick(name="LRS", value=value, meaning=meaning))
    return found
