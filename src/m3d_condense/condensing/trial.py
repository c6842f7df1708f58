"""How long a step of a run or of a network's training takes, and how many fit in a time limit: found by trying."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from m3d_condense.condensing.run import begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.progress import progress
from m3d_condense.training.trainer import Trainer

TRIAL_SHARE, TRIAL_MOST, TRIAL_STEPS = 0.1, 20.0, 3  # of the time limit; seconds; steps at least


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the first steps of a run tell.

    Attributes:
        iterations: how many fit in the limit: at least one, at most those of the recipe.
        start: seconds of all before the second step: networks trained beforehand, compilation. It counts once.
        each: seconds of a step, with its share of the warm-up of new networks.
        compiled: whether the run was compiled.
    """

    iterations: int
    start: float
    each: float
    compiled: bool


def _now(engine: Engine) -> float:
    """Return the seconds of a clock, once the device has done all it was asked for."""
    if engine.device.type != "cpu":
        torch.accelerator.synchronize(engine.device)
    return time.monotonic()


@torch.inference_mode(False)
@torch.enable_grad()
def training_seconds(placed: Placed, training: Training, dataset: ImageDataset, steps: int) -> float:
    """Return the seconds of one training step of a network on real images, of so many after a first one."""
    engine, trainer = placed.engine, Trainer(placed, training, dataset.mean, dataset.std)
    real = engine.resident(dataset.train.images)
    images = real, dataset.train.labels.to(real.device)
    with progress("Trying how fast a network is trained", 1 + steps) as bar:
        trainer.fit([images], [0], 1, bar)  # what the first step has to load, or compile, is no other's
        begun = _now(engine)
        trainer.fit([images], [0], steps, bar)
        return (_now(engine) - begun) / steps


@torch.inference_mode(False)
@torch.enable_grad()
def try_out(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float) -> Trial:
    """Take the first steps of a run, and find how many iterations fit in `limit` seconds."""
    run = begin(dataset, recipe, engine)
    ready, setup = _now(engine), run.watch.seconds  # which also count what was trained for an earlier run
    run.take_step()
    start = _now(engine)
    setup += start - ready
    taken, spent, most = 0, 0.0, min(limit * TRIAL_SHARE, TRIAL_MOST)
    while taken < recipe.iterations - 1 and (taken < TRIAL_STEPS or taken % recipe.real_steps or spent < most):
        run.take_step()
        taken, spent = taken + 1, _now(engine) - start
    each = spent / taken if taken else start - ready
    if recipe.encoder_warmup > 1:  # the first step had that of one network, which others will have too
        each += max(start - ready - each, 0.0) / recipe.iterations_per_model
    fitting = max(1, min(recipe.iterations, int((limit - setup) / each)))
    return Trial(iterations=fitting, start=setup, each=each, compiled=run.plan.placed.compiled)
