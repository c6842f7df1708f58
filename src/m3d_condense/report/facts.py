"""What a report knows of a set, before anything is drawn.

Shapes: K classes, N stored images of C×H×W pixels, l factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.moments import MomentDistances
from m3d_condense.report.nearest import Nearest
from m3d_condense.report.projection import Projection
from m3d_condense.report.trials import Setup, Trials
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.soft import HARD


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureView:
    """The features of some real images and of the synthetic ones, under one encoder.

    Attributes:
        encoder: what it is, in words.
        projection: both, in two dimensions.
        real_labels, synthetic_labels: their classes.
    """

    encoder: str
    projection: Projection
    real_labels: Tensor
    synthetic_labels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What is known of one set; what is not known is None or empty, and `left_out` says why.

    Attributes:
        name: of the set on the page.
        condensed: the set.
        dataset: its source.
        command: that makes it again.
        setup: how the networks were trained.
        initial: the images N×C×H×W, uint8, that it started from.
        own, random, whole: networks trained on the set, on random selections of its size, and on all the data.
        views: under a random and a trained encoder.
        moments, random_moments: distances to the real images' moments, of the set and of a random selection.
        nearest: the real image that each tile is nearest to.
        left_out: what is not on the page, and why.
    """

    name: str
    condensed: CondensedSet
    dataset: ImageDataset | None = None
    command: str = ""
    setup: Setup = field(default_factory=Setup)
    initial: Tensor | None = None
    own: Trials | None = None
    random: Trials | None = None
    whole: Trials | None = None
    views: Sequence[FeatureView] = ()
    moments: MomentDistances | None = None
    random_moments: MomentDistances | None = None
    nearest: Nearest | None = None
    left_out: Sequence[str] = ()

    @property
    def accuracy(self) -> tuple[float, float, int] | None:
        """Mean, sample standard deviation and count of the set's accuracies: its stored score, or the report's own.

        The stored one is the last on these data by the report's network and protocol, with hard labels, as the report's
        own networks are trained, where it is of no fewer networks.
        """
        wanted = (self.setup.network, self.setup.protocol, HARD)
        data = None if self.dataset is None else self.dataset.fingerprint
        stored = [
            score
            for score in self.condensed.scores
            if (score.network, score.protocol, score.labels) == wanted
            and (data is None or score.settings.get("fingerprint", data) == data)
        ]
        if stored and (self.own is None or stored[-1].n >= len(self.own.accuracies)):
            return stored[-1].mean, stored[-1].std, stored[-1].n
        return None if self.own is None else self.own.summary
