"""Products in bfloat16, where the processor has them: in vector registers, and in tiles of registers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest
import torch
from native_blocks import SHAPES, convnet, gradients, layers, noise, off
from torch import nn

from m3d_condense import networks
from m3d_condense.machine import native
from m3d_condense.machine.native import building
from m3d_condense.machine.native.gradients import WeightGradient

pytestmark = pytest.mark.usefixtures("native_code")


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


def test_a_compiler_that_knows_no_tiles_makes_code_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(flags: Sequence[str]) -> Sequence[str]:
        if set(building.AMX) <= set(flags):
            raise subprocess.CalledProcessError(1, "c++")
        return flags

    monkeypatch.setattr(building, "build", build)
    monkeypatch.setattr(building, "has_tiles", lambda: True)
    made = building.library.__wrapped__
    assert tuple(made(torch.bfloat16))[-len(building.BFLOAT16) :] == building.BFLOAT16
    assert not set(building.BFLOAT16) & set(made(torch.float32))
