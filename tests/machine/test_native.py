"""The native block computes what the formulae say, in every width, and what it does not compute it does not serve."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from native_blocks import SHAPES, gradients, lanes, layers, noise, off
from torch import Tensor, nn

from m3d_condense.machine import native

pytestmark = pytest.mark.usefixtures("native_code")

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
