"""How many iterations of a run fit in a time limit, found by trying it out."""

from __future__ import annotations

import time

import torch

from m3d_condense.condensing.run import begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.recipes.recipe import Recipe

TRIAL_SHARE, TRIAL_MOST, TRIAL_STEPS = 0.1, 20.0, 3  # of the time limit; seconds; steps at least


@torch.inference_mode(False)
@torch.enable_grad()
def fitting_iterations(
    dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float
) -> tuple[int, float, float, bool]:
    """Try a run out, and find how many iterations fit in `limit` seconds.

    The start, which counts once, is all before the second step: networks trained beforehand, compilation. There
    is at least one iteration, and at most as many as the recipe has.

    Returns:
        The iterations, the seconds of the start and of one iteration, and whether the run was compiled.
    """

    def now() -> float:
        if engine.device.type != "cpu":
            torch.accelerator.synchronize(engine.device)
        return time.monotonic()

    run = begin(dataset, recipe, engine)
    ready, setup = now(), run.watch.seconds  # which also count what was trained for an earlier run
    run.take_step()
    start = now()
    setup += start - ready
    taken, spent = 0, 0.0
    while taken < recipe.iterations - 1 and (taken < TRIAL_STEPS or spent < min(limit * TRIAL_SHARE, TRIAL_MOST)):
        run.take_step()
        taken, spent = taken + 1, now() - start
    each = spent / taken if taken else start - ready
    return max(1, min(recipe.iterations, int((limit - setup) / each))), setup, each, run.plan.placed.compiled
