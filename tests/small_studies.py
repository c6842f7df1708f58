"""Jobs and records to test with, and the settings of comparisons that take a moment."""

from __future__ import annotations

from typing import Any

from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.methods import recipe
from m3d_condense.recipes.problem import Problem
from m3d_condense.sets.condensed import Score
from m3d_condense.studies import scores, worker
from m3d_condense.studies.job import Job, Scoring
from m3d_condense.studies.record import Record

PLAIN = Execution(device="cpu", precision="float32", compile="no")
TINY: dict[str, Any] = {"iterations": 3, "batch_real": 4, "network": "convnet1"}
SCORED: dict[str, Any] = {"repeats": 2, "epochs": 1, "execution": PLAIN}
ASKED: dict[str, Any] = {"methods": ["dm"], "ipc": [1, 2], "seeds": 2, "networks": ["convnet1"]} | TINY | SCORED
FLAGS = ["--ipc", "1", "--seeds", "1", "--repeats", "1", "--epochs", "1", "--networks", "convnet1"]
FLAGS += ["--iterations", "2", "--batch-real", "4", "--network", "convnet1", "--device", "cpu"]
FLAGS += ["--precision", "float32", "--compile", "no"]

WORK = {"condense": worker, "evaluate": scores}
"""The modules that call what makes and scores a set."""


def scoring(**changes: Any) -> Scoring:
    values: dict[str, Any] = {"networks": ("convnet1",), "protocol": "quick", "repeats": 2, "seed": 0, "epochs": 1}
    return Scoring(**values | changes)


def job(
    method: str | None = "dm",
    *,
    data: str = "digits",
    preset: str = "quick",
    ipc: int = 1,
    seed: int = 0,
    variant: str = "",
    networks: tuple[str, ...] = ("convnet1",),
    **settings: Any,
) -> Job:
    """A job whose set takes a moment; no method stands for the whole training split."""
    made = None
    if method is not None:
        steps = {} if method == "random" else TINY
        overrides = {"seed": seed} | steps | settings
        made = recipe(method, preset, Problem(ipc=ipc, side=8, mirrored=False), overrides)
    return Job(data=data, recipe=made, scoring=scoring(networks=networks), variant=variant)


def score(*accuracies: float, network: str = "convnet1", **settings: Any) -> Score:
    return Score.of(network, "quick", accuracies, settings)


def record(of: Job, *accuracies: float, **values: Any) -> Record:
    """What is known of a job once its first network has scored it with these accuracies."""
    network = of.scoring.networks[0]
    scores = {network: score(*accuracies, network=network)} if accuracies else {}
    return Record(job=of.identity(), **{"scores": scores} | values)
