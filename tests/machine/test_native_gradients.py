"""Second derivatives by native blocks: how the gradient of the weights changes with the images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from native_blocks import convnet, lanes, noise, off
from torch import Tensor

from m3d_condense.machine import native
from m3d_condense.machine.native.gradients import WeightGradient
from m3d_condense.networks.convnet import ConvNet

pytestmark = pytest.mark.usefixtures("native_code")

NETWORKS = [  # count, channels, sides, depth
    pytest.param(2, 3, (32, 32), 3, id="colour"),
    pytest.param(2, 1, (28, 28), 3, id="grey, 28 becomes 32"),
    pytest.param(5, 1, (8, 8), 2, id="digits"),
    pytest.param(2, 3, (14, 11), 2, id="odd sides"),
    pytest.param(3, 2, (2, 3), 1, id="few pixels"),
    pytest.param(1, 3, (9, 60), 3, id="one image, wide"),
]


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
