"""Networks trained for the report, and what they take for what; each is kept, so that a second report is quick.

Shapes: K classes, N images of C×H×W pixels, D features.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.view import BLOCK, Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.recipes import protocols
from m3d_condense.recipes.names import imports_code
from m3d_condense.report.confusion import accuracy, confusion
from m3d_condense.scoring import accuracies_of, repeat_seed, trainer_for
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.score import deviation
from m3d_condense.subjects import Subject, adapted, mirrored
from m3d_condense.tools.cache import Tensors, kept
from m3d_condense.tools.seeds import derive
from m3d_condense.training.augment import Normalisation

PREFIX = "network."  # of the names of weights, beside the confusion in the cache


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How the networks of a report are trained.

    Attributes:
        network, protocol: their names.
        epochs: in place of the protocol's; on the whole data set at most the protocol's for that.
        seed: of all networks.
    """

    network: str = "convnet"
    protocol: str = "quick"
    epochs: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, condensed: CondensedSet, network: str | None = None, protocol: str | None = None) -> Setup:
        """Return how a set was scored last, or would be by default; a network or protocol that is given takes over.

        Scores by a protocol that is not known here, or by a network that is code, which no set may have imported, do
        not count.
        """
        scores = [
            score
            for score in condensed.scores
            if network in (None, score.network)
            and protocol in (None, score.protocol)
            and score.protocol in protocols.PROTOCOLS
            and (score.network == network or not imports_code(score.network))
        ]
        if not scores:
            return cls(network=network or "convnet", protocol=protocol or "quick")
        last = scores[-1]
        epochs, seed = last.settings.get("epochs"), last.settings.get("seed", 0)
        usual = adapted(last.protocol, condensed, None, flip=True).epochs
        own = epochs if isinstance(epochs, int) and epochs != usual else None
        return cls(network=last.network, protocol=last.protocol, epochs=own, seed=seed if isinstance(seed, int) else 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """What networks trained on one kind of set do with the test images.

    Attributes:
        confusion: K×K, added up over the networks, see `m3d_condense.report.confusion`.
        accuracies: of each network, percent.
        weights: of the first network, by name.
    """

    confusion: Tensor
    accuracies: list[float]
    weights: Tensors

    @property
    def summary(self) -> tuple[float, float, int]:
        """Mean, sample standard deviation (0.0 of one) and count of the accuracies."""
        values = self.accuracies
        return statistics.fmean(values), deviation(values), len(values)


def trials(
    subjects: Sequence[Subject], dataset: ImageDataset, setup: Setup, engine: Engine, repeats: int, title: str
) -> Trials:
    """Train networks from scratch, and test them; those that were trained before come from the cache.

    Args:
        subjects: what they are trained on, in turns: a condensed set, random selections, or the data set.
        dataset: whose test split they are tested on.
        setup: how they are trained.
        engine: where.
        repeats: how many networks.
        title: of the progress.
    """
    first = subjects[0]
    protocol = adapted(setup.protocol, first, _epochs(setup, first), mirrored(first, dataset))
    trainer = trainer_for(setup.network, protocol, dataset, first, 1, engine)
    made_from = {
        "fingerprint": dataset.fingerprint,
        "network": setup.network,
        "seed": setup.seed,
        "training": asdict(protocol.training),
        "epochs": protocol.epochs,
        "arithmetic": trainer.placed.arithmetic,
        **networks.code_of(trainer.network),
    }

    def train(subject: Subject, number: int) -> Tensors:
        accuracies_of(trainer, protocol, [subject], dataset, [repeat_seed(setup.seed, number)], title)
        named = trainer.predictions(dataset.test.images)[0].cpu()
        weights = {PREFIX + name: value for name, value in trainer.network.state_dict().items()}
        return {"confusion": confusion(dataset.test.labels, named, dataset.num_classes), **weights}

    def trial(number: int) -> Tensors:
        subject = subjects[number % len(subjects)]
        identity = made_from | {"trained_on": subject.fingerprint}
        return kept("reports", identity, number, lambda: train(subject, number))

    found = [trial(number) for number in range(repeats)]
    counts = [tensors["confusion"] for tensors in found]
    weights = {name.removeprefix(PREFIX): value for name, value in found[0].items() if name.startswith(PREFIX)}
    return Trials(confusion=torch.stack(counts).sum(0), accuracies=[accuracy(one) for one in counts], weights=weights)


def _epochs(setup: Setup, subject: Subject) -> int | None:
    """Return the epochs in place of the protocol's: on a whole data set, at most the protocol's for that."""
    if not isinstance(subject, ImageDataset):
        return setup.epochs
    return protocols.protocol(setup.protocol).at_most_whole(subject.problem(mirrored=True), setup.epochs)


def features(
    images: Sequence[Tensor],
    dataset: ImageDataset,
    network: str,
    engine: Engine,
    *,
    seed: int,
    weights: Tensors | None = None,
) -> list[Tensor]:
    """Return the features n×D of images n×C×H×W, uint8 or floats in [0, 1], of each part.

    Args:
        images: the parts.
        dataset: whose normalisation is used.
        network: the architecture.
        engine: where it runs.
        seed: of a random network.
        weights: of a trained one, in its place.
    """
    built = networks.build(network, **dataset.shape)
    encoder = Encoder(engine.place(built, dataset.example, 0))
    if weights is None:
        encoder.refill(derive(seed, "report"))
    else:
        encoder.network.load_state_dict(weights)
    encoder.network.eval()
    normalised = Normalisation(dataset.mean, dataset.std, engine.device)
    return [encoder.features_in_blocks(torch.split(part, BLOCK), normalised).cpu() for part in images]
