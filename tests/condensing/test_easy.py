from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m3d_condense import condense
from m3d_condense.condensing import coresets
from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.condensing.easy import candidates, easiest
from m3d_condense.condensing.run import Run, begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.tiles import decode, mosaic

POOL: dict[str, Any] = {
    "encoder_count": 2,
    "encoder_steps": 30,
    "encoder_batch": 32,
    "network": "convnet1",
    "iterations": 3,
    "batch_real": 8,
}


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(coresets, "SELECTOR_STEPS", 20)


@pytest.mark.parametrize(
    ("count", "available", "factor", "expected"),
    [(10, 5000, 1, 50), (40, 5000, 2, 200), (40, 130, 2, 128), (12, 30, 2, 28), (40, 41, 2, 40), (40, 7, 2, 40)],
)
def test_candidates_are_five_times_as_many_where_the_class_has_them(
    count: int, available: int, factor: int, expected: int
) -> None:
    assert candidates(count, available, factor) == expected


def begun(dataset: ImageDataset, plain: Execution, **changes: Any) -> Run:
    return begin(dataset, recipe_for(dataset, "m3d-plus", "quick", 2, POOL | changes), Engine(plain))


def losses(run: Run, images: Tensor, number: int) -> Tensor:
    """Return the mean over the run's trained networks of the cross-entropy of each image in [0, 1]."""
    found = []
    for judge in run.encoders.judges():
        logits = judge.network(run.draws.normalised(images))
        found.append(logits.logsumexp(1) - logits[:, number])
    return torch.stack(found).mean(0)


@pytest.mark.parametrize("changes", [{"factor": 1}, {"factor": 2}, {"factor": 3, "mosaic": "nearest"}])
def test_the_easiest_tiles_of_the_candidates_are_taken(
    digits: ImageDataset, plain: Execution, changes: dict[str, Any]
) -> None:
    run, number = begun(digits, plain, initialisation="easy", **changes), 3
    recipe = run.recipe
    count = recipe.ipc * recipe.factor**2
    members = torch.nonzero(digits.train.labels == number).flatten()[: 5 * count]
    (chosen,) = easiest(digits, recipe, [members], range(number, number + 1), run.encoders.judges())
    tiles = decode(mosaic(digits.train.images[members].float() / 255, recipe.factor, recipe.mosaic), recipe.factor)
    order = losses(run, tiles, number).argsort()[:count].sort().values
    assert chosen.tolist() == members[order].tolist()


def test_a_run_starts_from_images_that_its_pool_finds_easier(digits: ImageDataset, plain: Execution) -> None:
    easy, random = (begun(digits, plain, initialisation=name) for name in ("easy", "random"))
    for number in range(digits.num_classes):
        means = [
            losses(easy, run.pixels.draw(range(number, number + 1), 99, [])[0], number).mean() for run in (easy, random)
        ]
        assert means[0] < means[1]


def test_the_start_leaves_the_encoders_of_the_steps_as_they_are(digits: ImageDataset, plain: Execution) -> None:
    common = {"network": "convnet1-width8-batch"}
    easy, random = (begun(digits, plain, initialisation=name, **common) for name in ("easy", "random"))
    states = [run.encoders.at(0).network for run in (easy, random)]
    modes = [[module.training for module in network.modules()] for network in states]
    assert modes[0] == modes[1]
    assert any(modes[0])  # batch norm is by the batch
    for one, other in zip(*(network.state_dict().values() for network in states), strict=True):
        assert torch.equal(one, other)


def made(dataset: ImageDataset, plain: Execution, **changes: Any) -> CondensedSet:
    return condense(dataset, ipc=2, execution=plain, initialisation="easy", **changes)


def test_without_a_pool_a_network_is_trained_to_choose(digits: ImageDataset, plain: Execution) -> None:
    easy = made(digits, plain, method="random")
    assert not torch.equal(easy.images, condense(digits, ipc=2, method="random", execution=plain).images)
    assert easy.settings["initialisation"] == "easy"
    moved = made(digits, plain, method="dm", iterations=1, batch_real=4, network="convnet1")
    assert moved.steps == 1


def test_bits_are_rounded_before_images_are_judged(digits: ImageDataset, plain: Execution) -> None:
    assert made(digits, plain, method="m3d-plus", bits=1, **POOL).bits == 1


def test_a_class_of_few_images_gives_them_all(plain: Execution) -> None:
    images = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    few = load((images.numpy()[:, 0], (torch.arange(30) % 2).numpy()))
    assert len(made(few, plain, method="m3d-plus", factor=3, **POOL).images) == 4  # 18 tiles of 15 images


def test_another_seed_draws_other_candidates(digits: ImageDataset, plain: Execution) -> None:
    one, other = (made(digits, plain, method="random", network="convnet1", seed=seed) for seed in (0, 1))
    assert not torch.equal(one.images, other.images)
