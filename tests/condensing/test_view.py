"""A network as an encoder, images as it sees them, and what the objectives ask of both."""

from __future__ import annotations

import math

import pytest
import torch
from recipes_to_test import objective_named
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.machine import engine as engine_module
from m3d_condense.machine.engine import Engine, has_compiler
from m3d_condense.machine.execution import Execution
from m3d_condense.tools.errors import UserError

SIZES = {"convnet2": 8, "resnet10": 8, "resnetap10": 16, "densenet121": 8, "convnet2-batch": 8, "resnet10-batch": 16}
# Norms over maps of 2×2 divide by small numbers: batches of other sizes measure up to 1e-4 apart, of about 1.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
NAMED = ("mean", "moments3", "layers", "attention")


class Plain(nn.Module):
    """A user's network: no maps, no features, and a batch is a batch."""

    def __init__(self, channels: int, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 3, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.LazyLinear(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(name: str = "convnet2", side: int = 8, compiled: bool = False) -> Encoder:
    network = networks.build(name, channels=1, num_classes=5, size=(side, side))
    execution = Execution(device="cpu", precision="float32", native=False, compile="yes" if compiled else "no")
    used = Encoder(Engine(execution).place(network, torch.zeros(1, 1, side, side), 0))
    used.refill(3)
    return used


def of_each_class(used: Encoder, images: Tensor, function: str) -> Tensor:
    """What the network itself gives, class by class."""
    with torch.no_grad():
        return torch.stack([getattr(used.network, function)(of_class) for of_class in images])


@pytest.mark.parametrize(("name", "side"), SIZES.items())
def test_features_and_logits_are_the_networks_own_whichever_way(name: str, side: int) -> None:
    used, images = encoder(name, side), noise(3, 4, 1, side, side)
    direct, logits = of_each_class(used, images, "features"), of_each_class(used, images, "forward")
    plain, through_maps = (View(used, images, range(3), graph=False) for _ in range(2))
    maps = through_maps.maps
    assert len(maps) == len(used.network.blocks)
    assert all(m.shape[:2] == (3, 4) and m.ndim == 5 and m.dtype == torch.float32 for m in maps)
    torch.testing.assert_close(plain.features, direct, **CLOSE)
    torch.testing.assert_close(through_maps.features, direct, **CLOSE)
    assert "maps" not in vars(plain)
    torch.testing.assert_close(used.logits(images), logits, **CLOSE)
    torch.testing.assert_close(used.logits(images, direct), logits, **CLOSE)


@pytest.mark.parametrize("known", [(), ("features",), ("maps",), ("maps", "features")])
@pytest.mark.parametrize("name", ["convnet2", "convnet2-batch", f"{__name__}:Plain"])
def test_cross_entropy_equals_a_plain_loop(name: str, known: tuple[str, ...]) -> None:
    if ":" in name and "maps" in known:
        pytest.skip("it shows none")
    used, images = encoder(name), noise(3, 4, 1, 8, 8)
    view = View(used, images.requires_grad_(), range(2, 5), graph=True)
    for what in known:
        getattr(view, what)
    expected = []
    for k, of_class in enumerate(images):
        logits = used.network(of_class).double()
        each = [torch.log(sum(torch.exp(x) for x in row)) - row[2 + k] for row in logits]  # type: ignore[arg-type]
        expected.append(sum(each) / 4)
    total = torch.stack(expected)  # type: ignore[arg-type]
    torch.testing.assert_close(view.cross_entropy.double(), total, rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad(loss.sum(), images)[0] for loss in (view.cross_entropy, total)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
    assert view.labels.tolist() == [[k] * 4 for k in (2, 3, 4)]


@pytest.mark.parametrize("name", ["convnet2", "convnet2-batch", "resnet10"])
def test_gradients_reach_the_images_only_where_asked(name: str) -> None:
    used, images = encoder(name), noise(2, 3, 1, 8, 8).requires_grad_()
    without, within = (View(used, images, range(2), graph=graph) for graph in (False, True))
    for view in (without, within):
        found = [*view.maps, view.features, view.cross_entropy]
        assert [x.requires_grad for x in found] == [view.graph] * len(found)
    direct = View(used, images, range(2), graph=True).features
    grads = [torch.autograd.grad(features.square().sum(), images)[0] for features in (within.features, direct)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
    assert (grads[0].abs().amax((2, 3, 4)) > 0).all()
    assert not any(p.requires_grad for p in used.network.parameters())


def test_a_network_without_maps_gives_the_rest() -> None:
    used, images = encoder(f"{__name__}:Plain"), noise(2, 3, 1, 8, 8)
    view = View(used, images, range(2), graph=False)
    with pytest.raises(UserError, match="this network does not show") as raised:
        _ = view.maps
    assert "\n" not in str(raised.value)
    torch.testing.assert_close(view.features, of_each_class(used, images, "features"), **CLOSE)
    torch.testing.assert_close(used.logits(images, view.features), of_each_class(used, images, "forward"), **CLOSE)
    for name in ("layers", "attention"):
        with pytest.raises(UserError, match="network"):
            objective_named(name)(view, View(used, images, range(2), graph=True))


@pytest.mark.parametrize("name", ["convnet2-batch", "resnet10-batch"])
def test_batch_statistics_are_those_of_one_class(name: str) -> None:
    used, images = encoder(name), noise(3, 4, 1, 8, 8) + noise(3, 1, 1, 8, 8, seed=1)
    view = View(used, images, range(3), graph=False)
    for k in range(3):
        alone = View(used, images[k : k + 1], range(k, k + 1), graph=False)
        for whole, part in zip([*view.maps, view.features], [*alone.maps, alone.features], strict=True):
            torch.testing.assert_close(whole[k : k + 1], part, **CLOSE)
    mixed = used.network.features(images.flatten(0, 1)).view_as(view.features)
    assert float((mixed - view.features).norm() / view.features.norm()) > 0.01


def test_a_network_at_rest_takes_its_images_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    used, images = encoder("convnet2-batch"), noise(1, 12, 1, 8, 8)
    used.network.eval()
    seen: list[int] = []
    used.network.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    monkeypatch.setattr(engine_module, "PIECE", 4)
    whole = used.network.features(images[0])
    torch.testing.assert_close(used.features(images)[0], whole)
    assert seen == [12, 4, 4, 4]


def test_images_whose_features_are_known_are_let_go() -> None:
    view = View(encoder(), noise(2, 3, 1, 8, 8), range(2), graph=False)
    view.let_go()
    assert view.images.shape == (2, 3, 1, 8, 8)
    features = view.features
    view.let_go()
    assert view.images.numel() == 0
    assert view.features is features
    assert view.labels.tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("piece", [1, 4, 8, 15, 100])  # 4 and 8 do not divide 15: the last is filled up
def test_pieces_equal_the_whole(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used, images = encoder("convnet2"), noise(3, 5, 1, 8, 8).requires_grad_()

    def everything() -> tuple[list[Tensor], Tensor]:
        view = View(used, images, range(3), graph=True)
        found = [used.features(images), used.logits(images), *view.maps, view.features, view.cross_entropy]
        gradient = torch.autograd.grad(sum(x.square().mean() for x in found), images)[0]  # type: ignore[arg-type]
        return found, gradient

    whole, gradient = everything()
    seen: list[int] = []
    used.network.blocks[0][0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    monkeypatch.setattr(engine_module, "PIECE", piece)
    parts, by_parts = everything()
    assert max(seen) <= piece
    assert len(set(seen)) == 1
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(by_parts, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow  # tests/machine/test_engine.py compiles a network in seconds
def test_compiled_equals_eager_for_maps_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_compiler(torch.device("cpu")):
        pytest.skip("inductor has no C++ compiler here")
    monkeypatch.setattr(engine_module, "PIECE", 4)  # the last of two pieces is filled up
    images, results = noise(1, 7, 1, 8, 8).requires_grad_(), []
    for compiled in (False, True):
        view = View(encoder("convnet1", compiled=compiled), images, range(1), graph=True)
        found = [*view.maps, view.features, view.cross_entropy]
        loss = torch.stack([x.square().mean() for x in found]).sum()
        results.append([*found, torch.autograd.grad(loss, images)[0]])
    for eager, fast in zip(*results, strict=True):
        assert fast.shape == eager.shape
        torch.testing.assert_close(fast, eager, rtol=1e-4, atol=1e-5)


# The objectives on views


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("cross_entropy", [0.0, 0.5])
@pytest.mark.parametrize("network", ["convnet2", "resnet10"])
def test_each_view_takes_one_forward_pass(name: str, cross_entropy: float, network: str) -> None:
    used, calls = encoder(network), []
    used.network.blocks[0][0].register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    real, synthetic = (
        View(used, noise(3, count, 1, 8, 8), range(3), graph) for count, graph in ((4, False), (2, True))
    )
    objective_named(name, cross_entropy=cross_entropy)(real, synthetic)
    assert sorted(calls) == [6, 12]


@pytest.mark.parametrize("name", NAMED)
def test_gradients_reach_the_synthetic_images_alone(name: str) -> None:
    used, real, synthetic = encoder(), noise(3, 4, 1, 8, 8), noise(3, 2, 1, 8, 8, seed=1)
    views = [View(used, x.requires_grad_(), range(3), graph) for x, graph in ((real, False), (synthetic, True))]
    objective_named(name)(*views).sum().backward()
    assert real.grad is None
    assert synthetic.grad is not None
    assert (synthetic.grad.abs().amax((2, 3, 4)) > 0).all()


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("confidence", [1.0, 0.25, 0.0])
def test_cross_entropy_is_added_with_its_weight_and_the_confidence(name: str, confidence: float) -> None:
    used, real, synthetic = encoder(), noise(3, 4, 1, 8, 8), noise(3, 2, 1, 8, 8, seed=1).requires_grad_()
    used.confidence = confidence

    def views() -> tuple[View, View]:
        return View(used, real, range(3), graph=False), View(used, synthetic, range(3), graph=True)

    both, bare = objective_named(name, cross_entropy=0.5)(*views()), objective_named(name)(*views())
    chances = used.network(synthetic.flatten(0, 1)).softmax(1)
    entropies = torch.stack([-torch.log(chances[2 * k, k] * chances[2 * k + 1, k]) / 2 for k in range(3)])
    total = bare + 0.5 * confidence * entropies
    torch.testing.assert_close(both, total, rtol=1e-5, atol=1e-5)
    grads = [torch.autograd.grad(losses.sum(), synthetic, retain_graph=True)[0] for losses in (both, total)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=3e-6)
    assert math.isfinite(float(both.detach().sum()))
