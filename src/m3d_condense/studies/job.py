"""A job: one cell of a study, which is a set to make and the networks that score it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.networks import build
from m3d_condense.recipes import protocols
from m3d_condense.recipes.given import Architecture, converted, given_settings, several
from m3d_condense.recipes.protocols import MOST_READINGS, Protocol
from m3d_condense.recipes.recipe import MOST_NETWORKS, Recipe, check_count
from m3d_condense.sets.soft import HARD, SOFT
from m3d_condense.tools.errors import UserError

__all__ = ["WHOLE", "Job", "Scoring", "job_for", "network_and_labels", "scored_data"]

WHOLE = "whole"
SOFTLY = ", soft labels"  # behind the name of a network that is trained on these
OF_SELECTIONS = {"selection_features", "network", "flip", "bits"}  # what a method without steps has a use for


def network_and_labels(scorer: str) -> tuple[str, str]:
    """Return the network that a scorer of a job names, and the labels that it is trained on."""
    network = scorer.removesuffix(SOFTLY)
    return network, HARD if network == scorer else SOFT


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Which networks score a set, and how; see `m3d_condense.evaluate`.

    Attributes:
        networks: architectures, each of which scores the set on its own.
        protocol, repeats, seed: as of `evaluate`.
        epochs: in place of the protocol's; the whole training split gets no more than the protocol has for it.
        flip: whether a mirrored image keeps its class; None leaves it to the set or its data.
        readings: as of `evaluate`.
    """

    networks: tuple[str, ...]
    protocol: str
    repeats: int
    seed: int
    epochs: int | None = None
    flip: bool | None = None
    readings: int = 1

    def __post_init__(self) -> None:
        if not self.networks:
            raise UserError("name at least one", setting="networks")
        repeats = check_count("repeats", self.repeats, least=1, most=MOST_NETWORKS)
        readings = check_count("readings", self.readings, least=1, most=MOST_READINGS)
        numbers = {"repeats": repeats, "readings": readings, "seed": converted("seed", self.seed)}
        for name, value in (numbers | {"epochs": protocols.checked_epochs(self.protocol, self.epochs)}).items():
            object.__setattr__(self, name, value)

    def settings(self) -> dict[str, Any]:
        """Return what all the networks share: the scoring without their names, and without a single reading."""
        shared = {name: value for name, value in asdict(self).items() if name != "networks"}
        if self.readings == 1:
            del shared["readings"]
        return shared

    def protocol_on(self, dataset: ImageDataset, recipe: Recipe | None) -> Protocol:
        """Return the protocol as it is run on a set of these data; without a recipe, on their whole training split."""
        chosen, flip = protocols.protocol(self.protocol), self.flip
        if recipe is not None:
            problem = dataset.problem(mirrored=recipe.flip if flip is None else flip, ipc=recipe.ipc)
            return chosen.adapted(problem, epochs=self.epochs, factor=recipe.factor)
        problem = dataset.problem(mirrored=dataset.mirrored if flip is None else flip)
        return chosen.adapted(problem, epochs=chosen.at_most_whole(problem, self.epochs), whole=True)

    def check(self, dataset: ImageDataset) -> None:
        """Raise `UserError` for a network that could score no set of these images."""
        for network in self.networks:
            build(network, **dataset.shape)


def scored_data(
    data: Any, networks: Architecture | Sequence[Architecture], settings: Mapping[str, Any], **scores: Any
) -> tuple[ImageDataset, Scoring, dict[str, Any]]:
    """Return the data of a study, how its sets are scored, and the settings that were given for all of them.

    Args:
        data: anything `load` takes.
        networks: one or several, each of which scores every set.
        settings: fields of `Recipe`; those that are None are not given.
        scores: fields of `Scoring`.

    Raises:
        UserError: for data that cannot be read, or a network that can score no set of them.
    """
    given = given_settings(settings)
    scoring = Scoring(networks=tuple(dict.fromkeys(several(networks))), flip=given.get("flip"), **scores)
    dataset = load(data)
    scoring.check(dataset)
    return dataset, scoring, given


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell of a study: a set to make of a data set, and what scores it.

    Attributes:
        data: name of the data set.
        recipe: how the set is made, with its preset and its seed; None for the whole training split.
        scoring: the networks and their protocol.
        given: settings of the recipe that were asked for, which a time limit leaves as they are.
        variant: name of a recipe that is not its method's own; empty for a method as its preset has it.
        moments: whether the moments of its images' features are compared with the training set's, too.
        soft_labels: whether a set that is made with a pool of networks gets soft labels, and is scored with these too.
    """

    data: str
    recipe: Recipe | None
    scoring: Scoring
    given: Mapping[str, Any] = field(default_factory=dict, hash=False)
    variant: str = ""
    moments: bool = False
    soft_labels: bool = False

    @property
    def scorers(self) -> tuple[str, ...]:
        """What scores the set: each network, and for soft labels each once more, as "convnet, soft labels"."""
        networks = self.scoring.networks
        softly = self.soft_labels and self.recipe is not None and self.recipe.has_pool
        return (*networks, *(f"{network}{SOFTLY}" for network in networks)) if softly else networks

    @property
    def label(self) -> str:
        """What the set is made by: the variant, the method, or "whole"."""
        return self.variant or (WHOLE if self.recipe is None else self.recipe.method)

    @property
    def preset(self) -> str | None:
        """Of the recipe; the whole training split has none."""
        return None if self.recipe is None else self.recipe.preset

    @property
    def ipc(self) -> int | None:
        """Stored images per class; the whole training split has none."""
        return None if self.recipe is None else self.recipe.ipc

    @property
    def seed(self) -> int | None:
        """Of the making; the whole training split has none."""
        return None if self.recipe is None else self.recipe.seed

    @property
    def series(self) -> str:
        """A name for the jobs that differ in their seed alone: they are one row of a table."""
        made = [] if self.recipe is None else [self.recipe.preset, f"ipc{self.recipe.ipc}"]
        return re.sub(r"[^\w.+-]+", "-", "-".join([self.data, self.label, *made]))

    @property
    def name(self) -> str:
        """The name of the job's record and of its set's folder, such as cifar10-m3d-quick-ipc10-seed0."""
        return self.series if self.recipe is None else f"{self.series}-seed{self.recipe.seed}"

    @property
    def title(self) -> str:
        """The job for a reader, such as "cifar10: m3d, 10 per class, seed 0"."""
        if self.recipe is None:
            return f"{self.data}: the whole training split"
        return f"{self.data}: {self.label}, {self.recipe.ipc} per class, seed {self.recipe.seed}"

    def identity(self) -> dict[str, Any]:
        """Return what a record of this job must agree with, as JSON holds it; what scores it may be added to."""
        recipe = None if self.recipe is None else asdict(self.recipe)
        return {"data": self.data, "label": self.label, "recipe": recipe, "scoring": self.scoring.settings()}


def job_for(
    dataset: ImageDataset,
    method: str,
    *,
    preset: str,
    ipc: int,
    seed: int,
    scoring: Scoring,
    settings: Mapping[str, Any],
    variant: str = "",
) -> Job:
    """Return the job of a method on a data set.

    Args:
        dataset: what to make a set of.
        method, preset, ipc: as of `condense`.
        seed: of the making.
        scoring: the networks and their protocol.
        settings: fields of `Recipe` in place of the preset's. A method that takes no steps keeps its own, but for
            those that bear on a selection.
        variant: see `Job`.

    Raises:
        UserError: for settings that cannot be used.
    """
    takes_steps = recipe_for(dataset, method, preset, ipc, {}).iterations > 0
    ignored = set() if takes_steps else Recipe.__dataclass_fields__.keys() - OF_SELECTIONS
    kept = {name: value for name, value in settings.items() if name not in ignored}
    recipe = recipe_for(dataset, method, preset, ipc, kept | {"seed": seed})
    return Job(data=dataset.name, recipe=recipe, scoring=scoring, given=kept, variant=variant)
