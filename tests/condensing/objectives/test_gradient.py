"""Gradient matching against the plain way: loops, `create_graph`, and a second backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters

from m3d_condense import networks
from m3d_condense.condensing.objectives import build
from m3d_condense.condensing.objectives.gradient import GradientMatching
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine, has_compiler
from m3d_condense.machine.execution import Execution
from m3d_condense.networks.foreign import Foreign
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.errors import UserError

DISTANCES = ("cosine", "mse", "l1")
CLOSE = {"rtol": 1e-8, "atol": 1e-11}  # of float64, far above its rounding and far below any wrong term


def engine(**execution: Any) -> Engine:
    return Engine(Execution(**{"device": "cpu", "precision": "float32", "native": False, "compile": "no"} | execution))


def convnet(size: int = 8, channels: int = 1, depth: int = 1, norm: str = "instance") -> nn.Module:
    return networks.convnet.ConvNet(channels, 3, (size, size), depth=depth, width=8, norm=norm)


def encoder(network: nn.Module, used: Engine | None = None, dtype: torch.dtype = torch.float64) -> Encoder:
    made = Encoder((used or engine()).place(network.to(dtype), torch.zeros(1, 1, 8, 8), 0))
    made.refill(5)
    return made


def images(of: Encoder, count: int, size: int = 8, channels: int = 1, k: int = 3, seed: int = 0) -> Tensor:
    dtype = next(of.network.parameters()).dtype
    stream = torch.Generator().manual_seed(100 * seed + count)
    return torch.randn(k, count, channels, size, size, generator=stream, dtype=dtype)


def matched(of: Encoder, distance: str, real: Tensor, synthetic: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
    """Return the K losses and the pixels' gradients of weighted losses, by the package."""
    leaf, classes = synthetic.clone().requires_grad_(), range(start, start + len(real))
    losses = GradientMatching(distance)(View(of, real, classes, graph=False), View(of, leaf, classes, graph=True))
    torch.autograd.backward((losses * weights(losses, start)).sum())
    assert leaf.grad is not None
    return losses.detach(), leaf.grad


def weights(losses: Tensor, start: int) -> Tensor:
    """Different for every class, so that each must reach its own images."""
    return torch.arange(1 + start, 1 + start + len(losses), dtype=losses.dtype)


def between(distance: str, real: Tensor, synthetic: Tensor) -> Tensor:
    """The distance of one layer, unit by unit, written from the papers."""
    total = torch.zeros((), dtype=real.dtype)
    for r, s in zip(real, synthetic, strict=True):
        r, s = r.reshape(-1), s.reshape(-1)
        if distance == "cosine":
            total = total + 1 - torch.dot(r, s) / (r.square().sum().sqrt() * s.square().sum().sqrt() + 1e-6)
        elif distance == "mse":
            total = total + torch.dot(r - s, r - s)
        else:
            total = total + torch.linalg.vector_norm(r - s, 1)
    return total


def plain(network: Any, distance: str, real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """The same by loops over classes, layers and units, with a graph through the first gradient."""
    convolutional = any(p.dim() == 4 for p in network.parameters())
    counted = (2, 4) if distance == "cosine" else (4,) if convolutional else (2,)
    layers = [p.requires_grad_() for p in network.parameters() if p.dim() in counted]
    leaf = synthetic.clone().requires_grad_()
    losses = []
    for k in range(len(real)):
        label = [torch.full((len(x[k]),), k) for x in (real, synthetic)]
        of_real = torch.autograd.grad(F.cross_entropy(network(real[k]), label[0]), layers)
        of_synthetic = torch.autograd.grad(F.cross_entropy(network(leaf[k]), label[1]), layers, create_graph=True)
        losses.append(sum(between(distance, r, s) for r, s in zip(of_real, of_synthetic, strict=True)))
    values = torch.stack(losses)
    gradient = torch.autograd.grad((values * weights(values, 0)).sum(), leaf)[0]
    network.requires_grad_(False)
    return values.detach(), gradient


NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "convnet grey 8": (convnet, {}),
    "convnet colour 16": (lambda: convnet(16, 3, depth=2), {"size": 16, "channels": 3}),
    "convnet-batch": (lambda: convnet(norm="batch"), {}),
    "resnet10": (lambda: networks.build("resnet10", channels=1, num_classes=3, size=(8, 8)), {"k": 1}),
}


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_gradients_equal_plain_loops(name: str, distance: str) -> None:
    make, shape = NETWORKS[name]
    used = encoder(make())
    real, synthetic = images(used, 5, **shape), images(used, 3, **shape)
    got, expected = matched(used, distance, real, synthetic), plain(used.network, distance, real, synthetic)
    assert float(expected[1].norm()) > 0
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("distance", DISTANCES)
def test_float32_is_within_its_rounding(distance: str) -> None:
    results = []
    for dtype in (torch.float64, torch.float32):
        used = encoder(convnet(), dtype=torch.float32)
        real, synthetic = images(used, 5), images(used, 3)
        used.network.to(dtype)
        results.append(matched(used, distance, real.to(dtype), synthetic.to(dtype)))
    (value, gradient), (value32, gradient32) = results
    assert value32.dtype == gradient32.dtype == torch.float32
    torch.testing.assert_close(value32.double(), value, rtol=1e-4, atol=0)
    # Sums of float32 over some hundred terms, and group norm's second derivative, whose terms cancel.
    assert float((gradient32 - gradient).norm()) < 1e-3 * float(gradient.norm())


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient_against_finite_differences(distance: str) -> None:
    used, objective = encoder(Smooth()), GradientMatching(distance)
    view = View(used, images(used, 4, size=4, k=2), range(2), graph=False)
    leaf = images(used, 2, size=4, k=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective(view, View(used, x, range(2), graph=True)), leaf)


class Smooth(nn.Module):
    """Without the kinks of ReLU, for images of 4×4; linear alone where `convolutional` is not set."""

    def __init__(self, convolutional: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, bias=bias) if convolutional else nn.Flatten()
        self.classifier = nn.Linear(8 if convolutional else 16, 3, bias=bias)

    def features(self, images: Tensor) -> Tensor:
        return torch.tanh(self.first(images)).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images))
        return logits


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_value_is_symmetric_and_its_zero_is_where_both_are_alike(distance: str) -> None:
    used = encoder(convnet())
    real, synthetic = images(used, 4), images(used, 4, seed=1)
    there, back = matched(used, distance, real, synthetic)[0], matched(used, distance, synthetic, real)[0]
    torch.testing.assert_close(there, back, **CLOSE)
    assert (there > 0.001).all()
    same = matched(used, distance, real, real)[0]
    if distance != "cosine":
        assert torch.equal(same, torch.zeros_like(same))
        return
    for k, value in enumerate(same):  # a unit's cosine is that of n²/(n² + 1e-6), for its gradient's norm n
        units = [row for layer in of_one_class(used.network, real[k], k) for row in layer.flatten(1)]
        assert float(value) == pytest.approx(sum(1e-6 / (float(u.square().sum()) + 1e-6) for u in units), abs=1e-9)


def of_one_class(network: Any, pixels: Tensor, k: int) -> list[Tensor]:
    layers = [p.requires_grad_() for p in network.parameters() if p.dim() > 1]
    found = torch.autograd.grad(F.cross_entropy(network(pixels), torch.full((len(pixels),), k)), layers)
    network.requires_grad_(False)
    return list(found)


@pytest.mark.parametrize("distance", DISTANCES)
def test_biases_do_not_count(distance: str) -> None:
    without, biased = (encoder(Smooth(bias=bias)) for bias in (False, True))
    with torch.no_grad():
        for name, parameter in biased.network.named_parameters():
            known = dict(without.network.named_parameters()).get(name)
            parameter.zero_() if known is None else parameter.copy_(known)
    pair = images(without, 4, size=4), images(without, 2, size=4)
    for one, other in zip(matched(without, distance, *pair), matched(biased, distance, *pair), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)  # the same network, and two more gradients


def test_idc_leaves_the_classifier_out_unless_there_is_nothing_else() -> None:
    used = encoder(Smooth())
    real, synthetic = images(used, 4, size=4, k=1), images(used, 2, size=4, k=1)
    pair = zip(of_one_class(used.network, real[0], 0), of_one_class(used.network, synthetic[0], 0), strict=True)
    convolution, linear = (float((r - s).square().sum()) for r, s in pair)
    assert linear > 0.01 * convolution
    assert float(matched(used, "mse", real, synthetic)[0]) == pytest.approx(convolution, rel=1e-9)
    flat = encoder(Smooth(convolutional=False))
    got, expected = (f(x, "mse", real, synthetic) for f, x in ((matched, flat), (plain, flat.network)))
    torch.testing.assert_close(got[0], expected[0], **CLOSE)
    assert float(got[0]) > 0
    flat.network = nn.Flatten()
    with pytest.raises(UserError, match="the network has neither"):
        matched(flat, "mse", real, synthetic)


@pytest.mark.parametrize("distance", DISTANCES)
def test_chunks_equal_the_whole(distance: str) -> None:
    used = encoder(convnet())
    real, synthetic = images(used, 4), images(used, 2)
    whole = matched(used, distance, real, synthetic)
    parts = [matched(used, distance, real[a:b], synthetic[a:b], start=a) for a, b in ((0, 2), (2, 3))]
    for one, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(pieces), one, **CLOSE)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_weights_and_running_statistics_stay_as_they_are(norm: str) -> None:
    used = encoder(convnet(norm=norm))
    before = {name: tensor.clone() for name, tensor in used.network.state_dict().items()}
    matched(used, "cosine", images(used, 4), images(used, 2))
    assert used.network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in used.network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in used.network.parameters())
    assert all(one.training == isinstance(one, nn.BatchNorm2d) for one in used.network.modules())


class Theirs(nn.Module):
    """A user's: batch norm, ReLU in place, no features: a hook of ours reads what its last layer is given."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.head = nn.Linear(4 * 9, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).flatten(1))
        return logits


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_users_network(distance: str) -> None:
    used = encoder(Foreign("theirs", Theirs, torch.zeros(2, 1, 8, 8), 3))
    real, synthetic = images(used, 5), images(used, 3)
    got, expected = matched(used, distance, real, synthetic), plain(used.network, distance, real, synthetic)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.slow  # tests/machine/test_engine.py compiles a network in seconds
def test_compiled_equals_eager() -> None:
    if not has_compiler(torch.device("cpu")):
        pytest.skip("inductor has no C++ compiler here")
    slow, fast = (encoder(convnet(), engine(compile=c), torch.float32) for c in ("no", "yes"))
    objective = GradientMatching("cosine")  # one for both: what it compiles belongs to the encoder
    before = counters["stats"]["unique_graphs"]
    for seed in (5, 6):  # refilled in place, and the compiled functions see it
        results = []
        for used in (slow, fast):
            used.refill(seed)
            leaf = images(used, 3, k=2).requires_grad_()
            views = View(used, images(used, 4, k=2), range(2), graph=False), View(used, leaf, range(2), graph=True)
            losses = objective(*views)
            torch.autograd.backward(losses.sum())
            results.append((losses.detach(), leaf.grad))
        torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-5)
        error = (results[1][1] - results[0][1]).norm() / results[0][1].norm()
        assert float(error) < 1e-3  # most of it eager's, whose group norm differentiates less exactly
    assert counters["stats"]["unique_graphs"] == before + 2


def test_bfloat16_is_near_float32() -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no native bfloat16")
    exact, rounded = (encoder(convnet(), engine(precision=p), torch.float32) for p in ("float32", "bfloat16"))
    real, synthetic = images(exact, 16), images(exact, 8)
    for distance, bound in (("cosine", 1 / 8), ("mse", 1 / 8), ("l1", 1 / 3)):
        (value, gradient), (near, slope) = (matched(used, distance, real, synthetic) for used in (exact, rounded))
        assert near.dtype == slope.dtype == torch.float32
        # bfloat16 rounds each layer's maps, weights and gradients by up to 2⁻⁹, and a dozen of these are between the
        # pixels and a weight's gradient. Measured: 2 % of the values; 6 % of the pixels' gradient, a derivative more,
        # and 21 % for l1, where the signs of small differences turn.
        assert 0 < float(((near - value) / value).abs().max()) < 1 / 16
        assert 2**-9 < float((slope - gradient).norm() / gradient.norm()) < bound


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_run_moves_its_pixels_alike_in_chunks(digits: ImageDataset, distance: str) -> None:
    overrides = {"objective": f"gradient-{distance}", "batch_real": 8, "batch_synthetic": 4, "factor": 2, "lr": 1e-3}
    recipe = methods.recipe("m3d", "quick", Problem(ipc=1, side=8), overrides | {"network": "convnet1"})
    assert isinstance(build(recipe), GradientMatching)
    results = []
    for memory in (0.0, 2**-20):
        run = begin(digits, recipe, engine(memory=memory))
        start = run.pixels.values.detach().clone()
        losses = run.take_step()
        results.append((losses, run.pixels.values.detach()))
        assert losses.shape == (10,)
        assert not torch.equal(run.pixels.values.detach(), start)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
