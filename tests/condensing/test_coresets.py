from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from m3d_condense.condensing import coresets
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.tools.cache import write_entry
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import read_tensors
from m3d_condense.training.trainer import Trainer


def features(count: int = 40, size: int = 7) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def plain_herding(x: torch.Tensor, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        rest = [i for i in range(len(x)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: float((x[[*chosen, i]].mean(0) - x.mean(0)).norm())))
    return chosen


def plain_k_center(x: torch.Tensor, count: int) -> list[int]:
    chosen = [min(range(len(x)), key=lambda i: float((x[i] - x.mean(0)).norm()))]
    while len(chosen) < count:
        rest = [i for i in range(len(x)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(float((x[i] - x[j]).norm()) for j in chosen)))
    return chosen


@pytest.mark.parametrize("count", [1, 6, 40])
def test_selections_are_those_of_plain_loops(count: int) -> None:
    assert coresets.herding(features(), count).tolist() == plain_herding(features(), count)
    assert coresets.k_center(features(), count).tolist() == plain_k_center(features(), count)


def test_herding_of_features_far_from_the_origin_is_that_of_plain_loops() -> None:
    far = (1_000 + features()).float()
    assert coresets.herding(far, 20).tolist() == plain_herding(far.double(), 20)


@pytest.mark.parametrize("select", [coresets.herding, coresets.k_center])
def test_images_that_coincide_are_chosen_once_each(select: object) -> None:
    assert sorted(select(torch.ones(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]  # type: ignore[operator]


def test_k_center_leaves_no_more_than_twice_the_best_radius() -> None:
    x, count = features(12, 2), 3

    def radius(centres: tuple[int, ...]) -> float:
        return float(torch.cdist(x, x[list(centres)]).min(1).values.max())

    best = min(radius(centres) for centres in itertools.combinations(range(12), count))
    assert radius(tuple(coresets.k_center(x, count).tolist())) <= 2 * best


@pytest.mark.parametrize("method", ["herding", "k-center"])
@pytest.mark.parametrize("kind", ["pixels", "random"])
def test_a_coreset_holds_real_images_of_its_classes(
    digits: ImageDataset, plain: Execution, method: str, kind: str
) -> None:
    made = condense(digits, ipc=3, method=method, selection_features=kind, execution=plain)
    again = condense(digits, ipc=3, method=method, selection_features=kind, execution=plain)
    assert torch.equal(made.images, again.images)
    for image, label in zip(made.images, made.labels.tolist(), strict=True):
        assert (digits.train.images[digits.train.labels == label] == image).flatten(1).all(1).any()


def test_herding_by_pixels_starts_at_the_image_nearest_the_mean(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, ipc=1, method="herding", selection_features="pixels", execution=plain)
    for number in range(10):
        members = digits.train.images[digits.train.labels == number].float()
        nearest = (members - members.mean(0)).square().sum((1, 2, 3)).argmin()
        assert torch.equal(made.images[number].float(), members[nearest])


def test_features_of_a_trained_network_depend_on_the_seed_alone(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coresets, "SELECTOR_STEPS", 20)
    made = []
    for number, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("M3D_CACHE", str(tmp_path / str(number)))  # each trains its own
        made.append(condense(digits, ipc=2, method="herding", seed=seed, execution=plain))
    assert torch.equal(made[0].images, made[1].images)
    assert not torch.equal(made[0].images, made[2].images)


def test_a_selector_is_trained_no_longer_than_it_may(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path))
    monkeypatch.setattr(coresets, "SELECTOR_STEPS", 3)
    taken = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *given: (taken.append(1), step(*given)))
    condense(digits, ipc=1, method="herding", execution=plain)
    assert len(taken) == 3


def test_one_trained_network_serves_every_selection(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path))
    monkeypatch.setattr(coresets, "SELECTOR_STEPS", 20)
    first = condense(digits, ipc=2, method="herding", execution=plain)
    (file,) = tmp_path.rglob("*.safetensors")
    tensors, _ = read_tensors(file)
    write_entry(file, tensors, {"seconds": "1000.0"})  # as if it had taken so long
    monkeypatch.setattr(Trainer, "fit", None)  # nothing is trained
    again = condense(digits, ipc=2, method="herding", execution=plain)
    assert torch.equal(first.images, again.images)
    assert first.seconds < 1000 < again.seconds  # what it costs, not what was left of it to do
    assert condense(digits, ipc=3, method="k-center", execution=plain).seconds > 1000


def test_a_condensation_can_start_from_a_selection(digits: ImageDataset, plain: Execution) -> None:
    settings = {"ipc": 1, "initialisation": "herding", "selection_features": "pixels", "execution": plain}
    start = condense(digits, method="herding", **settings)
    end = condense(digits, iterations=3, batch_real=4, **settings)
    assert (start.images.int() - end.images.int()).abs().max() <= 8  # three of Adam's steps of at most 0.01
    assert not torch.equal(start.images, end.images)


def test_classes_smaller_than_the_selection_give_all_again(plain: Execution) -> None:
    images = torch.randint(0, 256, (10, 1, 8, 8), dtype=torch.uint8)
    data = (images, torch.tensor([0, 1] * 5))
    made = condense(data, ipc=6, method="k-center", selection_features="pixels", execution=plain)
    assert made.images.shape[0] == 12


def test_other_features_are_refused(digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="selection_features=x: one of trained, random, pixels"):
        condense(digits, method="herding", selection_features="x")
