from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from recipes_to_test import recipe_with
from torch import Tensor
from watches import Credits

from m3d_condense import networks
from m3d_condense.condensing import encoders
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.encoders.learner import Learner
from m3d_condense.condensing.encoders.pool import PoolEncoders
from m3d_condense.condensing.encoders.queue import QueueEncoders
from m3d_condense.condensing.encoders.source import Material
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.run import Run
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.names import ENCODERS, OBJECTIVES
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import cache_folder, write_entry
from m3d_condense.tools.files import read_tensors
from m3d_condense.tools.progress import set_quiet
from m3d_condense.tools.seeds import derive
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.training.trainer import batches

TINY: dict[str, Any] = {"ipc": 2, "iterations": 9, "batch_real": 8, "iterations_per_model": 4}
TRAINED: dict[str, Any] = {"encoder_steps": 3, "encoder_batch": 16, "encoder_lr": 0.05, "encoder_count": 3}


@pytest.fixture(autouse=True)
def _quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_quiet(True)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))


def recipe(source: str, **changes: Any) -> Recipe:
    settings = {name: value for name, value in (TINY | TRAINED).items() if name != "ipc"}
    return recipe_with(**settings | {"encoders": source, "augmentation": "none"} | changes)


def source_of(digits: ImageDataset, plain: Execution, used: Recipe, watch: Stopwatch | None = None) -> Any:
    network = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
    encoder = Encoder(Engine(plain).place(network, torch.zeros(1, 1, 8, 8), 0))
    return encoders.build(Material(recipe=used, encoder=encoder, dataset=digits, watch=watch or Stopwatch()))


def pixels_of(digits: ImageDataset, factor: int = 1) -> Pixels:
    chosen = [torch.nonzero(digits.train.labels == k).flatten()[:2] for k in range(10)]
    return Pixels(digits.train.images[torch.stack(chosen)].float() / 255, factor)


def weights(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# Every source


@pytest.mark.parametrize("source", ENCODERS)
@pytest.mark.parametrize("network", ["convnet", "convnet-batch"])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    digits: ImageDataset,
    plain: Execution,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    network: str,
) -> None:
    settings = TINY | TRAINED | {"encoders": source, "network": network, "cross_entropy": 0.1}
    whole = condense(digits, method="dm", execution=plain, **settings)
    original = Run.take_step

    def take_step(run: Run) -> Tensor:
        if run.step in (1, 5):  # in the middle of a network's turn, and where it begins
            os.kill(os.getpid(), signal.SIGINT)
        return original(run)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(Run, "take_step", take_step)
            with pytest.raises(KeyboardInterrupt):
                condense(digits, method="dm", out=tmp_path / "set", execution=plain, **settings)
    resumed = condense(digits, method="dm", out=tmp_path / "set", execution=plain, **settings)
    assert torch.equal(resumed.images, whole.images)
    assert [entry["loss"] for entry in resumed.history] == [entry["loss"] for entry in whole.history]


@pytest.mark.parametrize("source", ENCODERS)
def test_no_weight_takes_a_gradient_when_the_pixels_do(digits: ImageDataset, plain: Execution, source: str) -> None:
    made = source_of(digits, plain, recipe(source))
    encoder = made.at(0)
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    made.advance(0, pixels_of(digits))
    encoder = made.at(1)
    assert not encoder.network.training  # nothing is dropped
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())


@pytest.mark.parametrize(("source", "trains"), [("fresh", False), ("synthetic", True), ("real", True)])
def test_a_network_serves_its_turn(digits: ImageDataset, plain: Execution, source: str, trains: bool) -> None:
    made, pixels = source_of(digits, plain, recipe(source)), pixels_of(digits)
    fresh = source_of(digits, plain, recipe("fresh"))
    seen = []
    for step in range(9):
        seen.append(weights(made.at(step)))
        made.advance(step, pixels)
        assert same(seen[-1], weights(fresh.at(step))) == (step % 4 == 0 or not trains)
    for step in (1, 2, 3, 5):
        assert same(seen[step], seen[step - 1]) != trains
    assert not same(seen[4], seen[0])


def test_a_new_network_is_warmed_up_on_real_images(digits: ImageDataset, plain: Execution) -> None:
    cold, warm = (source_of(digits, plain, recipe("real", encoder_warmup=n)).at(0) for n in (0, 5))
    assert not same(weights(cold), weights(warm))


@pytest.mark.parametrize("source", ENCODERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_goes_with_every_source_and_cross_entropy(
    digits: ImageDataset, plain: Execution, objective: str, source: str
) -> None:
    settings = TINY | TRAINED | {"ipc": 1, "iterations": 2, "objective": objective, "encoders": source}
    start = condense(digits, method="dm", execution=plain, **settings | {"iterations": 0})
    made, calibrated = (
        condense(digits, method="dm", execution=plain, cross_entropy=weight, **settings) for weight in (0.0, 1000.0)
    )
    assert not torch.equal(made.images, start.images)
    assert not torch.equal(made.images, calibrated.images)


# Learning


def plain_sgd(
    network: torch.nn.Module, sets: list[tuple[Tensor, Tensor]], lr: float, momentum: float, decay: float
) -> None:
    """SGD once more, as a plain loop over batches of normalised images and labels."""
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for images, labels in sets:
        parameters = dict(network.named_parameters())
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        logs = network(images).log_softmax(1)
        loss = -torch.stack([logs[n, label] for n, label in enumerate(labels)]).mean()
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
                velocity[name] = momentum * velocity[name] + gradient + decay * parameter
                parameter -= lr * velocity[name]


@pytest.mark.parametrize("factor", [1, 2])
def test_learning_synthetic_images_is_plain_sgd(digits: ImageDataset, plain: Execution, factor: int) -> None:
    used = recipe("synthetic", encoder_steps=4)
    made, pixels = source_of(digits, plain, used), pixels_of(digits, factor)
    encoder = made.at(0)
    expected = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
    networks.initialise(expected, derive(used.seed, "encoder", 0))
    images, labels = pixels.training_set()
    assert len(images) == 20 * factor**2
    assert labels.tolist() == [k for k in range(10) for _ in range(2 * factor**2)]
    images = (images - digits.mean[0]) / digits.std[0]
    order = batches(len(images), Training(batch=16, lr=0.05), 4, derive(used.seed, "train", 0))
    plain_sgd(expected, [(images[index], labels[index]) for index in order], 0.05, 0.0, 0.0)
    made.advance(0, pixels)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(encoder.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_queue_learns_by_sgd_with_momentum_that_lasts(digits: ImageDataset, plain: Execution) -> None:
    made = source_of(digits, plain, recipe("queue"))
    learner: Learner = made.learner
    seen: list[tuple[Tensor, Tensor]] = []
    original = learner.trainer.step

    def step(optimizer: Any, batch: Any, streams: Any) -> None:
        seen.append(((batch[0][0].float() / 255 - digits.mean[0]) / digits.std[0], batch[0][1]))
        original(optimizer, batch, streams)

    learner.trainer.step = step  # type: ignore[method-assign]
    learner.encoder.refill(1)
    learner.reset_optimizer()
    for seed in (1, 2):  # put aside and taken up again
        learner.learn_real(2, seed)
        state = learner.state()
        learner.encoder.refill(9)
        learner.restore(state)
    assert len(seen) == 4
    expected = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
    networks.initialise(expected, 1)
    plain_sgd(expected, seen, 0.05, 0.9, 5e-4)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(learner.encoder.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_idc_trains_on_mixed_images_without_cutout(digits: ImageDataset, plain: Execution) -> None:
    match = {"augmentation": "color_crop_cutout"}
    real, synthetic = (
        source_of(digits, plain, recipe(name, **match)).learner.training for name in ("real", "synthetic")
    )
    assert (str(real.augmentation), real.cutmix, real.momentum) == ("color_crop", 0.5, 0.9)
    changed = recipe("real", encoder_cutmix=1.0, encoder_weight_decay=1e-4, **match)
    training = source_of(digits, plain, changed).learner.training
    assert (training.cutmix, training.weight_decay) == (1.0, 1e-4)
    assert (str(synthetic.augmentation), synthetic.cutmix, synthetic.momentum) == ("color_crop_cutout", 0.0, 0.0)


# CAFE's schedule


class Answers:
    """Accuracies to be measured, one for each step's network and then one after each pass of its training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outer: list[float], inner: list[float]) -> None:
        self.outer, self.inner, self.passes = iter(outer), inner, -1
        monkeypatch.setattr(Learner, "accuracy", lambda *_: self.answer())

    def advance(self, source: Any, step: int, pixels: Pixels) -> None:
        self.passes = -1
        source.advance(step, pixels)

    def answer(self) -> float:
        self.passes += 1
        return next(self.outer) if self.passes == 0 else self.inner[self.passes - 1]


def test_a_network_is_trained_until_it_moves(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = [0.5] * 12 + [0.54] + [0.9] * 30  # the thirteenth pass is the first that differs by more than 0.03
    made, answers = source_of(digits, plain, recipe("dynamic", encoder_steps=40)), Answers(monkeypatch, [0.1], inner)
    before = weights(made.at(0))
    answers.advance(made, 0, pixels_of(digits))
    assert answers.passes == 13
    assert not same(before, weights(made.at(1)))


def test_a_network_that_never_moves_is_left_after_the_passes_allowed(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source_of(digits, plain, recipe("dynamic", encoder_steps=40))
    answers = Answers(monkeypatch, [0.1], [0.5] * 40)
    made.at(0)
    answers.advance(made, 0, pixels_of(digits))
    assert answers.passes == 40


def test_one_real_image_of_a_class_is_enough(digits: ImageDataset, plain: Execution) -> None:
    asked = {"ipc": 1, "iterations": 2, "batch_real": 1, "network": "convnet1-width8"}
    made = condense(digits, method="cafe", execution=plain, **asked)  # type: ignore[arg-type]
    assert made.steps == 2


def test_a_network_that_has_settled_is_replaced(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = [0.1, 0.2, *[0.5] * 20]  # ten within 0.04 at the twelfth step
    made = source_of(digits, plain, recipe("dynamic", encoder_steps=40))
    answers = Answers(monkeypatch, outer, [0.0, 0.1] * 20)
    first = weights(made.at(0))
    for step in range(12):
        assert same(first, weights(made.at(step))) == (step == 0)
        answers.advance(made, step, pixels_of(digits))
    second = weights(made.at(12))
    fresh = source_of(digits, plain, recipe("fresh"))
    assert same(second, weights(fresh.at(4)))  # the second of its networks


# IDM's queue


def members(queue: QueueEncoders) -> list[dict[str, Tensor]]:
    """What a queue stores of each of its networks."""
    stored: dict[str, dict[str, Tensor]] = {}
    for name, value in queue.state().items():
        number, _, rest = name.partition(".")
        stored.setdefault(number, {})[rest.removeprefix("network.")] = value
    stored.pop("born")
    return [stored[str(number)] for number in range(len(stored))]


def test_a_queue_takes_in_and_drops_networks(digits: ImageDataset, plain: Execution) -> None:
    made: QueueEncoders = source_of(digits, plain, recipe("queue", encoder_count=5, iterations_per_model=2))
    pixels, sizes = pixels_of(digits), []
    for step in range(7):
        made.at(step)
        sizes.append(len(members(made)))
        made.advance(step, pixels)
    assert sizes == [4, 4, 5, 5, 5, 5, 5]
    assert int(made.state()["born"]) == 3 + 4


def test_a_step_trains_two_members_and_one_serves_with_its_accuracy(digits: ImageDataset, plain: Execution) -> None:
    made: QueueEncoders = source_of(digits, plain, recipe("queue", encoder_steps=30))
    pixels, name = pixels_of(digits), "classifier.weight"
    confidences = set()
    for step in range(8):
        encoder = made.at(step)
        before = members(made)
        assert any(same(weights(encoder), member) for member in before)
        confidences.add(encoder.confidence)
        made.advance(step, pixels)
        moved = [not torch.equal(old[name], new[name]) for old, new in zip(before, members(made), strict=True)]
        assert sum(moved) == 2
    assert 0.0 in confidences  # a network that was never trained is not trusted
    assert max(confidences) > 0.3


# The pool


def test_a_pool_is_trained_once_and_found_again(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = recipe("pool")
    watch = Credits()
    first = source_of(digits, plain, used, watch)
    files = sorted(cache_folder().rglob("*.safetensors"))
    assert [file.name for file in files] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    assert watch.given == 0.0
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "from_scratch", None)  # nothing is trained
        for other in (used, dataclasses.replace(used, objective="mmd", ipc=3, lr=0.5)):
            watch = Credits()
            again = source_of(digits, plain, other, watch)
            assert watch.given > 0.0
    assert same(weights(first.at(0)), weights(again.at(0)))
    changes = (
        {"seed": 1},
        {"encoder_steps": 4},
        {"encoder_points": 3},
        {"encoder_lr": 0.1},
        {"encoder_batch": 8},
        {"network": "resnet10"},
    )
    for change in changes:
        source_of(digits, plain, dataclasses.replace(used, encoder_count=1, **change))  # type: ignore[arg-type]
    assert len(list((cache_folder() / "pools").iterdir())) == 1 + len(changes)


def test_an_interrupted_pool_goes_on_with_the_network_it_stopped_at(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(source_of(digits, plain, recipe("pool")).at(0))
    for file in cache_folder().rglob("[12].safetensors"):
        file.unlink()
    trained: list[int] = []
    original = Learner.from_scratch

    def from_scratch(self: Learner, seed: int, *rest: Any) -> None:
        trained.append(seed)
        original(self, seed, *rest)

    monkeypatch.setattr(Learner, "from_scratch", from_scratch)
    assert same(weights(source_of(digits, plain, recipe("pool")).at(0)), whole)
    assert trained == [derive(0, "pool", number) for number in (1, 2)]


def way_of(folder: Path, number: int) -> list[dict[str, Tensor]]:
    """The states of a network of the pool in their order, as they are kept."""
    tensors, _ = read_tensors(folder / f"{number}.safetensors")
    count = 1 + max(int(name.partition(".")[0]) for name in tensors)
    states: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for key, value in tensors.items():
        point, _, name = key.partition(".")
        states[int(point)][name] = value
    return states


def pool_folder() -> Path:
    (folder,) = (cache_folder() / "pools").iterdir()
    return folder


def test_a_point_lies_between_a_start_and_its_end(digits: ImageDataset, plain: Execution) -> None:
    made: PoolEncoders = source_of(digits, plain, recipe("pool", iterations_per_model=1))
    ends = [way_of(pool_folder(), number) for number in range(3)]
    shares, drawn = [], set()
    for step in range(30):
        at = weights(made.at(step))
        name = "blocks.0.0.weight"
        fits = []
        for number, (start, end) in enumerate(ends):
            along = end[name] - start[name]
            share = float(((at[name] - start[name]) * along).sum() / along.square().sum())
            if torch.allclose(start[name] + share * along, at[name], atol=1e-6):
                fits.append((number, share))
                for other in at:
                    torch.testing.assert_close(at[other], start[other].lerp(end[other], share), rtol=0, atol=1e-5)
        assert len(fits) == 1
        drawn.add(fits[0][0])
        shares.append(fits[0][1])
    assert drawn == {0, 1, 2}
    assert 0 <= min(shares) < 0.2
    assert 0.8 < max(shares) <= 1


def test_more_points_follow_the_same_training(digits: ImageDataset, plain: Execution) -> None:
    ways = []
    for points in (2, 4, 7):
        known = set((cache_folder() / "pools").glob("*"))
        source_of(digits, plain, recipe("pool", encoder_steps=6, encoder_points=points))
        (new,) = set((cache_folder() / "pools").iterdir()) - known
        ways.append(way_of(new, 0))
    two, four, seven = ways
    assert all(same(state, seven[2 * number]) for number, state in enumerate(four))
    assert all(same(state, seven[6 * number]) for number, state in enumerate(two))
    assert not any(same(state, after) for state, after in itertools.pairwise(seven))


def test_an_encoder_lies_between_two_neighbours_of_its_way(digits: ImageDataset, plain: Execution) -> None:
    used = recipe("pool", encoder_steps=6, encoder_points=4, encoder_count=1, iterations_per_model=1)
    made = source_of(digits, plain, used)
    way, name = way_of(pool_folder(), 0), "blocks.0.0.weight"
    found = set()
    for step in range(30):
        at = weights(made.at(step))
        fits = []
        for number, (near, far) in enumerate(itertools.pairwise(way)):
            along = far[name] - near[name]
            share = float(((at[name] - near[name]) * along).sum() / along.square().sum())
            fits += [number] if torch.allclose(near[name] + share * along, at[name], atol=1e-6) else []
        assert len(fits) == 1
        found.add(fits[0])
    assert found == {0, 1, 2}


@pytest.mark.parametrize("network", ["convnet", "convnet-batch"])
def test_the_cross_entropy_is_under_a_network_that_leads(digits: ImageDataset, plain: Execution, network: str) -> None:
    settings: dict[str, Any] = {"encoder_count": 1, "iterations_per_model": 1, "cross_entropy": 0.1}
    settings |= {"network": network, "encoder_steps": 30}
    ended = source_of(digits, plain, recipe("pool", **settings, teacher_lead=1.0))
    ahead = source_of(digits, plain, recipe("pool", **settings, teacher_lead=0.25))
    start, end = way_of(pool_folder(), 0)
    name = "blocks.0.0.weight"
    images = torch.randn(10, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in range(5):
        assert same(weights(ended.at(step).teacher), end)
        encoder, along = ahead.at(step), end[name] - start[name]

        def share(of: Encoder, along: Tensor = along) -> float:
            return float(((weights(of)[name] - start[name]) * along).sum() / along.square().sum())

        assert share(encoder.teacher) == pytest.approx(min(share(encoder) + 0.25, 1.0), abs=1e-3)
        labels = torch.arange(10).repeat_interleave(2)
        plainly = torch.stack([encoder.teacher.network(of_one) for of_one in images]).flatten(0, 1)
        expected = F.cross_entropy(plainly, labels, reduction="none").view(10, 2).mean(1)
        view = View(encoder, images.requires_grad_(True), range(10), graph=True)
        torch.testing.assert_close(view.cross_entropy, expected)
        view.cross_entropy.sum().backward()
        assert images.grad is not None
        assert not any(parameter.requires_grad for parameter in encoder.teacher.network.parameters())
    assert source_of(digits, plain, recipe("pool", **settings)).at(0).teacher is None


def test_a_damaged_network_of_a_pool_is_said_and_trained_again(
    digits: ImageDataset, plain: Execution, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = weights(source_of(digits, plain, recipe("pool")).at(0))
    file = next(cache_folder().rglob("0.safetensors"))
    sound = read_tensors(file)[0]
    file.write_bytes(file.read_bytes()[:-9])
    set_quiet(False)
    assert same(weights(source_of(digits, plain, recipe("pool")).at(0)), whole)
    assert f"{file} is damaged" in capsys.readouterr().err
    assert same(read_tensors(file)[0], sound)


def test_a_pool_that_cannot_be_kept_is_trained_and_used(
    digits: ImageDataset,
    plain: Execution,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = weights(source_of(digits, plain, recipe("pool")).at(0))
    (tmp_path / "file").touch()
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / "cache"))
    set_quiet(False)
    assert same(weights(source_of(digits, plain, recipe("pool")).at(0)), whole)
    assert capsys.readouterr().err.count("M3D_CACHE names another folder") == 1


def test_the_seconds_of_a_run_count_its_pool_even_where_it_was_there(digits: ImageDataset, plain: Execution) -> None:
    settings = TINY | TRAINED | {"encoders": "pool"}
    condense(digits, method="dm", execution=plain, **settings)
    for file in cache_folder().rglob("*.safetensors"):  # as if each network had taken 1,000 seconds
        write_entry(file, read_tensors(file)[0], {"seconds": "1000.0"})
    assert condense(digits, method="dm", execution=plain, **settings).seconds > 3000
