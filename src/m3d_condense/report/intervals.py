"""What a handful of networks say of all that could be trained alike."""

from __future__ import annotations

from scipy.stats import t as student

CONFIDENCE = 0.95


def interval(mean: float, std: float, n: int) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean accuracy, percent, by Student's t; None for one network.

    Args:
        mean, std: of the accuracies; the sample standard deviation.
        n: how many there are.
    """
    if n < 2:
        return None
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / n**0.5
    return max(0.0, mean - half), min(100.0, mean + half)
