"""How a time limit is divided between the networks of a pool, trained beforehand, and the steps of the pixels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m3d_condense.condensing import objectives
from m3d_condense.condensing.encoders.pool import Pool, PoolEncoders
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.plan import plan
from m3d_condense.condensing.trial import training_seconds, try_out
from m3d_condense.condensing.view import Encoder
from m3d_condense.condensing.working import Working
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.machine.group import Outcome, current
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.folder import is_condensed_set, read_settings
from m3d_condense.tools.cache import key_of
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import read_json, write_file_atomic
from m3d_condense.tools.progress import notice
from m3d_condense.tools.stopwatch import Stopwatch

DIVIDED = ("encoder_steps", "iterations")
"""The settings that follow from a time limit, where they are not given."""
FOUND = (*DIVIDED, "encoder_count")
"""The same, and how many networks there is time for after all."""

NETWORKS_SHARE = 0.8  # of the time; the networks decide most of the accuracy, see docs/study.md
NETWORKS_MOST = 0.9  # of the time, where they take longer than was tried
LEAST = 100  # steps of the pixels that no network but the first may take the time of
SHORT = 0.2  # of the limit: what the trial after the first network goes by, to take as little of it
ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)  # times a power of ten: a network's steps
FEWEST = 100  # steps of a network
ITERATIONS_MOST = {"quick": 10, "paper": 1}  # times the recipe's
TRIED = 6  # steps of training that are timed


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """A time limit that is to be divided, for one run.

    Attributes:
        limit: seconds.
        given: settings that stay as they are.
        target: the set beside which what is found is kept, at once, for a later call; None keeps nothing.
        run: tells the run that it is of, beside that set.
    """

    limit: float
    given: Collection[str]
    target: Path | None = None
    run: str = ""

    @classmethod
    def asked(
        cls, recipe: Recipe, limit: float | None, settings: Mapping[str, Any], class_groups: int = 1
    ) -> Timetable | None:
        """Return what is to be divided, if anything: the encoders are a pool, and not all was given by `settings`.

        Raises:
            UserError: for several groups of classes, of which a limit does not tell what each takes.
        """
        given = {name for name in FOUND if settings.get(name) is not None}
        if limit is None or recipe.encoders != "pool" or recipe.iterations == 0 or given.issuperset(DIVIDED):
            return None
        if class_groups > 1:
            needed = " and ".join(str(Setting(name)) for name in DIVIDED)
            raise UserError(f"does not tell what each group takes of it; give {needed}", setting="time_limit")
        return cls(limit=limit, given=given)

    def for_run(self, target: Path, identity: Mapping[str, Any]) -> Timetable:
        """Return it for a set's place and what the set is made of, of which what is to be found tells no run."""
        recipe = {name: value for name, value in identity["recipe"].items() if name not in {*FOUND} - {*self.given}}
        return dataclasses.replace(self, target=target, run=key_of({**identity, "recipe": recipe}))

    def known(self, *, stored: bool) -> dict[str, Any]:
        """Return what an earlier call of this run has found: all, some of it, or nothing.

        With `stored`, a set at the target tells it too; whether that is of this run is asked elsewhere.
        """
        if self.target is None:
            return {}
        file, found = Working.beside(self.target).timetable, {}
        if file.exists():
            found = read_json(file)
            found = found if found.get("run") == self.run else {}
        if not found and stored and is_condensed_set(self.target):
            found = read_settings(self.target)
        values = {name: found.get(name) for name in FOUND if name not in self.given}
        return {k: v for k, v in values.items() if isinstance(v, int)} if found.get("time_limit") == self.limit else {}

    def beyond(self, known: Collection[str]) -> Timetable | None:
        """Return what is still to be divided where these settings are known, if anything."""
        given = {*self.given, *known}
        return None if given.issuperset(DIVIDED) else dataclasses.replace(self, given=given)

    def foreseen(self, recipe: Recipe, step_seconds: float) -> Recipe:
        """Return the recipe with the most that is expected to be found, without a trial of the steps of the pixels.

        Args:
            recipe: of the run.
            step_seconds: of a training step of a network.
        """
        if "encoder_steps" not in self.given:
            recipe = dataclasses.replace(recipe, encoder_steps=self.fitting_training(recipe, step_seconds))
        return recipe if "iterations" in self.given else _longest(recipe)

    def fitting_training(self, recipe: Recipe, step_seconds: float) -> int:
        """Return how many training steps of so many seconds each network can have; every process trains some networks.

        They are at most the recipe's, and a round number, so that runs of other images per class, and on a busier
        machine, come to the same pool and find it in the cache. Where all the networks would have too few, these are
        the fewest: some are left out later, unless their number is given.

        Raises:
            UserError: where not even the shortest training of the networks fits.
        """
        share = current().share  # of the networks, that one process trains
        fitting = NETWORKS_SHARE * self.limit / (share(recipe.encoder_count) * step_seconds)
        if fitting >= FEWEST:
            return recipe.encoder_steps if fitting >= recipe.encoder_steps else rounded_down(fitting)
        least = recipe if "encoder_count" in self.given else dataclasses.replace(recipe, encoder_count=1)
        needed = FEWEST * step_seconds * share(least.encoder_count) / NETWORKS_SHARE
        if needed > self.limit:
            said = f"too short: {_networks(least)} of {FEWEST} training steps, and what follows, take {needed:.0f} s"
            raise UserError(said, setting="time_limit", value=f"{self.limit:g}s")
        return FEWEST

    @torch.inference_mode(False)
    @torch.enable_grad()
    def made(self, dataset: ImageDataset, recipe: Recipe, engine: Engine) -> Recipe:
        """Return the recipe with the limit divided.

        A short trial tells how many training steps fit in most of the time. Then the networks are trained, unless they
        have been before: fewer of them, where the steps of the pixels, of which a few are tried after the first
        network, would be too few. Another trial tells how many of them fit in what is left: up to the recipe's under
        the paper preset, to ten times as many under the quick one. The time that the networks took is counted whether
        this run trained them or an earlier one.

        Raises:
            UserError: where not even the shortest training of the networks fits.
        """
        if "encoder_steps" not in self.given:
            seconds = max(current().objects(_training_seconds(dataset, recipe, engine)))
            recipe = dataclasses.replace(recipe, encoder_steps=self.fitting_training(recipe, seconds))
            self._keep(recipe, ("encoder_steps",))
        if "encoder_count" not in self.given:
            recipe = dataclasses.replace(recipe, encoder_count=_encoder_count(dataset, recipe, engine, self.limit))
        if "iterations" not in self.given:
            trial = try_out(dataset, _longest(recipe), engine, self.limit)
            recipe = dataclasses.replace(recipe, iterations=min(current().objects(trial.iterations)))
            networks = f"{_networks(recipe)} trained by {recipe.encoder_steps:,} steps"
            notice(f"{networks}, and {recipe.iterations:,} steps of the images fit in {self.limit:g} s")
        self._keep(recipe, FOUND)
        return recipe

    def _keep(self, recipe: Recipe, names: Collection[str]) -> None:
        """Write settings that have been found beside the set that they are of."""
        if self.target is not None:
            found = {name: getattr(recipe, name) for name in names}
            content = json.dumps(found | {"time_limit": self.limit, "run": self.run})
            file = Working.beside(self.target).timetable
            current().by_first(lambda: write_file_atomic(file, content + "\n"))


def _longest(recipe: Recipe) -> Recipe:
    """Return the recipe with the most steps of the pixels that a limit may leave time for."""
    return dataclasses.replace(recipe, iterations=ITERATIONS_MOST[recipe.preset] * recipe.iterations)


def _encoder_count(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float) -> int:
    """Train the networks of the pool until one more would take the time of the steps; return how many are ready."""
    group, watch, wanted = current(), Stopwatch(), recipe.encoder_count
    encoder = Encoder(_placed(dataset, recipe, engine))
    pool = Pool(Material(recipe=recipe, encoder=encoder, dataset=dataset, watch=watch))
    most, rounds, ready = NETWORKS_MOST * limit, 0, 0

    def train(number: int) -> float:
        if number < wanted:
            pool.network(number)
        return watch.seconds

    while ready < wanted:
        trained = group.objects(Outcome.of(partial(train, ready + group.rank)))
        seconds = max(outcome.result() for outcome in trained)
        rounds, ready = rounds + 1, min(ready + group.size, wanted)
        if ready < wanted and rounds == 1:
            with watch.paused():
                most = min(most, limit - _least_seconds(dataset, recipe, engine, limit, ready))
        if ready < wanted and seconds * (rounds + 1) / rounds > most:
            taken = f"{ready} of the {wanted} networks took {seconds:.0f} s to train"
            notice(f"{taken}; the others are left out, to have time for the steps of the images")
            break
    return ready


def _least_seconds(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float, ready: int) -> float:
    """Return the seconds of the fewest steps of the pixels worth taking, by a short trial on the networks at hand."""
    tried = dataclasses.replace(_longest(recipe), encoder_count=ready)
    trial = try_out(dataset, tried, engine, SHORT * limit)
    return min(LEAST, recipe.iterations) * max(current().objects(trial.each))


def _networks(recipe: Recipe) -> str:
    return "a network" if recipe.encoder_count == 1 else f"{recipe.encoder_count} networks, each"


def rounded_down(number: float) -> int:
    """Return the largest round number that is not above `number`, which is 10 or more."""
    power = 10 ** (len(str(int(number))) - 1)
    return int(max(step * power for step in ROUND if step * power <= number))


def _training_seconds(dataset: ImageDataset, recipe: Recipe, engine: Engine) -> float:
    """Return the seconds of one training step of a network of the pool."""
    return training_seconds(_placed(dataset, recipe, engine), PoolEncoders.training(recipe), dataset, TRIED)


def _placed(dataset: ImageDataset, recipe: Recipe, engine: Engine) -> Placed:
    """Return the network of the run as it is placed there."""
    return plan(dataset, recipe, engine, objectives.build(recipe)).placed
