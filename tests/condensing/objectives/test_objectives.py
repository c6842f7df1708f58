"""The objectives against plain loops in float64: over classes, layers, images, pixels and channels."""

from __future__ import annotations

import math

import pytest
import torch
from recipes_to_test import objective_named
from torch import Tensor

from m3d_condense.condensing import objectives
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.objectives.distribution import mean_distance, moments_distance
from m3d_condense.condensing.objectives.layers import attention_of, discrimination
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.networks.convnet import ConvNet
from m3d_condense.recipes import methods
from m3d_condense.recipes.names import OBJECTIVES
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.progress import set_quiet

NAMES = ("moments2", "moments3", "layers", "attention")
APART = ("mmd", "mean", "moments2", "moments3", "attention")  # whose classes may go in chunks
# float32 through up to two blocks against float64: measured 7e-7 of the value, 3e-7 of gradients that reach 0.1 to 1.
VALUES, GRADIENTS = {"rtol": 1e-5, "atol": 1e-7}, {"rtol": 1e-5, "atol": 3e-6}
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # of float64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(k: int = 3, n: int = 4, m: int = 2) -> tuple[Tensor, Tensor]:
    """Images of classes that differ, of which the synthetic ones take a gradient."""
    centre = noise(k, 1, 1, 8, 8, seed=1)
    real, synthetic = (centre + 0.7 * noise(k, count, 1, 8, 8, seed=seed) for count, seed in ((n, 2), (m, 3)))
    return real, synthetic.requires_grad_()


def encoder(depth: int = 2, width: int = 4, norm: str = "instance", num_classes: int = 3) -> Encoder:
    network = ConvNet(1, num_classes, (8, 8), depth=depth, width=width, norm=norm)
    engine = Engine(Execution(device="cpu", precision="float32", compile="no"))
    made = Encoder(engine.place(network, torch.zeros(1, 1, 8, 8), 0))
    made.refill(7)
    return made


def views(used: Encoder, real: Tensor, synthetic: Tensor) -> tuple[View, View]:
    classes = range(len(real))
    return View(used, real, classes, graph=False), View(used, synthetic, classes, graph=True)


def gradient(losses: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(losses.sum(), leaf, retain_graph=True)[0]


# The plain loops. An image is what a network of float64 makes of it: the blocks' maps before pooling, and features.


def layers(network: ConvNet, image: Tensor) -> list[Tensor]:
    found, maps = [], image.unsqueeze(0)
    for convolution, norm, relu, pool in network.blocks:
        found.append(relu(norm(convolution(maps))))
        maps = pool(found[-1])
    return [maps[0] for maps in (*found, maps)]


def average(numbers: list[Tensor]) -> Tensor:
    return torch.stack(numbers).sum() / len(numbers)


def between_means(real: list[Tensor], synthetic: list[Tensor]) -> Tensor:
    sides = [[x.flatten() for x in side] for side in (real, synthetic)]
    means = [[average([x[d] for x in side]) for d in range(len(side[0]))] for side in sides]
    return torch.stack([(a - b) ** 2 for a, b in zip(*means, strict=True)]).sum()


def loop_moments(real: list[list[Tensor]], synthetic: list[list[Tensor]], order: int) -> Tensor:
    total = torch.zeros(())
    for d in range(real[0][-1].numel()):
        sides = [[layers_of[-1].flatten()[d] for layers_of in side] for side in (real, synthetic)]
        means = [average(side) for side in sides]
        total = total + (means[0] - means[1]) ** 2
        for power in range(2, order + 1):
            moments = [average([(x - mean) ** power for x in side]) for side, mean in zip(sides, means, strict=True)]
            total = total + (moments[0] - moments[1]) ** 2
    return total


def loop_attention(maps: Tensor) -> Tensor:
    channels, height, width = maps.shape
    places = [(i, j) for i in range(height) for j in range(width)]
    pixels = [torch.stack([maps[c, i, j].abs() ** 4 for c in range(channels)]).sum() for i, j in places]
    norm = torch.sqrt(torch.stack([pixel * pixel for pixel in pixels]).sum())
    return torch.stack([pixel / norm for pixel in pixels])


def loop_datadam(real: list[list[Tensor]], synthetic: list[list[Tensor]]) -> Tensor:
    total = 0.01 * between_means([x[-1] for x in real], [y[-1] for y in synthetic])
    for layer in range(max(len(real[0]) - 2, 1)):  # all blocks but the last
        pair = [[loop_attention(layers_of[layer]) for layers_of in side] for side in (real, synthetic)]
        total = total + between_means(*pair)
    return total


def loop_cafe(real: list[list[list[Tensor]]], synthetic: list[list[list[Tensor]]], k: int) -> Tensor:
    total, weights = torch.zeros(()), [0.1] * (len(real[0][0]) - 2) + [1.0, 2.0]  # earlier blocks, the last, features
    for layer, weight in enumerate(weights):
        total = total + weight * between_means([x[layer] for x in real[k]], [y[layer] for y in synthetic[k]])
    centres = []
    for of_class in synthetic:
        features = torch.stack([y[-1].flatten() for y in of_class])
        centres.append([average(list(column)) for column in features.T])
    for x in real[k]:
        logits = [sum(a * b for a, b in zip(x[-1].flatten(), centre, strict=True)) for centre in centres]
        total = total + 0.01 * (torch.log(sum(torch.exp(logit) for logit in logits)) - logits[k])  # type: ignore[arg-type]
    return total


def expected(name: str, used: Encoder, real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """The losses and the gradient to the pixels, in float64."""
    network = ConvNet(1, 3, (8, 8), depth=len(used.network.blocks), width=4).double()
    network.load_state_dict(used.network.state_dict())
    leaf = synthetic.detach().double().requires_grad_()
    sides = [[[layers(network, x) for x in of_class] for of_class in side] for side in (real.double(), leaf)]
    losses = []
    for k in range(len(real)):
        own = sides[0][k], sides[1][k]
        if name == "layers":
            losses.append(loop_cafe(*sides, k))
        else:
            losses.append(loop_datadam(*own) if name == "attention" else loop_moments(*own, int(name[-1])))
    stacked = torch.stack(losses)
    return stacked.detach(), gradient(stacked, leaf)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("depth", "n", "m"), [(2, 4, 2), (1, 3, 1), (2, 1, 3)])
def test_objectives_equal_plain_loops(name: str, depth: int, n: int, m: int) -> None:
    real, synthetic = images(n=n, m=m)
    used = encoder(depth)
    losses, by_pixel = expected(name, used, real, synthetic)
    got = objective_named(name)(*views(used, real, synthetic))
    assert got.shape == (3,)
    assert len(set(got.tolist())) == 3
    torch.testing.assert_close(got.double(), losses, **VALUES)
    assert float(by_pixel.abs().max()) > 0.001
    torch.testing.assert_close(gradient(got, synthetic).double(), by_pixel, **GRADIENTS)


@pytest.mark.parametrize("channels_last", [(False, True), (True, False), (True, True)])
def test_means_of_maps_do_not_depend_on_their_order_in_memory(channels_last: tuple[bool, bool]) -> None:
    def laid_out(maps: Tensor, last: bool) -> Tensor:
        return maps.movedim(2, -1).contiguous().movedim(-1, 2) if last else maps

    maps = noise(2, 3, 4, 5, 6), noise(2, 2, 4, 5, 6)
    expected = [between_means(list(one), list(other)) for one, other in zip(*maps, strict=True)]
    found = mean_distance(*map(laid_out, maps, channels_last))
    torch.testing.assert_close(found, torch.stack(expected))


def test_every_name_of_this_room_is_a_choice_and_builds() -> None:
    assert set(NAMES) <= set(OBJECTIVES)
    for name in NAMES:
        alone, beside = objective_named(name), objective_named(name, cross_entropy=0.1)
        assert alone.joint == (name == "layers")
        for trait in ("joint", "layered", "twice", "passes"):
            assert getattr(alone, trait) == getattr(beside, trait), (name, trait)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_not_negative(name: str) -> None:
    for seed in range(5):
        real, synthetic = noise(3, 5, 1, 8, 8, seed=seed), 2 * noise(3, 3, 1, 8, 8, seed=seed + 50)
        assert (objective_named(name)(*views(encoder(), real, synthetic)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_identical_sets_are_at_the_minimum_of_what_is_matched(name: str) -> None:
    real, _ = images()
    synthetic = real.flip(1).clone().requires_grad_()
    pair = views(encoder(), real, synthetic)
    losses = objective_named(name)(*pair)
    if name == "layers":  # which asks the centres to discriminate as well
        losses = losses - objectives.layers.DISCRIMINATION * discrimination(pair[0].features, pair[1].features)
    torch.testing.assert_close(losses, torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient(losses, synthetic), torch.zeros_like(synthetic), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", APART)
def test_classes_in_chunks_equal_all_at_once(name: str) -> None:
    real, synthetic = images()
    used, objective = encoder(), objective_named(name)
    assert not objective.joint
    whole = objective(*views(used, real, synthetic), constants=True)
    halves = [views(used, real[chunk], synthetic[chunk]) for chunk in (slice(0, 2), slice(2, 3))]
    together = torch.cat([objective(*half, constants=True) for half in halves])
    torch.testing.assert_close(together, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(together, synthetic), gradient(whole, synthetic), rtol=1e-4, atol=1e-6)


def test_layers_need_all_classes_at_once(digits: ImageDataset) -> None:
    real, synthetic = images()
    whole = objective_named("layers")(*views(encoder(), real, synthetic))
    alone = objective_named("layers")(*views(encoder(), real[:1], synthetic[:1]))
    assert abs((whole[0] - alone[0]).item()) > 0.001
    turned = objective_named("layers")(*views(encoder(), real[[2, 0, 1]], synthetic[[2, 0, 1]]))
    torch.testing.assert_close(turned, whole[[2, 0, 1]])
    small = Engine(Execution(device="cpu", precision="float32", compile="no", memory=2**-20))
    for name, chunks in (("layers", 1), ("attention", 10)):
        recipe = methods.recipe("dm", "quick", Problem(ipc=1, side=8), {"objective": name})
        run = begin(digits, recipe, small)
        assert len(run.plan.chunks) == chunks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("norm", "depth"), [("instance", 1), ("instance", 3), ("batch", 2), ("none", 2)])
def test_one_image_a_class_and_blank_images_give_numbers(name: str, norm: str, depth: int) -> None:
    for fill in (None, 0.0, 0.5):
        real, synthetic = images(n=2, m=1)
        if fill is not None:
            real, synthetic = torch.full_like(real, fill), torch.full_like(synthetic, fill).requires_grad_()
        losses = objective_named(name)(*views(encoder(depth, norm=norm), real, synthetic))
        assert torch.isfinite(losses).all()
        assert torch.isfinite(gradient(losses, synthetic)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_it_comes_nearer(name: str, digits: ImageDataset, plain: Execution) -> None:
    set_quiet(True)
    settings = {"ipc": 2, "iterations": 31, "batch_real": 32, "augmentation": "none", "initialisation": "noise"}
    made = condense(digits, method="dm", objective=name, lr=0.05, lr_schedule="constant", execution=plain, **settings)
    assert made.history[-1]["loss"] < 0.5 * made.history[0]["loss"]


# Moments


def test_a_shift_of_all_features_changes_only_the_means() -> None:
    real = noise(3, 6, 5).double()
    for order in (1, 2, 3):
        assert moments_distance(real, real + 0.3, order=order).tolist() == pytest.approx(3 * [5 * 0.3**2])


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, -1.0])
def test_a_scale_about_the_mean_changes_only_the_higher_moments(scale: float) -> None:
    real = noise(3, 6, 5).double().exp()
    centred = real - real.mean(1, keepdim=True)
    synthetic = real.mean(1, keepdim=True) + scale * centred
    second, third = (centred.pow(power).mean(1).square().sum(1) for power in (2, 3))
    assert float(mean_distance(real, synthetic).max()) < 1e-20
    expected2 = (scale**2 - 1) ** 2 * second
    torch.testing.assert_close(moments_distance(real, synthetic, order=2), expected2, **CLOSE)
    expected3 = expected2 + (scale**3 - 1) ** 2 * third
    torch.testing.assert_close(moments_distance(real, synthetic, order=3), expected3, **CLOSE)


def test_moments_ask_nothing_but_the_mean_of_a_single_image() -> None:
    real, synthetic = noise(2, 6, 5).double(), noise(2, 1, 5, seed=1).double().requires_grad_()
    means = gradient(mean_distance(real, synthetic), synthetic)
    torch.testing.assert_close(gradient(moments_distance(real, synthetic, order=3), synthetic), means, **CLOSE)


# CAFE's discrimination


def test_discrimination_has_closed_forms() -> None:
    nothing = torch.zeros(4, 5, 6)
    torch.testing.assert_close(discrimination(nothing, nothing[:, :2]), torch.full((4,), 5 * math.log(4)))
    assert discrimination(noise(1, 5, 6), noise(1, 2, 6)).tolist() == [0.0]  # a single class
    axes = torch.eye(4).unsqueeze(1)
    for size in (1.0, 3.0):  # own logit size², others 0, four images each
        closed = 4 * math.log(1 + 3 * math.exp(-(size**2)))
        torch.testing.assert_close(discrimination(size * axes.expand(4, 4, 4), size * axes), torch.full((4,), closed))


def test_discrimination_of_large_logits_is_a_number() -> None:
    synthetic = (100 * noise(3, 2, 2048, seed=1)).requires_grad_()
    losses = discrimination(100 * noise(3, 4, 2048), synthetic)
    assert float(losses.detach().max()) > 1e5
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient(losses, synthetic)).all()


# DataDAM's attention


def test_attention_has_norm_one_and_knows_no_scale() -> None:
    maps = noise(2, 3, 4, 5, 6)
    expected = attention_of(maps)
    assert expected.shape == (2, 3, 30)
    torch.testing.assert_close(expected.norm(dim=-1), torch.ones(2, 3))
    for scale in (1e-6, 1e-3, -1.0, 1e3, 1e6):  # the fourth powers of 1e-6 and less are far below any fixed guard
        leaf = (scale * maps).requires_grad_()
        got = attention_of(leaf)
        torch.testing.assert_close(got, expected)
        assert torch.isfinite(gradient(got, leaf)).all()


def test_attention_has_closed_forms() -> None:
    torch.testing.assert_close(attention_of(torch.full((1, 1, 3, 2, 4), 5.0)), torch.full((1, 1, 8), 8**-0.5))
    maps = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).view(1, 1, 1, 2, 2)
    torch.testing.assert_close(attention_of(maps), torch.tensor([[[1.0, 16.0, 0.0, 0.0]]]) / math.sqrt(257))
    torch.testing.assert_close(attention_of(maps, power=1), torch.tensor([[[1.0, 2.0, 0.0, 0.0]]]) / math.sqrt(5))


@pytest.mark.parametrize("value", [0.0, 1e-12, 1e-9])
def test_attention_to_nothing_is_zero_or_a_number(value: float) -> None:
    maps = torch.full((1, 2, 3, 2, 2), value, requires_grad=True)
    got = attention_of(maps)
    grad = gradient(got * torch.arange(4), maps)
    assert torch.isfinite(got).all()
    assert torch.isfinite(grad).all()
    if value == 0:
        assert got.tolist() == [[[0.0] * 4] * 2]
        assert not grad.any()
