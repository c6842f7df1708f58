from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from m3d_condense.condensing import run as run_module
from m3d_condense.condensing import trial
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.run import Run
from m3d_condense.condensing.trial import try_out
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.methods import recipe
from m3d_condense.recipes.problem import Problem


@pytest.mark.parametrize(("limit", "most", "expected"), [(10.05, 600, 72), (10.0, 30, 30), (0.5, 600, 1), (10.0, 1, 1)])
def test_the_trial_counts_the_start_once(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch, limit: float, most: int, expected: int
) -> None:
    """By a clock of our own: a start of 2 s, a first step of 0.8 s, and steps of 0.1 s."""
    clock = [0.0]

    original_start, original_step = run_module.start, Run.take_step

    def start(*arguments: Any) -> Pixels:
        clock[0] += 2.0
        return original_start(*arguments)

    def take_step(run: Run) -> Tensor:
        clock[0] += 0.1 if run.step else 0.8
        return original_step(run)

    monkeypatch.setattr(run_module, "start", start)
    monkeypatch.setattr(Run, "take_step", take_step)
    monkeypatch.setattr(trial.time, "monotonic", lambda: clock[0])
    settings = {"iterations": most, "batch_real": 4, "network": "convnet1"}
    tried = recipe("dm", "quick", Problem(ipc=1, side=8), settings)
    found = try_out(digits, tried, Engine(plain), limit)
    assert (found.iterations, found.start) == (expected, pytest.approx(2.8))
    assert found.each == pytest.approx(0.8 if most == 1 else 0.1)
    assert not found.compiled


def test_the_trial_counts_the_warm_up_of_every_network(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of our own: a warm-up of 2 s for each network, which serves 4 steps of 0.1 s."""
    clock = [0.0]
    original_step = Run.take_step

    def take_step(run: Run) -> Tensor:
        clock[0] += 0.1 if run.step % 4 else 2.1
        return original_step(run)

    monkeypatch.setattr(Run, "take_step", take_step)
    monkeypatch.setattr(trial.time, "monotonic", lambda: clock[0])
    settings = {"iterations": 600, "batch_real": 4, "network": "convnet1", "iterations_per_model": 4}
    warmed = settings | {"encoder_warmup": 2, "encoders": "real", "encoder_steps": 1}
    found = try_out(digits, recipe("dm", "quick", Problem(ipc=1, side=8), warmed), Engine(plain), 3.0)
    assert found.each == pytest.approx(0.6, abs=0.1)
    assert clock[0] < 4
