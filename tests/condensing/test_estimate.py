from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from m3d_condense.cli.main import main
from m3d_condense.condensing import estimate as estimating
from m3d_condense.condensing.estimate import Estimate, estimate, lightened, prepared
from m3d_condense.condensing.trial import Trial
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import Group, working_in
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

TINY: dict[str, Any] = {"ipc": 1, "batch_real": 4, "network": "convnet1"}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))


def estimated(digits: ImageDataset, **settings: Any) -> Estimate:
    execution = Execution(compile="no", native=False)
    return estimate(digits, execution=execution, **TINY | {"iterations": 1_000} | settings)


def recipe(method: str, **overrides: Any) -> Recipe:
    return methods.recipe(method, "quick", Problem(ipc=1, side=8), overrides)


def test_an_estimate_is_of_all_steps_and_stores_nothing(digits: ImageDataset, tmp_path: Path) -> None:
    found = estimated(digits, encoders="pool", encoder_count=2, encoder_steps=5, encoder_batch=8)
    assert (found.iterations, found.groups, found.classes, found.nbytes) == (1_000, 1, 10, 10 * 64)
    assert found.before > 0
    assert found.each > 0
    assert found.seconds == pytest.approx(found.before + 1_000 * found.each)
    peak, of = found.peak
    assert peak is None or peak > 2**20
    assert of in ("run", "process", "device")
    assert not [entry for entry in tmp_path.rglob("*") if entry.is_file()]


def test_a_limit_is_divided_between_a_pool_and_the_steps_as_it_will_be(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(dataset: ImageDataset, recipe: Recipe, *_: object) -> Trial:
        return Trial(iterations=recipe.iterations, start=10.0, each=0.5, compiled=False)

    monkeypatch.setattr(estimating, "image_seconds", lambda *_: 1 / 256)  # a batch takes a second
    monkeypatch.setattr(estimating, "try_out", trial)
    asked: dict[str, Any] = {"method": "m3d-plus", "encoder_count": 2, "encoder_batch": 256, "iterations": None}
    for limit, networks, iterations in [
        (1_000.0, (2, 400), 380),
        (100_000.0, (2, 2_400), 30_000),  # no more than these, however long the limit
        (None, (2, 2_400), 3_000),
    ]:
        found = estimated(digits, time_limit=limit, **asked)
        assert (found.networks, found.iterations) == (networks, iterations)
        assert found.before == networks[0] * networks[1] + 10
        assert limit is None or found.seconds <= limit
    found = estimated(digits, time_limit=1_000.0, **asked | {"encoder_steps": 300})
    assert (found.networks, found.iterations) == ((2, 300), 780)
    found = estimated(digits, time_limit=1_000.0, **asked | {"iterations": 7})
    assert (found.networks, found.iterations) == ((2, 400), 7)
    with pytest.raises(UserError, match="time_limit: does not tell what each group takes of it"):
        estimated(digits, time_limit=1_000.0, class_groups=2, **asked)


def test_groups_follow_one_another(digits: ImageDataset) -> None:
    found = estimated(digits, class_groups=3)
    assert (found.groups, found.classes) == (3, 4)
    assert found.seconds == pytest.approx(3 * (found.before + 1_000 * found.each))


def test_a_selection_takes_no_steps(digits: ImageDataset) -> None:
    found = estimated(digits, method="random", iterations=0)
    assert (found.iterations, found.each, found.seconds) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("method", "settings", "images", "shared"),
    [
        ("m3d", {"encoder_warmup": 6}, 0, True),  # which does nothing for random networks
        ("m3d-pool", {"encoder_count": 3, "encoder_steps": 7, "encoder_batch": 5}, 3 * 7 * 5, True),
        # Of 100 steps four networks, each warmed up by 6 batches of 5.
        ("idc", {"iterations": 100, "iterations_per_model": 30, "encoder_warmup": 6, "encoder_batch": 5}, 120, False),
    ],
)
def test_what_is_trained_beforehand_is_counted_and_left_out_of_the_trial(
    digits: ImageDataset, method: str, settings: dict[str, Any], images: int, shared: bool
) -> None:
    asked = recipe(method, **settings)
    needed = prepared(digits, asked)
    assert (needed.images, needed.shared) == (images, shared)
    light = lightened(asked)
    assert prepared(digits, light).images < max(images, 1)
    assert (light.iterations, light.batch_real, light.encoders) == (asked.iterations, asked.batch_real, asked.encoders)


def test_a_network_that_selects_is_counted(digits: ImageDataset) -> None:
    asked = recipe("m3d", initialisation="herding")
    assert prepared(digits, asked).images > 0
    assert prepared(digits, lightened(asked)).images == 0
    assert prepared(digits, recipe("m3d", initialisation="herding", selection_features="pixels")).images == 0
    pool = {"encoder_count": 2, "encoder_steps": 3, "encoder_batch": 5}
    both = prepared(digits, recipe("m3d-pool", initialisation="herding", **pool))
    assert both.images == prepared(digits, asked).images + 2 * 3 * 5


def test_more_than_memory_holds_is_refused_before_the_trial(digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="ipc=1000000000: this takes .* of memory"):
        estimated(digits, ipc=10**9)


def test_the_command_prints_it_and_writes_no_set(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["condense", "digits", "--ipc", "1", "--network", "convnet1", "--batch-real", "4", "--estimate", "-q"]
    asked += ["--native", "false", "--compile", "no"]
    assert main([*asked, "--class-groups", "2", "--time-limit", "1m", "--out", "set"]) == 0
    shown = capsys.readouterr().out
    for text in ("600 for each of 2 groups of at most 5 classes", "in all", "memory at its peak", "within 1 min"):
        assert text in shown
    assert not list(tmp_path.glob("*set*"))
    refused = {
        ("--start-from", "earlier"): "--estimate: tells of runs without --start-from",
        ("--keep-old", "true"): "--estimate: tells of runs without --keep-old",
        ("--watch", "2"): "--estimate: tells of runs without --watch",
        ("--factor", "9"): "--factor 9: larger than the images of 8×8",
        ("--keep-old", "false"): "--estimate: tells of runs without --keep-old",
        ("--soft-labels",): "--soft-labels: goes with a method that has a pool",
    }
    for flags, said in refused.items():
        assert main([*asked, *flags]) == 2
        assert said in capsys.readouterr().err


def test_networks_are_trained_on_no_more_images_a_step_than_there_are(digits: ImageDataset) -> None:
    pool = {"encoder_count": 3, "encoder_steps": 10, "encoder_batch": 128}
    few = digits.train[torch.arange(20)]
    small = dataclasses.replace(digits, train=few)
    assert prepared(small, recipe("m3d-pool", **pool)).images == 3 * 10 * 20


def test_processes_share_the_networks_of_a_pool(digits: ImageDataset) -> None:
    asked = recipe("m3d-pool", encoder_count=5, encoder_steps=10, encoder_batch=4)
    with working_in(Group(rank=0, size=2)):
        assert prepared(digits, asked).images == 3 * 10 * 4
