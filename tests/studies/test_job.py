from __future__ import annotations

import json
from typing import Any

import pytest
from small_studies import job, scoring

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.recipes.problem import Problem
from m3d_condense.studies.job import Job, job_for
from m3d_condense.tools.errors import UserError


def test_a_job_names_its_data_set_method_preset_ipc_and_seed() -> None:
    one = job("m3d", data="cifar10", preset="paper", ipc=10, seed=3)
    assert one.name == "cifar10-m3d-paper-ipc10-seed3"
    assert one.title == "cifar10: m3d, 10 per class, seed 3"
    assert (one.data, one.label, one.preset, one.ipc, one.seed) == ("cifar10", "m3d", "paper", 10, 3)


def test_the_whole_training_split_has_no_preset_ipc_or_seed() -> None:
    one = job(None, data="cifar10")
    assert one.name == one.series == "cifar10-whole"
    assert one.title == "cifar10: the whole training split"
    assert (one.label, one.preset, one.ipc, one.seed) == ("whole", None, None, None)


def test_whatever_a_job_is_of_it_has_a_name_of_its_own() -> None:
    jobs = [job(), job(data="mnist"), job("m3d"), job(preset="paper"), job(ipc=2), job(seed=1), job(None)]
    jobs += [job(None, data="mnist"), job(variant="dm with lr 0.1")]
    assert len({one.name for one in jobs}) == len(jobs)


def test_jobs_that_differ_in_their_seed_alone_are_one_series() -> None:
    assert job(seed=0).series == job(seed=1).series
    assert len({one.series for one in (job(), job(ipc=2), job(preset="paper"), job(variant="a"))}) == 4


def test_a_name_is_a_plain_file_name() -> None:
    one = job("m3d", data="a/b: Ähren", variant="lr = 0.1", ipc=5)
    assert one.name == "a-b-Ähren-lr-0.1-quick-ipc5-seed0"
    assert one.label == "lr = 0.1"


def test_networks_may_be_added_to_a_job_but_nothing_else_may_change() -> None:
    one = job()
    assert job(networks=("convnet1", "convnet2")).identity() == one.identity()
    others = [job(lr=0.5), job(None), job(variant="a"), job(data="mnist")]
    others += [Job(data="digits", recipe=one.recipe, scoring=scoring(epochs=2))]
    others += [Job(data="digits", recipe=one.recipe, scoring=scoring(readings=2))]
    assert all(other.identity() != one.identity() for other in others)
    assert json.loads(json.dumps(one.identity())) == one.identity()


@pytest.mark.parametrize("method", METHODS)
def test_settings_of_steps_leave_a_selection_as_it_is(digits: ImageDataset, method: str) -> None:
    settings = {"iterations": 7, "initialisation": "noise", "factor": 2, "selection_features": "pixels", "bits": 2}
    made = job_for(digits, method, preset="quick", ipc=1, seed=4, scoring=scoring(), settings=settings).recipe
    alone = {"selection_features": "pixels", "seed": 4, "bits": 2}
    expected = recipe(method, "quick", Problem(ipc=1, side=8, mirrored=False), alone)
    assert made is not None
    if expected.iterations == 0:
        assert made == expected
    else:
        assert (made.method, made.iterations, made.initialisation, made.factor) == (method, 7, "noise", 2)
        assert (made.selection_features, made.seed, made.bits) == ("pixels", 4, 2)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"networks": ()}, "networks"),
        ({"repeats": 0}, "repeats=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"protocol": "x"}, "unknown protocol 'x'"),
    ],
)
def test_a_scoring_that_cannot_be_is_a_user_error(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        scoring(**wrong)
