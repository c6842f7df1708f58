from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from m3d_condense.condensing import timetable
from m3d_condense.condensing.condensation import condense, recipe_for
from m3d_condense.condensing.encoders.pool import Pool
from m3d_condense.condensing.timetable import FEWEST, Timetable, rounded_down
from m3d_condense.condensing.trial import Trial
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import Tensors
from m3d_condense.tools.errors import UserError

TINY: dict[str, Any] = {"method": "m3d-plus", "ipc": 1, "encoder_count": 1, "network": "convnet1", "batch_real": 4}
TINY |= {"encoder_batch": 8}
LIMIT = 4.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))


def pool(digits: ImageDataset, **settings: Any) -> Recipe:
    given = {name: value for name, value in TINY.items() if name not in ("method", "ipc")} | settings
    return recipe_for(digits, "m3d-plus", "quick", 1, given)


def divided(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float, given: Collection[str]) -> Recipe:
    return Timetable(limit=limit, given=given).made(dataset, recipe, engine)


def trial(iterations: int, each: float = 0.0) -> Trial:
    return Trial(iterations=iterations, start=0.0, each=each, compiled=False)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(50, 40), (10, 10), (60, 60), (99.9, 80), (100, 100), (149, 100), (150, 150), (2399, 2000), (12_000, 10_000)],
)
def test_steps_are_rounded_down(number: float, expected: int) -> None:
    assert rounded_down(number) == expected


def test_both_numbers_follow_from_the_limit(digits: ImageDataset, plain: Execution) -> None:
    own = pool(digits, iterations=10**6, encoder_steps=10**6)  # more of both than any machine has time for
    made = divided(digits, own, Engine(plain), LIMIT, given=())
    assert made.encoder_steps == rounded_down(made.encoder_steps)
    assert 1 <= made.iterations < own.iterations
    assert dataclasses.replace(made, encoder_steps=own.encoder_steps, iterations=own.iterations) == own


@pytest.mark.parametrize(("preset", "times"), [("quick", 10), ("paper", 1)])
def test_time_beyond_what_the_networks_need_is_for_steps_of_the_images(
    preset: str, times: int, digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataclasses.replace(pool(digits, encoder_count=1), preset=preset)
    monkeypatch.setattr(Pool, "network", lambda pool, number: {})
    monkeypatch.setattr(timetable, "_training_seconds", lambda *arguments: 1.0)
    monkeypatch.setattr(timetable, "try_out", lambda dataset, recipe, *_: trial(recipe.iterations))
    steps, iterations = own.encoder_steps, times * own.iterations
    for limit, expected in [(1.25 * steps - 1, rounded_down(steps - 1)), (1.25 * steps, steps), (100.0 * steps, steps)]:
        made = divided(digits, own, Engine(plain), limit, given=())
        assert (made.encoder_steps, made.iterations) == (expected, iterations)


def test_what_is_given_stays(digits: ImageDataset, plain: Execution) -> None:
    recipe = pool(digits, encoder_steps=7)
    assert divided(digits, recipe, Engine(plain), LIMIT, given=("encoder_steps",)).encoder_steps == 7
    assert divided(digits, recipe, Engine(plain), LIMIT, given=("iterations",)).iterations == recipe.iterations


@pytest.mark.parametrize(("seconds", "expected"), [(10.0, 4), (25.0, 3), (40.0, 2), (60.0, 1), (500.0, 1)])
def test_networks_that_would_take_the_time_of_the_steps_are_left_out(
    seconds: float,
    expected: int,
    digits: ImageDataset,
    plain: Execution,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Pool, "network", lambda pool, number: pool.watch.credit(seconds))
    monkeypatch.setattr(timetable, "_least_seconds", lambda *arguments: 0.0)
    recipe, given = pool(digits, encoder_count=4), ("encoder_steps", "iterations")
    made = divided(digits, recipe, Engine(plain), 100.0, given)
    assert made == dataclasses.replace(recipe, encoder_count=expected)
    assert (f"{expected} of the 4 networks took" in capfd.readouterr().err) == (expected < 4)
    assert divided(digits, recipe, Engine(plain), 100.0, (*given, "encoder_count")) == recipe


@pytest.mark.parametrize(("each", "expected"), [(0.01, 3), (0.2, 3), (0.4, 2), (5.0, 1)])
def test_networks_that_would_leave_few_steps_of_the_images_are_left_out(
    each: float, expected: int, digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def first_steps(dataset: ImageDataset, recipe: Recipe, engine: Engine, limit: float) -> Trial:
        tried.append(recipe.encoder_count)
        return trial(123, each)

    monkeypatch.setattr(Pool, "network", lambda pool, number: pool.watch.credit(25.0))
    monkeypatch.setattr(timetable, "try_out", first_steps)
    made = divided(digits, pool(digits, encoder_count=4), Engine(plain), 100.0, ("encoder_steps",))
    assert (made.encoder_count, made.iterations) == (expected, 123)
    assert tried == [1, expected]
    tried.clear()
    at_most = divided(digits, pool(digits, encoder_count=4), Engine(plain), 100.0, ("encoder_steps", "iterations"))
    assert (at_most.encoder_count, tried) == (expected, [1])


def test_the_trial_of_the_steps_is_no_time_of_the_networks(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "network", lambda pool, number: {})
    monkeypatch.setattr(timetable, "_least_seconds", lambda *arguments: time.sleep(0.8) or 0.0)
    monkeypatch.setattr(timetable, "try_out", lambda *arguments: trial(123))
    assert divided(digits, pool(digits, encoder_count=4), Engine(plain), 1.0, ("encoder_steps",)).encoder_count == 4


def test_a_limit_that_no_pool_fits_in_is_refused(digits: ImageDataset, plain: Execution) -> None:
    with pytest.raises(UserError, match=f"too short: a network of {FEWEST} training steps"):
        condense(digits, time_limit=1e-3, execution=plain, **TINY)


@pytest.mark.parametrize(("limit", "steps"), [(51.0, 100), (399.0, 100), (401.0, 100), (801.0, 200), (1e6, 800)])
def test_fewer_networks_are_trained_where_all_have_no_room(limit: float, steps: int, digits: ImageDataset) -> None:
    recipe = pool(digits, encoder_count=8, encoder_steps=800)
    assert Timetable(limit=limit, given=()).fitting_training(recipe, 0.4) == steps
    with pytest.raises(UserError, match=f"a network of {FEWEST} training steps, and what follows, take 50 s"):
        Timetable(limit=49.0, given=()).fitting_training(recipe, 0.4)
    with pytest.raises(UserError, match=f"8 networks, each of {FEWEST} training steps, and what follows, take 400 s"):
        Timetable(limit=399.0, given=("encoder_count",)).fitting_training(recipe, 0.4)


def refuse(*arguments: object, **settings: object) -> Recipe:
    raise AssertionError("the limit is divided again")


def test_a_finished_set_is_found_again_by_the_same_limit(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    first = condense(digits, out=out, time_limit=LIMIT, execution=plain, **TINY)
    monkeypatch.setattr(Timetable, "made", refuse)
    again = condense(digits, out=out, time_limit=LIMIT, execution=plain, **TINY)
    assert again.settings == first.settings
    with pytest.raises(UserError, match="other settings or data"):
        condense(digits, out=out, execution=plain, **TINY)
    (tmp_path / "set.timetable.json").write_text('{"time_limit": 4.0, "run": "another", "iterations": 1}')
    assert condense(digits, out=out, time_limit=LIMIT, execution=plain, **TINY).settings == first.settings


def test_a_run_that_was_stopped_goes_on_by_the_same_timetable(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    monkeypatch.setattr(Timetable, "fitting_training", lambda *arguments: 3)
    monkeypatch.setattr(timetable, "try_out", lambda *arguments: trial(20))

    def stop(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("m3d_condense.condensing.run.Run.loop", stop)
    with pytest.raises(KeyboardInterrupt):
        condense(digits, out=out, time_limit=LIMIT, execution=plain, **TINY)
    monkeypatch.undo()
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Timetable, "made", refuse)
    finished = condense(digits, out=out, time_limit=LIMIT, execution=plain, **TINY)
    assert (finished.settings["encoder_steps"], finished.settings["iterations"]) == (3, 20)
    assert not (tmp_path / "set.timetable.json").exists()


@pytest.mark.parametrize("state", ["timetable", "checkpoint"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_another_runs_timetable_is_not_gone_by(
    state: str, overwrite: bool, digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    monkeypatch.setattr(Timetable, "fitting_training", lambda *arguments: 3)
    monkeypatch.setattr(timetable, "try_out", lambda *arguments: trial(20))
    asked: dict[str, Any] = {"out": out, "time_limit": LIMIT, "execution": plain, **TINY}

    def stop(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        if state == "timetable":
            stopped.setattr("m3d_condense.condensing.run.Run.loop", stop)
            with pytest.raises(KeyboardInterrupt):
                condense(digits, **asked)
        else:
            stopped.setattr("m3d_condense.condensing.run._Clock.over", lambda clock: True)
            condense(digits, **asked)
    before = (tmp_path / "set.timetable.json").read_text()
    monkeypatch.setattr(Timetable, "fitting_training", lambda *arguments: 2)
    monkeypatch.setattr(timetable, "try_out", lambda *arguments: trial(5))
    if state == "checkpoint" and not overwrite:
        shutil.rmtree(out)
        with pytest.raises(UserError, match="left by a run with other settings or data"):
            condense(digits, **asked | {"ipc": 2})
        assert (tmp_path / "set.timetable.json").read_text() == before
        return
    other = condense(digits, overwrite=overwrite, **asked | {"ipc": 2})
    assert (other.settings["encoder_steps"], other.settings["iterations"]) == (2, 5)


def test_a_pool_that_was_stopped_goes_on_with_networks_of_the_same_training(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, network = tmp_path / "set", Pool.network

    def stop(pool: Pool, number: int) -> Tensors:
        if number == 1:
            raise KeyboardInterrupt
        return network(pool, number)

    asked: dict[str, Any] = {**TINY, "encoder_count": None, "out": out, "time_limit": LIMIT, "execution": plain}
    monkeypatch.setattr(Timetable, "fitting_training", lambda *arguments: 5)
    monkeypatch.setattr(timetable, "_least_seconds", lambda *arguments: 0.0)  # on a busy machine they may be the limit
    monkeypatch.setattr(Pool, "network", stop)
    with pytest.raises(KeyboardInterrupt):
        condense(digits, **asked)
    monkeypatch.setattr(Pool, "network", network)
    monkeypatch.setattr(Timetable, "fitting_training", refuse)
    assert condense(digits, **asked).settings["encoder_steps"] == 5


def test_without_a_limit_or_a_pool_nothing_is_divided(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timetable, "made", refuse)
    few: dict[str, Any] = {"ipc": 1, "network": "convnet1", "batch_real": 4, "iterations": 2, "execution": plain}
    assert condense(digits, method="m3d", time_limit=60, **few).steps == 2
    assert condense(digits, method="m3d-plus", encoder_count=1, encoder_steps=2, **few).steps == 2
    given = condense(digits, method="m3d-plus", encoder_count=1, encoder_steps=2, time_limit=60, **few)
    assert (given.steps, given.settings["encoder_steps"]) == (2, 2)
