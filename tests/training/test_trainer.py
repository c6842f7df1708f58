from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from m3d_condense import networks
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine, in_pieces
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.protocols import PROTOCOLS, Training, protocol
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import progress, set_quiet
from m3d_condense.training import trainer as training
from m3d_condense.training.trainer import Trainer, batches


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def rates(used: Training, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=used.lr)
    schedule = training.schedule(optimizer, used, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


# Protocols

IDC = protocol("idc").training
CIFAR10 = Problem(ipc=10, side=32)


def test_the_protocols_have_their_papers_values() -> None:
    idc, dm = protocol("idc"), protocol("dm")
    assert (idc.epochs, dm.epochs) == (1000, 1000)
    of_idc, of_dm = idc.training, dm.training
    assert (of_idc.batch, of_idc.lr, of_idc.momentum, of_idc.weight_decay) == (64, 0.01, 0.9, 5e-4)
    assert (of_idc.cutmix, of_idc.augmentation) == (0.5, Augmentation.parse("color_crop_flip_scale_rotate", "idc"))
    assert (of_dm.batch, of_dm.lr, of_dm.momentum, of_dm.weight_decay) == (256, 0.01, 0.9, 5e-4)
    assert (of_dm.cutmix, of_dm.augmentation.draw) == (0.0, "dsa")
    assert "cutout" in of_dm.augmentation.operations
    with pytest.raises(UserError, match="unknown protocol 'x': one of quick, idc, dm"):
        protocol("x")
    with pytest.raises(UserError, match="epochs=0"):
        idc.adapted(CIFAR10, epochs=0)


@pytest.mark.parametrize("steps", [12, 100, 1001])
def test_idc_takes_a_fifth_of_the_rate_at_two_thirds_and_five_sixths(steps: int) -> None:
    seen = rates(IDC, steps)
    first, second = round(steps * 2 / 3), round(steps * 5 / 6)
    expected = [0.01] * first + [0.002] * (second - first) + [0.0004] * (steps - second)
    assert seen == pytest.approx(expected)


def test_dm_takes_a_tenth_of_the_rate_at_half_way() -> None:
    assert rates(protocol("dm").training, 10) == pytest.approx([0.01] * 5 + [0.001] * 5)


@pytest.mark.parametrize("name", ["dm", "idc"])
def test_the_first_step_of_the_shortest_training_has_the_whole_rate(name: str) -> None:
    assert rates(protocol(name).training, 1) == pytest.approx([0.01])


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 150])
def test_one_cycle_ends_low_and_peaks_at_the_rate(steps: int) -> None:
    seen = rates(protocol("quick").training, steps)
    assert len(seen) == steps
    assert max(seen) <= 0.05 + 1e-9
    if steps == 150:
        assert max(seen) == pytest.approx(0.05, rel=1e-3)
        assert 30 < seen.index(max(seen)) < 60
        assert seen[-1] < 1e-3 * max(seen)


def test_epochs_and_steps() -> None:
    idc = protocol("idc")
    assert idc.adapted(CIFAR10) == idc
    assert idc.adapted(CIFAR10, whole=True).epochs == 100
    assert idc.adapted(CIFAR10, epochs=7, whole=True).epochs == 7
    short = idc.adapted(CIFAR10, epochs=3)
    assert [short.steps(images) for images in (1, 64, 65, 640)] == [3, 3, 6, 30]


def test_flip_is_taken_out_of_the_augmentation() -> None:
    for used in PROTOCOLS.values():
        for side in (32, 224):
            one_way, both = (Problem(ipc=10, side=side, mirrored=mirrored) for mirrored in (False, True))
            assert "flip" not in used.adapted(one_way).training.augmentation.operations
            assert "flip" in used.adapted(both).training.augmentation.operations


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(("count", "batch", "steps"), [(10, 4, 25), (64, 64, 3), (7, 64, 5), (10, 3, 11)])
def test_batches_cover_the_set_evenly(count: int, batch: int, steps: int, even: bool) -> None:
    training = Training(batch=batch, lr=0.1, even=even)
    drawn = list(batches(count, training, steps, seed=0))
    assert len(drawn) == steps
    sizes = [len(index) for index in drawn]
    assert max(sizes) - min(sizes) <= 1 if even else max(sizes) == min(batch, count)
    assert max(sizes) <= batch
    every = torch.cat(drawn)
    per_pass = -(-count // batch)
    assert [sum(map(len, drawn[i : i + per_pass])) for i in range(0, steps - per_pass + 1, per_pass)] == [count] * (
        steps // per_pass
    )
    times = every.bincount(minlength=count)
    assert int(times.max() - times.min()) <= 1
    for start in range(0, len(every) - count + 1, count):  # pass by pass
        assert sorted(every[start : start + count].tolist()) == list(range(count))
    assert not torch.equal(every[:count], torch.arange(count))
    assert torch.equal(every, torch.cat(list(batches(count, training, steps, seed=0))))
    assert not torch.equal(every, torch.cat(list(batches(count, training, steps, seed=1))))


# Training


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(("count", "batch"), [(5, 4), (3, 2), (257, 256)])
def test_no_image_is_alone_in_a_batch_where_two_are_needed(count: int, batch: int, even: bool) -> None:
    per_pass = -(-count // batch)
    training = Training(batch=batch, lr=0.1, even=even)
    usual, found = (list(batches(count, training, 2 * per_pass, 3, fewest)) for fewest in (1, 2))
    for number, (before, after) in enumerate(zip(usual, found, strict=True)):
        first = usual[number - number % per_pass]
        expected = torch.cat((before, first[:1])) if len(before) == 1 else before
        assert torch.equal(after, expected)
        assert len(after) >= 2


def with_batch_norm(*shape: int) -> nn.Module:
    """A network whose batch norm needs two images or more."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 6), nn.BatchNorm1d(6), nn.Linear(6, 10))


def fitted(network: nn.Module, images: torch.Tensor, batch: int, plain: Execution, even: bool = False) -> None:
    used = Training(batch=batch, lr=0.1, even=even)
    placed = Engine(plain).place(network, torch.zeros(1, *images.shape[1:]), 0)
    labels = torch.zeros(len(images), dtype=torch.int64)
    with progress("test", 4) as bar:
        Trainer(placed, used, (0.5,), (0.5,)).fit([(images, labels)], [0], 4, bar)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(("count", "batch"), [(5, 4), (9, 4), (3, 2)])
def test_a_last_image_is_trained_on_by_networks_that_take_none_alone(
    count: int, batch: int, even: bool, plain: Execution
) -> None:
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network = with_batch_norm(1, 8, 8)
    fitted(network, images, batch, plain, even)
    assert int(network[2].num_batches_tracked) == 4  # type: ignore[index, call-overload]


@pytest.mark.parametrize(("count", "batch"), [(1, 4), (5, 1)])
def test_training_on_images_alone_is_refused_by_networks_that_take_none_alone(
    count: int, batch: int, plain: Execution
) -> None:
    with pytest.raises(UserError, match="cannot be trained on an image alone"):
        fitted(with_batch_norm(1, 8, 8), torch.rand(count, 1, 8, 8), batch, plain)


def test_a_network_without_trainable_parameters_is_refused(plain: Execution) -> None:
    for network in (with_batch_norm(1, 8, 8).requires_grad_(False), nn.Flatten()):
        with pytest.raises(UserError, match="it has nothing to train"):
            fitted(network, torch.rand(4, 1, 8, 8), 4, plain)


def trainer(used: Training, plain: Execution, together: int = 1) -> Trainer:
    network = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
    placed = Engine(plain).place(network, torch.zeros(1, 1, 8, 8), 0, stacked=together > 1)
    return Trainer(placed, used, (0.3,), (0.4,), together=together)


def test_fit_takes_the_protocols_steps_at_its_rates(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    original = torch.optim.SGD.step

    def step(self: torch.optim.SGD, closure: None = None) -> None:
        seen.append(dict(self.param_groups[0]))
        original(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    used = dataclasses.replace(IDC, batch=16)
    with progress("test", 12) as bar:
        trainer(used, plain).fit([(digits.train.images[:20], digits.train.labels[:20])], [0], 12, bar)
        assert bar.done == 12
    assert [group["lr"] for group in seen] == pytest.approx([0.01] * 8 + [0.002] * 2 + [0.0004] * 2)
    assert {(group["momentum"], group["weight_decay"], group["nesterov"]) for group in seen} == {(0.9, 5e-4, False)}


def test_the_loss_without_augmentation_is_the_cross_entropy(digits: ImageDataset, plain: Execution) -> None:
    used = dataclasses.replace(IDC, augmentation=Augmentation(), cutmix=0.0)
    made = trainer(used, plain)
    images, labels = digits.train.images[:6], digits.train.labels[:6]
    logits = made.network((images.float() / 255 - 0.3) / 0.4).double()
    expected = -sum(logits[n].log_softmax(0)[labels[n]] for n in range(6)) / 6
    got = made.loss([(images, labels)], [torch.Generator().manual_seed(0)])
    assert float(got.detach()) == pytest.approx(float(expected), rel=1e-5)
    as_floats = made.loss([(images.float() / 255, labels)], [torch.Generator().manual_seed(0)])
    assert float(as_floats.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_mixed_labels_count_by_their_share_of_the_pixels(digits: ImageDataset, plain: Execution) -> None:
    from m3d_condense.training import augment

    made = trainer(dataclasses.replace(IDC, augmentation=Augmentation(), cutmix=1.0), plain)
    images, labels = digits.train.images[:6], digits.train.labels[:6]
    stream = torch.Generator().manual_seed(1)
    mixed, order, share = augment.cutmix((images.float() / 255 - 0.3) / 0.4, stream, 1.0)
    assert 0.1 < share < 0.9
    logs = made.network(mixed).log_softmax(1)
    expected = 0.0
    for n, partner in enumerate(order.tolist()):
        expected -= share * float(logs[n, labels[n]]) + (1 - share) * float(logs[n, labels[partner]])
    got = made.loss([(images, labels)], [torch.Generator().manual_seed(1)])
    assert float(got.detach()) == pytest.approx(expected / 6, rel=1e-5)


def probabilities(count: int, classes: int = 10) -> torch.Tensor:
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(3)).softmax(1)


def test_soft_labels_are_mixed_by_the_shares_of_the_pixels(digits: ImageDataset, plain: Execution) -> None:
    from m3d_condense.training import augment

    made = trainer(dataclasses.replace(IDC, augmentation=Augmentation(), cutmix=1.0), plain)
    images, soft = digits.train.images[:6], probabilities(6)
    mixed, order, share = augment.cutmix(
        (images.float() / 255 - 0.3) / 0.4, torch.Generator().manual_seed(1), probability=1.0
    )
    assert 0.1 < share < 0.9
    logits = made.network(mixed)
    target = share * soft + (1 - share) * soft[order]  # the mixed labels, as CutMix defines them
    got = made.loss([(images, soft)], [torch.Generator().manual_seed(1)])
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    weight = made.network.get_parameter("classifier.weight")
    (gradient,) = torch.autograd.grad(got, weight)
    features = made.network.features(mixed)  # type: ignore[operator]
    by_hand = (logits.softmax(1) - target).T @ features / 6  # of a linear classifier under softmax
    assert torch.allclose(gradient, by_hand, atol=1e-6)


@pytest.mark.parametrize("cutmix", [0.0, 1.0])
def test_hard_labels_are_soft_ones_with_one_class(digits: ImageDataset, plain: Execution, cutmix: float) -> None:
    made = trainer(dataclasses.replace(IDC, cutmix=cutmix), plain)
    images, labels = digits.train.images[:8], digits.train.labels[:8]
    found = []
    for targets in (labels, torch.nn.functional.one_hot(labels, 10).float()):
        loss = made.loss([(images, targets)], [torch.Generator().manual_seed(1)])
        found.append((loss.detach(), torch.autograd.grad(loss, list(made.network.parameters()))))
    (hard, hard_gradients), (soft, soft_gradients) = found
    assert torch.allclose(hard, soft, rtol=1e-6)
    assert all(map(torch.allclose, hard_gradients, soft_gradients))


def test_every_image_has_its_own_augmentation(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m3d_condense.training import augment

    groups, original = [], augment.draw

    def draw(augmentation: Augmentation, count: int, *rest: Any) -> augment.Parameters:
        groups.append((str(augmentation), count))
        return original(augmentation, count, *rest)

    monkeypatch.setattr(augment, "draw", draw)
    made = trainer(IDC, plain)
    made.loss([(digits.train.images[:5], digits.train.labels[:5])], [torch.Generator()])
    assert groups == [("color_crop_flip_scale_rotate", 5)]


def test_accuracy_is_a_percentage_of_the_right_ones(digits: ImageDataset, plain: Execution) -> None:
    made = trainer(IDC, plain)
    images = digits.test.images[:300]  # more than a piece
    predicted = made.network((images.float() / 255 - 0.3) / 0.4).argmax(1)
    labels = predicted.clone()
    labels[:75] = (labels[:75] + 1) % 10
    assert made.accuracies(images, labels) == pytest.approx([75.0])
    assert not made.network.training


def test_batches_are_filled_up_with_images(plain: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that batch norm without running statistics sees those of images."""
    seen: list[float] = []
    images = torch.full((10, 1, 8, 8), 7.0)

    def function(part: torch.Tensor) -> torch.Tensor:
        seen.append(float(part.mean()))
        return part.flatten(1).sum(1)

    assert len(in_pieces(function, images, 4)) == 10
    assert seen == [7.0, 7.0, 7.0]


def test_a_network_that_has_diverged_has_no_accuracy(digits: ImageDataset, plain: Execution) -> None:
    made = trainer(IDC, plain)
    made.network.classifier.bias.data[3] = torch.inf
    with pytest.raises(UserError, match="a network has diverged"):
        made.accuracies(digits.test.images, digits.test.labels)


def test_networks_trained_together_end_as_they_would_alone(digits: ImageDataset, plain: Execution) -> None:
    used = dataclasses.replace(IDC, batch=16)
    sets = [(digits.train.images[start : start + 30], digits.train.labels[start : start + 30]) for start in (0, 40, 80)]
    images, labels = digits.test.images[:100], digits.test.labels[:100]
    alone, together = trainer(used, plain), trainer(used, plain, together=3)
    with progress("test", 1) as bar:
        together.fit(sets, [5, 6, 7], 6, bar)
        for number, seed in enumerate((5, 6, 7)):
            alone.fit([sets[number]], [seed], 6, bar)
            for name, parameter in alone.network.named_parameters():
                # Six steps of float32: sums in another order, magnified by the norm where a map is flat.
                torch.testing.assert_close(together.stacked[name][number], parameter, rtol=1e-3, atol=1e-4)
            assert together.accuracies(images, labels)[number] == pytest.approx(
                alone.accuracies(images, labels)[0], abs=1.0
            )
