"""Gathers the facts of a set: what is stored of it, what can be computed, and what networks have to be trained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m3d_condense.condensing.condensation import random_selections
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.start import start
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.machine.engine import Engine
from m3d_condense.moments import MomentDistances, moment_distances
from m3d_condense.recipes.names import EASY
from m3d_condense.report.facts import Facts, FeatureView
from m3d_condense.report.nearest import Nearest, nearest
from m3d_condense.report.projection import principal_components
from m3d_condense.report.trials import Setup, Trials, features, trials
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.stored import is_grouped, recipe_of
from m3d_condense.sets.tiles import cut
from m3d_condense.tools.cache import Tensors
from m3d_condense.tools.seeds import generator
from m3d_condense.tools.stopwatch import Stopwatch

REAL_POINTS, SYNTHETIC_POINTS, DRAWN_CLASSES = 400, 200, 10  # drawn at most, of the first classes
MOMENT_NETWORKS = 3


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a report may compute.

    Attributes:
        network, protocol: of the networks; None takes those that the set was scored by last.
        repeats: networks trained on the set, and on random selections.
        training: whether networks are trained at all.
        whole: whether one is trained on the whole data set.
    """

    network: str | None = None
    protocol: str | None = None
    repeats: int = 1
    training: bool = True
    whole: bool = True


def gather(
    name: str, condensed: CondensedSet, dataset: ImageDataset | None, asked: Asked, engine: Engine, command: str
) -> Facts:
    """Return all that a report tells of a set.

    Args:
        name: of the set on the page.
        condensed: the set.
        dataset: its source; None where it cannot be had, and then only what is stored is told.
        asked: what may be computed.
        engine: where networks run.
        command: that makes the set again.
    """
    setup = Setup.of(condensed, asked.network, asked.protocol)
    known: dict[str, Any] = {"name": name, "condensed": condensed, "command": command, "setup": setup}
    if dataset is None:
        return Facts(**known, left_out=["All that needs the real images: the source of the set is not at hand."])
    left_out: list[str] = []
    initial = _initial(condensed, dataset, asked.training, engine, left_out)
    own = random = whole = None
    if asked.training:
        own, random, whole = _networks(condensed, dataset, setup, asked, engine)
    else:
        left_out.append("All that networks have to be trained for: accuracies by class, random selection, all data.")
    selection = random_selections(dataset, condensed.ipc, 1, setup.seed)[0]

    def moments(subject: CondensedSet) -> MomentDistances:
        return moment_distances(
            subject,
            dataset,
            network=setup.network,
            repeats=MOMENT_NETWORKS,
            seed=setup.seed,
            execution=engine.execution,
        )

    return Facts(
        **known,
        dataset=dataset,
        initial=initial,
        own=own,
        random=random,
        whole=whole,
        views=_views(condensed, dataset, setup, engine, whole, own),
        moments=moments(condensed),
        random_moments=moments(selection),
        nearest=nearest_of(condensed, dataset),
        left_out=left_out,
    )


def _networks(
    condensed: CondensedSet, dataset: ImageDataset, setup: Setup, asked: Asked, engine: Engine
) -> tuple[Trials, Trials, Trials | None]:
    """Train networks on the set, on random selections of as many images, and on all the data."""
    selections = random_selections(dataset, condensed.ipc, asked.repeats, setup.seed)
    title = f"Training {setup.network} on"
    own = trials([condensed], dataset, setup, engine, asked.repeats, f"{title} the set")
    random = trials(selections, dataset, setup, engine, asked.repeats, f"{title} random images")
    whole = trials([dataset], dataset, setup, engine, 1, f"{title} all the data") if asked.whole else None
    return own, random, whole


def _initial(
    condensed: CondensedSet, dataset: ImageDataset, training: bool, engine: Engine, left_out: list[str]
) -> Tensor | None:
    """Return the images a set started from, made again; None, and why, where they cannot be."""
    recipe = recipe_of(condensed)
    if recipe is None or dataset.fingerprint != condensed.source.get("fingerprint"):
        left_out.append("The images that it started from: they cannot be made again from what is stored.")
        return None
    if recipe.iterations == 0:
        return None  # they are the set
    if condensed.settings.get("start_from") is not None:
        left_out.append("The images that it started from: some are those of an earlier set.")
        return None
    judged = recipe.initialisation == EASY
    if is_grouped(condensed) and (judged or recipe.has_selector):
        left_out.append("The images that it started from: networks of its groups of classes chose them.")
        return None
    if not training and (judged or recipe.has_selector):
        left_out.append("The images that it started from: a network would have to be trained to choose them.")
        return None
    begun = begin(dataset, recipe, engine).pixels if judged else start(dataset, recipe, engine, Stopwatch())
    images, labels = begun.to_uint8()
    if images.shape != condensed.images.shape or not torch.equal(labels, condensed.labels):
        left_out.append("The images that it started from: they are not those of this recipe alone.")
        return None
    return images


def nearest_of(condensed: CondensedSet, dataset: ImageDataset) -> Nearest:
    """Return the nearest real image of each tile of a set, in the order of the tiles."""
    tiles = cut(condensed.images.float() / 255, condensed.factor).flatten(0, 1)
    labels = condensed.labels.repeat_interleave(condensed.factor**2)
    return nearest(tiles, labels, dataset.train.images, dataset.train.labels)


def _views(
    condensed: CondensedSet,
    dataset: ImageDataset,
    setup: Setup,
    engine: Engine,
    whole: Trials | None,
    own: Trials | None,
) -> list[FeatureView]:
    """Project some real and synthetic images, as a random and as a trained encoder see them."""
    classes = range(min(dataset.num_classes, DRAWN_CLASSES))
    sampler = ClassSampler(dataset.train.labels, dataset.num_classes)
    least = int(dataset.train.labels.bincount(minlength=dataset.num_classes)[: len(classes)].min())
    drawn = sampler.draw(classes, min(REAL_POINTS // len(classes), least), generator(setup.seed, "report"))
    real = dataset.train[drawn.flatten()]
    images, labels = _first(*condensed.decode(), classes, SYNTHETIC_POINTS // len(classes))
    found = []
    encoders: list[tuple[str, Tensors | None]] = [("a random network", None)]
    if whole is not None:
        encoders.append(("a network trained on all the data", whole.weights))
    elif own is not None:
        encoders.append(("a network trained on the set", own.weights))
    for encoder, weights in encoders:
        both = features([real.images, images], dataset, setup.network, engine, seed=setup.seed, weights=weights)
        view = FeatureView(
            encoder=encoder,
            projection=principal_components(*both),
            real_labels=real.labels,
            synthetic_labels=labels,
        )
        found.append(view)
    return found


def _first(images: Tensor, labels: Tensor, classes: range, count: int) -> tuple[Tensor, Tensor]:
    """Return the first `count` images of each of these classes, and their labels."""
    index = torch.cat([torch.nonzero(labels == number).flatten()[:count] for number in classes])
    return images[index], labels[index]
