"""The native block computes what torch's own operations do, in every width, and stands aside where it cannot."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from native_blocks import layers, noise
from recipes_to_test import objective_named
from torch import Tensor, nn

from m3d_condense import Execution, networks
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine import native
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.machine.native import building
from m3d_condense.machine.native.gradients import WeightGradient
from m3d_condense.networks.convnet import ConvNet
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.protocols import protocol
from m3d_condense.tools.progress import Reporter
from m3d_condense.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _built() -> None:
    if building.library(torch.float32) is None:
        pytest.skip("native blocks cannot be built here")


SHAPES = [  # N, C, H, W, O, padding
    pytest.param(3, 3, 32, 32, 64, 1, id="colour"),
    pytest.param(2, 1, 28, 28, 64, 3, id="grey, 28 becomes 32"),
    pytest.param(3, 1, 8, 8, 64, 1, id="digits"),
    pytest.param(2, 2, 2, 3, 32, 1, id="few pixels"),
    pytest.param(2, 3, 7, 30, 32, 2, id="wide, padded by two"),
    pytest.param(2, 3, 9, 5, 32, 1, id="odd sides"),
    pytest.param(5, 32, 16, 16, 64, 1, id="maps, several tiles an image"),
    pytest.param(7, 64, 8, 8, 32, 1, id="maps, several images a block"),
    pytest.param(2, 32, 14, 11, 32, 1, id="maps of odd sides"),
    pytest.param(1, 32, 30, 30, 32, 1, id="one image, sides that tiles do not divide"),
    pytest.param(2, 32, 2, 2, 32, 1, id="maps smaller than a tile"),
]


BEYOND = [  # the same, and side of the kernel, side of the pooling, whether there is a ReLU
    pytest.param(3, 3, 32, 32, 32, 3, 7, 4, True, id="the stem of a ResNetAP"),
    pytest.param(2, 1, 9, 14, 32, 3, 7, 4, True, id="grey, sides that pooling does not divide"),
    pytest.param(2, 3, 70, 90, 32, 3, 7, 4, True, id="large, by strips"),
    pytest.param(2, 2, 12, 8, 32, 1, 5, 2, True, id="a kernel of 5"),
    pytest.param(3, 3, 9, 8, 32, 1, 3, 1, True, id="images, no pooling"),
    pytest.param(3, 32, 8, 9, 64, 1, 3, 1, True, id="maps, no pooling"),
    pytest.param(5, 64, 4, 4, 32, 1, 3, 1, False, id="maps, no ReLU"),
    pytest.param(2, 3, 4, 4, 32, 3, 7, 1, False, id="images smaller than the kernel, no ReLU"),
    pytest.param(2, 32, 8, 8, 32, 1, 3, 4, True, id="maps, pooling of 4"),
    pytest.param(2, 32, 1, 1, 32, 1, 3, 1, True, id="a single pixel"),
]


def off(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm().clamp_min(1e-12))


def by_hand(images: Tensor, block: nn.Sequential) -> Tensor:
    """The block in float64, from its formulae."""
    convolution, norm = block[0], block[1]
    maps = F.conv2d(images, convolution.weight.double(), padding=convolution.padding)  # type: ignore[operator, arg-type]
    mean = maps.mean((2, 3), keepdim=True)
    deviation = ((maps - mean).square().mean((2, 3), keepdim=True) + norm.eps).sqrt()  # type: ignore[operator]
    gamma, beta = (part.double().view(-1, 1, 1) for part in (norm.weight, norm.bias))  # type: ignore[operator]
    maps = (maps - mean) / deviation * gamma + beta
    if len(block) > 2:
        maps = maps.clamp_min(0)
    pool = block[3].kernel_size if len(block) > 3 else 1
    return F.avg_pool2d(maps, pool)  # type: ignore[arg-type]


def gradients(output: Tensor, images: Tensor, block: nn.Sequential) -> list[Tensor]:
    weights = [block[0].weight, block[1].weight, block[1].bias]
    return list(torch.autograd.grad((output * noise(*output.shape)).sum(), [images, *weights]))  # type: ignore[list-item]


@contextmanager
def lanes(number: int | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the block compiled, quickly, for registers of so many floats; None for what this processor has."""
    with monkeypatch.context() as patch:
        if number is not None:
            machine = building.MACHINES.get(torch.backends.cpu.get_cpu_capability(), ())
            built = building.build((f"-DM3D_LANES={number}", "-Wno-psabi", "-O1", *machine))
            patch.setattr(building, "library", lambda products=None: built)
        yield


@pytest.mark.parametrize("width", [None, 4, 8, 16])
@pytest.mark.parametrize(("count", "channels", "height", "side", "after", "padding"), SHAPES)
def test_values_and_gradients_are_those_of_the_formulae(
    width: int | None,
    count: int,
    channels: int,
    height: int,
    side: int,
    after: int,
    padding: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block, images = layers(channels, after, padding), noise(count, channels, height, side).requires_grad_()
    with lanes(width, monkeypatch):
        assert native.supports(block)
        got = native.block(images, block)
        found = gradients(got, images, block)
    exact = images.detach().double().requires_grad_()
    expected = by_hand(exact, block)
    assert got.shape == expected.shape
    assert got.dtype == torch.float32
    # Winograd's sums of up to 100 products in float32, 2⁻²⁴ each, cancel by a factor of ten or so.
    assert off(got.detach(), expected.detach()) < 1e-5
    for mine, theirs in zip(found, gradients(expected, exact, block), strict=True):
        assert mine.shape == theirs.shape
        # A ReLU that is at its kink may fall to either side of it, and moves a few numbers.
        assert off(mine, theirs) < 3e-3


@pytest.mark.parametrize("width", [None, 4, 8, 16])
@pytest.mark.parametrize(("count", "channels", "height", "side", "after", "padding", "kernel", "pool", "relu"), BEYOND)
def test_so_are_those_of_other_kernels_and_endings(
    width: int | None,
    count: int,
    channels: int,
    height: int,
    side: int,
    after: int,
    padding: int,
    kernel: int,
    pool: int,
    relu: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = layers(channels, after, padding, kernel=kernel, pool=pool, relu=relu)
    images = noise(count, channels, height, side).requires_grad_()
    with lanes(width, monkeypatch):
        assert native.supports(block)
        got = native.block(images, list(block))
        found = gradients(got, images, block)
    exact = images.detach().double().requires_grad_()
    expected = by_hand(exact, block)
    assert got.shape == expected.shape
    assert float((got.detach() - expected.detach()).norm()) < 1e-5 * float(expected.norm().detach()) + 1e-6
    for mine, theirs in zip(found, gradients(expected, exact, block), strict=True):
        assert mine.shape == theirs.shape
        # A map of one pixel is its norm's β: its gradient is zero, and rounding is all that is left of it.
        assert float((mine - theirs).norm()) < 3e-3 * float(theirs.norm()) + 1e-5


@pytest.mark.parametrize("beta", [-9.0, 9.0])
@pytest.mark.parametrize(("count", "channels", "height", "side", "after", "padding"), SHAPES)
def test_gradients_far_from_the_kinks_are_exact(
    beta: float, count: int, channels: int, height: int, side: int, after: int, padding: int
) -> None:
    block, images = layers(channels, after, padding), noise(count, channels, height, side).requires_grad_()
    nn.init.constant_(block[1].bias, beta)  # type: ignore[arg-type]
    found = gradients(native.block(images, block), images, block)
    exact = images.detach().double().requires_grad_()
    for mine, theirs in zip(found, gradients(by_hand(exact, block), exact, block), strict=True):
        if beta < 0:
            assert not mine.any()
        # The sum of what a norm passes back is zero: what is left of it is measured by the gradient's own scale.
        assert float((mine - theirs).norm()) < 2e-5 * float(theirs.norm()) + 1e-4


def test_a_bias_before_the_norm_adds_nothing_and_gets_nothing() -> None:
    block, images = layers(3, 32, 1), noise(2, 3, 8, 8)
    before = native.block(images, block).detach()
    nn.init.constant_(block[0].bias, 3.0)  # type: ignore[arg-type]
    assert torch.equal(native.block(images, block), before)
    torch.testing.assert_close(block(images), before, rtol=1e-4, atol=1e-5)
    native.block(images, block).sum().backward()
    assert block[0].bias.grad is None


def test_only_what_needs_a_gradient_gets_one() -> None:
    block, images = layers(32, 32, 1), noise(2, 32, 8, 8)
    assert not native.block(images, block.requires_grad_(False)).requires_grad
    leaf = images.clone().requires_grad_()
    native.block(leaf, block).sum().backward()
    assert leaf.grad is not None
    assert block[0].weight.grad is None
    with torch.no_grad():
        kept = native.block(leaf, block)
    assert torch.equal(kept, native.block(leaf, block))
    native.block(images, block.requires_grad_(True)).sum().backward()
    assert block[0].weight.grad is not None


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_stays_so_in_its_image_alone(channels: int, value: float) -> None:
    block, images = layers(channels, 32, 1), noise(4, channels, 8, 8)
    expected = native.block(images, block)
    images[1, 0, 4, 4] = value
    got = native.block(images, block)
    assert got[1].isnan().all()
    assert torch.equal(got[[0, 2, 3]], expected[[0, 2, 3]])


def test_a_first_pixel_far_from_the_others_costs_no_accuracy() -> None:
    block, images = layers(1, 32, 1), torch.zeros(1, 1, 64, 64)
    images[..., :2, :2] = 1000.0
    images += noise(1, 1, 64, 64)
    assert off(native.block(images, block), by_hand(images.double(), block)) < 1e-4


def test_memory_formats_do_not_matter() -> None:
    block, images = layers(32, 32, 1), noise(4, 32, 8, 8)
    expected = native.block(images, block).detach()
    strided = torch.stack((images, images), -1)[..., 0]
    assert torch.equal(native.block(images.contiguous(memory_format=torch.channels_last), block), expected)
    assert torch.equal(native.block(strided, block), expected)
    assert torch.equal(native.block(images, block.to(memory_format=torch.channels_last)), expected)  # type: ignore[call-overload]


@pytest.mark.parametrize("channels", [3, 32])
def test_an_image_does_not_depend_on_its_batch_or_on_the_threads(channels: int) -> None:
    block, images = layers(channels, 32, 1), noise(11, channels, 16, 16)
    whole = native.block(images, block)
    for part in (images[:1], images[4:9]):
        at = 0 if len(part) == 1 else 4
        assert torch.equal(native.block(part, block), whole[at : at + len(part)])
    before = torch.get_num_threads()
    try:
        for threads in (2, 5, 16):  # more than there are images, too
            torch.set_num_threads(threads)
            assert torch.equal(native.block(images, block), whole)
            leaf = images.clone().requires_grad_()
            again = [gradients(native.block(leaf, block), leaf, block) for _ in range(2)]
            assert all(map(torch.equal, *again))
    finally:
        torch.set_num_threads(before)


def test_what_it_does_not_compute_it_does_not_serve() -> None:
    def changed(index: int, module: nn.Module) -> nn.Sequential:
        made = layers(32, 32, 1)
        made[index] = module
        return made

    assert native.supports(layers(32, 32, 1))
    assert native.supports(layers(3, 32, 3))
    for block in (
        changed(0, nn.Conv2d(32, 32, 5, padding=2)),
        changed(0, nn.Conv2d(32, 32, 3, padding=1, stride=2)),
        changed(0, nn.Conv2d(32, 32, 3, padding=1, groups=2)),
        changed(0, nn.Conv2d(32, 32, 3, padding=2)),
        changed(1, nn.GroupNorm(8, 32)),
        changed(1, nn.GroupNorm(32, 32, affine=False)),
        changed(1, nn.BatchNorm2d(32)),
        changed(0, nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect")),
        changed(0, nn.Conv2d(3, 32, 3)),
        changed(2, nn.GELU()),
        changed(3, nn.MaxPool2d(2)),
        changed(3, nn.AvgPool2d(3)),
        changed(3, nn.AvgPool2d(8)),
        changed(0, nn.Conv2d(3, 32, 9, padding=4)),
        changed(0, nn.Conv2d(3, 32, (3, 5), padding=1)),
        nn.Sequential(*layers(3, 32, 1), nn.ReLU()),
        nn.Sequential(*layers(3, 32, 1, relu=False)),
        changed(3, nn.AvgPool2d(2, ceil_mode=True)),
        changed(3, nn.AvgPool2d(2, divisor_override=3)),
        layers(3, 20, 1),
        layers(20, 32, 1),
        nn.Identity(),
    ):
        assert not native.supports(block)


def test_autograd_finds_no_second_derivative() -> None:
    block, images = layers(3, 32, 1), noise(2, 3, 8, 8).requires_grad_()
    output = native.block(images, block).square().sum()
    gradient = torch.autograd.grad(output, images, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# Products in bfloat16, where the processor has them


@pytest.fixture(params=["registers", "tiles"])
def in_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have words multiplied in vector registers, or in tiles of registers."""
    if not native.multiplies_bfloat16():
        pytest.skip("this processor does not multiply in bfloat16")
    if request.param == "tiles" and not building.has_tiles():
        pytest.skip("this processor has no tiles of registers, or the system keeps them")
    flags = (*building.MACHINES["AVX512"], *building.BFLOAT16, *(building.AMX if request.param == "tiles" else ()))
    exact, narrow = building.library(torch.float32), building.build(flags)
    monkeypatch.setattr(building, "library", lambda products: narrow if products == torch.bfloat16 else exact)


@pytest.mark.usefixtures("in_bfloat16")
def test_products_of_numbers_that_bfloat16_holds_are_exact() -> None:
    block = layers(64, 32, 1)
    with torch.no_grad():  # these weights are transformed to integers of few bits, as the images are
        block[0].weight.copy_(576 * torch.randint(-1, 2, (32, 64, 3, 3), generator=torch.Generator().manual_seed(2)))
    images = torch.randint(-1, 2, (7, 64, 9, 8), generator=torch.Generator().manual_seed(3)).float()
    assert torch.equal(native.block(images, block, torch.bfloat16), native.block(images, block))
    assert not torch.equal(native.block(images / 3, block, torch.bfloat16), native.block(images / 3, block))


@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize(("count", "channels", "height", "side", "after", "padding"), SHAPES)
def test_blocks_in_bfloat16_are_within_its_rounding(
    count: int, channels: int, height: int, side: int, after: int, padding: int
) -> None:
    block, images = layers(channels, after, padding), noise(count, channels, height, side).requires_grad_()
    nn.init.constant_(block[1].bias, 9.0)  # type: ignore[arg-type] # far from the kinks of the ReLU
    results = []
    for products in (torch.float32, torch.bfloat16):
        out = native.block(images, block, products)
        results.append([out.detach() - 9.0, *gradients(out, images, block)])
    for exact, rounded in zip(*results, strict=True):
        if channels < 32:  # what is convolved as it stands is in float32
            assert torch.equal(rounded, exact)
        # Both factors are rounded by up to 2⁻⁹; the transforms of F(4×4, 3×3) make that up to ten times as much.
        assert float((rounded - exact).norm()) < 2**-4 * float(exact.norm()) + 1e-4


@pytest.mark.usefixtures("in_bfloat16")
def test_a_resnetap_and_second_derivatives_in_bfloat16_are_near_those_in_float32() -> None:
    images, labels = noise(4, 3, 16, 16), torch.arange(4) % 3
    network = networks.build("resnetap10", channels=3, num_classes=3, size=(16, 16))
    networks.initialise(network, 2)
    features = []
    for products in (torch.float32, torch.bfloat16):
        assert native.swap(network, products)
        features.append(network.features(images).detach())  # type: ignore[operator]
    assert 0.0 < off(features[1], features[0]) < 0.1
    matched, changes = convnet(3, (16, 16), 2), []
    directions = {name: noise(*p.shape) for name, p in matched.named_parameters() if p.ndim > 1}
    for products in (torch.float32, torch.bfloat16):
        assert native.swap(matched, products, twice=True)
        changes.append(WeightGradient(matched, images, labels).along(directions))
    assert 0.0 < off(changes[1], changes[0]) < 0.5


# Second derivatives: how the gradient of the weights changes with the images


NETWORKS = [  # count, channels, sides, depth
    pytest.param(2, 3, (32, 32), 3, id="colour"),
    pytest.param(2, 1, (28, 28), 3, id="grey, 28 becomes 32"),
    pytest.param(5, 1, (8, 8), 2, id="digits"),
    pytest.param(2, 3, (14, 11), 2, id="odd sides"),
    pytest.param(3, 2, (2, 3), 1, id="few pixels"),
    pytest.param(1, 3, (9, 60), 3, id="one image, wide"),
]


def convnet(channels: int, sides: tuple[int, int], depth: int) -> ConvNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = ConvNet(channels, 3, sides, depth=depth, width=32)
    for block in made.blocks:
        block[1] = layers(32, 32, 1)[1]  # type: ignore[index]
    return made


def along(network: ConvNet, images: Tensor, directions: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    """By autograd: the gradients of the weights that have directions, and the images' of their product with these."""
    weights, leaf = dict(network.named_parameters()), images.clone().requires_grad_()
    loss = F.cross_entropy(network(leaf), torch.arange(len(images)) % 3)
    found = torch.autograd.grad(loss, [weights[name] for name in directions], create_graph=True)
    product = sum((g * v).sum() for g, v in zip(found, directions.values(), strict=True))
    return [one.detach() for one in found], torch.autograd.grad(product, leaf)[0]


@pytest.mark.parametrize("width", [None, 4, 8, 16])
@pytest.mark.parametrize(("count", "channels", "sides", "depth"), NETWORKS)
def test_second_derivatives_are_those_of_autograd_in_float64(
    width: int | None,
    count: int,
    channels: int,
    sides: tuple[int, int],
    depth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, images = convnet(channels, sides, depth), noise(count, channels, *sides)
    directions = {name: noise(*p.shape) for name, p in network.named_parameters() if p.ndim > 1}
    with lanes(width, monkeypatch):
        assert all(map(native.supports, network.blocks))
        found = WeightGradient(network, images, torch.arange(count) % 3)
        got = found.along(directions)
        assert torch.equal(found.along(directions), got)
    exact = {name: direction.double() for name, direction in directions.items()}
    weights, expected = along(network.double(), images.double(), exact)
    assert found.weights.keys() == directions.keys()
    for name, theirs in zip(directions, weights, strict=True):
        assert off(found.weights[name], theirs) < 3e-3  # a ReLU at its kink may fall to either side of it
    assert got.shape == images.shape
    assert off(got, expected) < 3e-3


def test_directions_may_leave_the_classifier_out() -> None:
    network, images = convnet(1, (8, 8), 2), noise(4, 1, 8, 8)
    found = WeightGradient(network, images, torch.arange(4) % 3)
    some = {name: noise(*p.shape) for name, p in found.weights.items() if p.ndim == 4}
    nothing = {"classifier.weight": torch.zeros_like(found.weights["classifier.weight"])}
    torch.testing.assert_close(found.along(some), found.along(some | nothing), rtol=1e-5, atol=1e-6)
    assert off(found.along(some), along(network.double(), images.double(), some)[1]) < 3e-3


def test_second_derivatives_do_not_depend_on_the_threads() -> None:
    network, images = convnet(3, (16, 16), 2), noise(7, 3, 16, 16)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 5, 16):
            torch.set_num_threads(threads)
            found = WeightGradient(network, images, torch.arange(7) % 3)
            results.append(found.along({name: noise(*p.shape) for name, p in found.weights.items()}))
    finally:
        torch.set_num_threads(before)
    assert all(off(other, results[0]) < 1e-5 for other in results[1:])


# In the package


def encoder(**execution: object) -> Encoder:
    network = networks.build("convnet2", channels=1, num_classes=3, size=(16, 16))
    engine = Engine(Execution(**{"device": "cpu", "compile": "no", "precision": "float32"} | execution))  # type: ignore[arg-type]
    made = Encoder(engine.place(network, torch.zeros(1, 1, 16, 16), 0))
    made.refill(5)
    return made


def placed(name: str, stacked: bool = False, twice: bool = False, **execution: object) -> Placed:
    network = networks.build(name, channels=3, num_classes=3, size=(32, 32))
    engine = Engine(Execution(**{"device": "cpu"} | execution))  # type: ignore[arg-type]
    return engine.place(network, torch.zeros(1, 3, 32, 32), 0, stacked=stacked, twice=twice)


def test_the_engine_takes_it_where_it_serves_and_it_is_wanted() -> None:
    assert placed("convnet").native
    assert placed("convnet", precision="float32").native
    assert not placed("convnet", native=False).native
    half = torch.bfloat16 if native.multiplies_bfloat16() else None
    assert placed("convnet", precision="bfloat16").native == half
    assert not placed("convnet", precision="tf32").native
    assert not placed("convnet", stacked=True).native
    assert placed("resnetap10").native
    assert placed("convnet", twice=True).native
    assert not placed("resnetap10", twice=True).native
    for name in ("convnet-batch", "convnet-group", "resnetap10-batch", "resnet10", "densenet121"):
        assert not placed(name).native


def test_a_network_that_runs_natively_says_so() -> None:
    used = placed("convnet", compile="yes")
    assert (used.native, used.compiled, used.reason) == (torch.float32, False, "native blocks in float32")
    assert used.arithmetic == "native"
    assert used.numerics.startswith("native blocks on cpu")
    assert used.describe().endswith("threads, float32")  # whatever torch's own side would compute in
    assert placed("convnet", native=False, precision="bfloat16").arithmetic == "torch.bfloat16"
    if native.multiplies_bfloat16():
        half = placed("convnet", precision="bfloat16")
        assert (half.reason, half.arithmetic) == ("native blocks in bfloat16", "native in bfloat16")
        assert half.numerics.startswith("native blocks in bfloat16 on cpu")
        assert half.describe().endswith("threads, bfloat16")
        assert half.kept == torch.float32


@pytest.mark.parametrize("name", ["convnet2", "resnetap10"])
def test_swapping_keeps_the_layers_and_their_names_and_can_be_taken_back(name: str) -> None:
    network = networks.build(name, channels=1, num_classes=3, size=(16, 16))
    layers, names, image = [*network.modules()], [*network.state_dict()], torch.zeros(1, 1, 16, 16)
    used = Engine(Execution(device="cpu")).place(network, image, 0)
    assert used.network is network
    assert [*network.state_dict()] == names
    kept = [module for module in network.modules() if not isinstance(module, nn.Sequential)]
    assert kept == [module for module in layers if not isinstance(module, nn.Sequential)]
    assert not Engine(Execution(device="cpu", native=False)).place(network, image, 0).native  # the last word counts
    assert [type(module) for module in network.modules()] == [type(module) for module in layers]


@pytest.mark.parametrize("side", [16, 80])  # a stem of 3×3; of 7×7 with pooling of 4×4
def test_a_resnetap_gives_the_same_through_it(side: int) -> None:
    network = networks.build("resnetap10", channels=3, num_classes=3, size=(side, side))
    networks.initialise(network, 2)
    exact = copy.deepcopy(network).double()
    assert native.swap(network, torch.float32)
    assert sum(len(part._blocks) for part in network.modules() if isinstance(part, native.NativeSequence)) == 9
    results = []
    for used, dtype in ((network, torch.float32), (exact, torch.float64)):
        images = noise(3, 3, side, side).to(dtype).requires_grad_()
        logits = used(images)
        F.cross_entropy(logits, torch.arange(3)).backward()
        assert images.grad is not None
        results.append([logits.detach(), images.grad, *(part.grad for part in used.parameters())])
    assert off(results[0][0], results[1][0]) < 1e-4
    for mine, theirs in zip(results[0], results[1], strict=True):
        assert off(mine, theirs) < 2e-2  # a ReLU at its kink may fall to either side of it


def test_what_is_not_built_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    made, build = networks.build("convnet2", channels=1, num_classes=3, size=(16, 16)), building.library
    monkeypatch.setattr(building, "library", lambda products: build(products) if products == torch.float32 else None)
    assert native.swap(made, torch.bfloat16) is None  # an old compiler knows no bfloat16
    assert not any(isinstance(part, native.NativeSequence) for part in made.modules())
    assert native.swap(made, torch.float32) == torch.float32


def test_networks_of_others_are_left_as_they_are() -> None:
    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = layers(3, 32, 1)

    network = Theirs()
    assert not native.swap(network, torch.float32)
    assert type(network.body) is nn.Sequential


def test_weights_in_other_precisions_run_in_torch() -> None:
    used = encoder()
    images = noise(2, 3, 1, 16, 16)
    exact = used.network.double().features(images[0].double())
    assert exact.dtype == torch.float64
    assert off(encoder().features(images)[0], exact) < 1e-5


@pytest.mark.parametrize("name", ["mmd", "layers", "attention", "gradient-mse", "gradient-cosine", "gradient-l1"])
def test_objectives_see_the_same_through_it(name: str) -> None:
    results = []
    for used in (encoder(), encoder(native=False)):
        real, synthetic = noise(3, 6, 1, 16, 16), noise(3, 4, 1, 16, 16).requires_grad_()
        views = View(used, real, range(3), graph=False), View(used, synthetic, range(3), graph=True)
        loss = objective_named(name, cross_entropy=0.1)(*views)
        loss.sum().backward()
        results.append((loss.detach(), synthetic.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    assert results[0][1] is not None
    assert results[1][1] is not None
    assert off(results[0][1], results[1][1]) < 5e-3


@pytest.mark.parametrize("name", ["convnet2", "resnetap10"])
def test_maps_before_pooling_come_from_it_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks.build(name, channels=3, num_classes=3, size=(16, 16))
    images = noise(2, 3, 16, 16)
    expected = network.maps(images)  # type: ignore[operator]
    called, block = [], native.block
    monkeypatch.setattr(native, "block", lambda *given: (called.append(0), block(*given))[1])
    assert native.swap(network, torch.float32)
    found = network.maps(images)  # type: ignore[operator]
    assert len(called) == sum(
        len(part._blocks) for part in network.modules() if isinstance(part, native.NativeSequence)
    )
    assert [one.shape for one in found] == [one.shape for one in expected]
    assert all(off(one, other) < 1e-4 for one, other in zip(found, expected, strict=True))


def test_gradient_matching_needs_no_compiler_beside_it(digits: ImageDataset) -> None:
    recipe = methods.recipe("idc", "paper", ipc=10, side=8, overrides={})
    for wanted in (True, False):
        run = begin(digits, recipe, Engine(Execution(device="cpu", precision="float32", native=wanted)))
        assert run.plan.placed.compiled != wanted


def test_what_a_compiler_is_reckoned_to_be_worth_counts_both_kinds_of_images(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    original = Engine.place

    def place(engine: Engine, network: nn.Module, image: Tensor, images: float, **others: bool) -> Placed:
        asked.append(images)
        return original(engine, network, image, images, **others)

    monkeypatch.setattr(Engine, "place", place)
    recipe = methods.recipe("idc", "quick", ipc=2, side=8, overrides={"iterations": 7})
    begin(digits, recipe, Engine(Execution(device="cpu", precision="float32", native=False, compile="no")))
    synthetic, real = 7 * 10 * 2 * 3, 7 * 10 * recipe.batch_real  # steps, classes, images a class, passes
    assert asked[0] == synthetic + real + 7 * recipe.encoder_steps * recipe.encoder_batch


def test_training_goes_the_same_way_through_it(digits: ImageDataset) -> None:
    ends, accuracies = [], []
    training = protocol("quick").adapted(Problem(ipc=10, side=8, mirrored=False), epochs=6)
    for wanted in (True, False):
        network = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
        engine = Engine(Execution(device="cpu", native=wanted, compile="no", precision="float32"))
        used = engine.place(network, torch.zeros(1, 1, 8, 8), 0)
        trainer = Trainer(used, training.training, digits.mean, digits.std)
        some = digits.train.images[:200], digits.train.labels[:200]
        trainer.fit([some], [3], 24, Reporter("", 24, 0, "steps"))
        assert bool(used.native) == wanted
        ends.append(torch.cat([p.detach().flatten() for n, p in network.named_parameters() if n != "blocks.0.0.bias"]))
        accuracies.append(trainer.accuracies(digits.test.images, digits.test.labels)[0])
    assert off(ends[0], ends[1]) < 0.01
    assert abs(accuracies[0] - accuracies[1]) < 2


# Where it cannot be kept


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / "cache"))
    built = building.build(("-O0",))
    assert isinstance(built, ctypes.CDLL)
    assert built.panel() > 0
