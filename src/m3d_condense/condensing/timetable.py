"""How a time limit is divided between the networks of a pool, trained beforehand, and the steps of the pixels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import objectives
from m3d_condense.condensing.encoders.pool import PoolEncoders
from m3d_condense.condensing.plan import plan
from m3d_condense.condensing.start import start
from m3d_condense.condensing.trial import fitting_iterations, training_seconds
from m3d_condense.condensing.working import Working
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.group import current
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import read_json, write_file_atomic
from m3d_condense.tools.progress import notice
from m3d_condense.tools.stopwatch import Stopwatch

DIVIDED = ("encoder_steps", "iterations")
"""The settings that follow from a time limit, where they are not given."""

NETWORKS_SHARE = 0.8  # of the time; the networks decide most of the accuracy, see docs/study.md
ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)  # times a power of ten: a network's steps
FEWEST, MOST = 50, 12_000  # steps of a network
TRIED = 6  # steps of training that are timed


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """A time limit that is to be divided, for one run.

    Attributes:
        limit: seconds.
        given: settings that stay as they are.
    """

    limit: float
    given: Collection[str]

    @classmethod
    def asked(cls, recipe: Recipe, limit: float | None, settings: Mapping[str, Any]) -> Timetable | None:
        """Return what is to be divided, if anything: the encoders are a pool, and not all was given."""
        given = {name for name in DIVIDED if settings.get(name) is not None}
        if limit is None or recipe.encoders != "pool" or recipe.iterations == 0 or len(given) == len(DIVIDED):
            return None
        return cls(limit=limit, given=given)

    def known(self, target: Path) -> dict[str, Any] | None:
        """Return how the limit was divided by an earlier call for the set at `target`; None where none was."""
        file = Working.beside(target).timetable
        if file.exists():
            found = read_json(file)
        elif is_condensed_set(target):
            found = CondensedSet.load(target).settings
        else:
            return None
        values = {name: found.get(name) for name in DIVIDED if name not in self.given}
        whole = {name: value for name, value in values.items() if isinstance(value, int)}
        return whole if found.get("time_limit") == self.limit and len(whole) == len(values) else None

    def made(self, dataset: ImageDataset, recipe: Recipe, engine: Engine, target: Path | None = None) -> Recipe:
        """Return the recipe with the limit divided; what was found is kept beside `target`, for a later call."""
        made = divided(dataset, recipe, engine, self.limit, self.given)
        if target is not None:
            content = json.dumps({name: getattr(made, name) for name in DIVIDED} | {"time_limit": self.limit})
            file = Working.beside(target).timetable
            current().by_first(lambda: write_file_atomic(file, content + "\n"))
        return made


@torch.inference_mode(False)
@torch.enable_grad()
def divided(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float, given: Collection[str]) -> Recipe:
    """Return a recipe with a pool whose networks and steps take `limit` seconds together.

    A short trial tells how many training steps fit in most of the time. Their number is rounded down to a round one, so
    that runs of other images per class, and on a busier machine, come to the same pool and find it in the cache. Then
    the networks are trained, unless they have been before, and another trial tells how many steps of the pixels fit in
    what is left; at most the recipe's, after which they gain little. The time that the networks took is counted
    whether this run trained them or an earlier one.

    Args:
        dataset, engine: of the run.
        recipe: its encoders are a pool.
        limit: seconds of all of it.
        given: settings that stay as they are.

    Raises:
        UserError: where not even the shortest training of the networks fits.
    """
    if "encoder_steps" not in given:
        recipe = dataclasses.replace(recipe, encoder_steps=_encoder_steps(dataset, recipe, engine, limit))
    if "iterations" not in given:
        count, *_ = fitting_iterations(dataset, recipe, engine, limit)
        recipe = dataclasses.replace(recipe, iterations=min(current().objects(count)))
        networks = f"{_networks(recipe)} trained by {recipe.encoder_steps:,} steps"
        notice(f"{networks}, and {recipe.iterations:,} steps of the images fit in {limit:g} s")
    return recipe


def _encoder_steps(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float) -> int:
    """Return how many training steps each network of the pool can have."""
    group = current()
    slowest = max(group.objects(_training_seconds(dataset, recipe, engine)))
    own = -(-recipe.encoder_count // group.size)  # networks that one process trains
    fitting = NETWORKS_SHARE * limit / (own * slowest)
    if fitting < FEWEST:
        needed = FEWEST * own * slowest / NETWORKS_SHARE
        shortest = f"{_networks(recipe)} of {FEWEST} training steps"
        said = f"too short: {shortest}, and what follows, take {needed:.0f} s"
        raise UserError(said, setting="time_limit", value=f"{limit:g}s")
    return rounded_down(min(fitting, MOST))


def _networks(recipe: Recipe) -> str:
    return "a network" if recipe.encoder_count == 1 else f"{recipe.encoder_count} networks, each"


def rounded_down(number: float) -> int:
    """Return the largest round number that is not above `number`, which is 10 or more."""
    power = 10 ** (len(str(int(number))) - 1)
    return int(max(step * power for step in ROUND if step * power <= number))


def _training_seconds(dataset: ImageDataset, recipe: Recipe, engine: Engine) -> float:
    """Return the seconds of one training step of a network of the pool."""
    pixels = start(dataset, recipe, engine, Stopwatch())
    placed = plan(dataset, recipe, engine, objectives.build(recipe), pixels).placed
    return training_seconds(placed, PoolEncoders.training(recipe), dataset, TRIED)
