"""A score: the test accuracies of networks trained from scratch on a set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from m3d_condense.sets.soft import HARD, SOFT
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.text import counted, spread

CIRCUMSTANCES = {"versions", "hardware", "compiled", "best"}
"""Settings of a score that tell how it came about, not what it is of."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Test accuracy of n networks trained from scratch on a condensed set: one line of its `scores`.

    Attributes:
        network, protocol: their names.
        n: how many networks were trained.
        mean, std: of the accuracies, percent; `std` is the sample standard deviation, 0.0 when n is 1.
        accuracies: one a network, percent in [0, 100].
        settings: the protocol's settings, seed, the data's name and fingerprint, versions: enough to repeat it; of a
            score with soft labels also "labels", "soft", and their fingerprint under "soft_labels"; of one with several
            readings of the test accuracy their number, "readings", and the "best" of each network.
    """

    network: str
    protocol: str
    n: int
    mean: float
    std: float
    accuracies: list[float]
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        if self.n != len(self.accuracies) or not self.accuracies:
            raise UserError(f"a score of {self.n} networks has {len(self.accuracies)} accuracies")
        wrong = [accuracy for accuracy in self.accuracies if not _is_percentage(accuracy)]
        if wrong:
            raise UserError(f"accuracies {wrong[:5]} are not percentages; give numbers in [0, 100]")
        if not (_is_percentage(self.mean) and isinstance(self.std, int | float) and 0 <= self.std < math.inf):
            raise UserError(f"mean {self.mean} and std {self.std} are not of percentages")
        object.__setattr__(self, "settings", files.plain_json("settings of a score", self.settings))
        best = self.settings.get("best", self.accuracies)
        if not isinstance(best, list) or len(best) != self.n or not all(isinstance(one, int | float) for one in best):
            raise UserError(f"the best readings of {self.n} networks are {best!r}; give a percentage for each")

    @property
    def labels(self) -> str:
        """What the networks were trained on: "hard" or "soft" labels; these two make different scores."""
        return SOFT if self.settings.get("labels") == SOFT else HARD

    @property
    def best(self) -> list[float] | None:
        """The best reading of each network's test accuracy, percent; None where the last state alone was read.

        It is chosen by the test images, as most public code does, and is no figure of a network that one could have.
        """
        return self.settings.get("best")

    def repeats(self, other: Score) -> bool:
        """Tell whether another score is of the same: of its network, protocol, number of networks and settings.

        Where and by which versions it was measured does not count.
        """
        return self._subject() == other._subject()

    def _subject(self) -> tuple[Any, ...]:
        told = {name: value for name, value in self.settings.items() if name not in CIRCUMSTANCES}
        return self.network, self.protocol, self.n, told

    def trained_by(self, own_epochs: int | None = None) -> str:
        """Return the protocol for a reader, such as "quick, 2 epochs, soft labels, seed 1"; seed 0 is not said.

        Args:
            own_epochs: the epochs that the protocol has for the set; others are told.
        """
        epochs = self.settings.get("epochs", own_epochs)
        parts = [self.protocol]
        if own_epochs is not None and isinstance(epochs, int) and epochs != own_epochs:
            parts.append(counted(epochs, "epoch"))
        if self.labels == SOFT:
            parts.append("soft labels")
        if seed := self.settings.get("seed", 0):
            parts.append(f"seed {seed}")
        if readings := self.settings.get("readings"):
            parts.append(counted(readings, "reading"))
        return ", ".join(parts)

    def rounded(self, digits: int) -> str:
        """Return the mean, and the spread where there are several networks, with so many digits behind the point."""
        return f"{self.mean:.{digits}f}{spread(self.std, self.n, digits)}"

    @classmethod
    def of(cls, network: str, protocol: str, accuracies: Sequence[float], settings: dict[str, Any]) -> Score:
        """Make the score of these accuracies (percent), mean and standard deviation computed."""
        try:
            values = [float(accuracy) for accuracy in accuracies]
        except (TypeError, ValueError) as error:
            raise UserError(f"accuracies {accuracies!r} are not percentages; give numbers in [0, 100]") from error
        return cls(
            network=network,
            protocol=protocol,
            n=len(values),
            mean=statistics.fmean(values) if values else 0.0,
            std=deviation(values),
            accuracies=values,
            settings=settings,
        )


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, 0.0 of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def with_newer(scores: Iterable[Score], newer: Iterable[Score]) -> list[Score]:
    """Return scores and newer ones behind them, which replace those of the same."""
    found = list(scores)
    for score in newer:
        found = [*(one for one in found if not one.repeats(score)), score]
    return found


def _is_percentage(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 100
