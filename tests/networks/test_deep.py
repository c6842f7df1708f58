"""ResNet, ResNetAP and DenseNet against totals known or computed by hand, and against their blocks written out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.networks.densenet import DenseNet
from m3d_condense.networks.resnet import ResNet
from m3d_condense.tools.errors import UserError

DEEP = {"resnet10": 512, "resnet18": 512, "resnetap10": 512, "densenet121": 1024}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def net(name: str, side: int = 8, channels: int = 3) -> nn.Module:
    network = networks.build(name, channels=channels, num_classes=5, size=(side, side))
    networks.initialise(network, 0)
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (8, 3), (28, 1), (32, 3), (64, 1), (96, 3)])
def test_shapes_and_that_logits_are_the_classifier_of_the_features(name: str, side: int, channels: int) -> None:
    network = net(name, side, channels)
    images = noise(2, channels, side, side)
    features = network.features(images)  # type: ignore[operator]
    assert features.shape == (2, network.feature_size) == (2, DEEP[name])
    assert (features[0] - features[1]).abs().max() > 1e-2  # the images are not normalised away
    logits = network(images)
    assert logits.shape == (2, 5)
    assert torch.equal(network.classifier(features), logits)  # type: ignore[operator]


@torch.no_grad()
def test_shapes_at_224_and_where_sides_differ() -> None:
    assert net("resnetap10", 224)(noise(1, 3, 224, 224)).shape == (1, 5)
    for name in DEEP:
        network = networks.build(name, channels=1, num_classes=5, size=(9, 40))
        assert network(noise(2, 1, 9, 40)).shape == (2, 5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "sides"),
    [
        (
            "resnet10",
            {8: [8, 4, 2, 2], 28: [28, 14, 7, 4], 32: [32, 16, 8, 4], 96: [24, 12, 6, 3], 224: [56, 28, 14, 7]},
        ),
        ("resnetap10", {8: [8, 4, 2, 2], 28: [28, 14, 7, 3], 64: [64, 32, 16, 8], 224: [56, 28, 14, 7]}),
        ("densenet121", {8: [4, 2, 2, 2], 32: [16, 8, 4, 4], 96: [12, 6, 3, 3]}),
    ],
)
def test_the_sides_of_the_maps(name: str, sides: dict[int, list[int]]) -> None:
    for side, expected in sides.items():
        network, seen = net(name, side, 1), []
        for block in network.blocks:  # type: ignore[union-attr]
            block.register_forward_hook(lambda *given, seen=seen: seen.append(given[2].shape[-1]))
        network(noise(1, 1, side, side))
        assert seen == expected


@pytest.mark.parametrize("name", DEEP)
def test_images_of_one_row_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"network={name}: images of 1×8 are too small"):
        networks.build(name, channels=3, num_classes=5, size=(1, 8))


def test_known_totals_of_the_imagenet_forms() -> None:
    assert count(ResNet(3, 1000, (224, 224), layers=(2, 2, 2, 2), norm="batch")) == 11_689_512
    assert count(DenseNet(3, 1000, (224, 224), norm="batch")) == 7_978_856


def test_counts_of_the_small_forms() -> None:
    def block(before: int, after: int) -> int:
        shortcut = before * after + 2 * after if before != after else 0
        return 9 * before * after + 9 * after * after + 4 * after + shortcut

    blocks = block(64, 64) + block(64, 128) + block(128, 256) + block(256, 512)
    for channels in (1, 3):
        small = 9 * channels * 64 + 2 * 64 + blocks + 513 * 5
        assert count(net("resnet10", 32, channels)) == count(net("resnetap10", 64, channels)) == small
        assert count(net("resnetap10", 224, channels)) == small + (49 - 9) * channels * 64
    again = sum(block(width, width) for width in (64, 128, 256, 512))
    assert count(net("resnet18", 32)) == count(net("resnet10", 32)) + again
    # DenseNet: the stem's 7×7 becomes 3×3 and its norm goes; 1,000 classes become 5.
    assert count(net("densenet121", 32)) == 7_978_856 - 40 * 3 * 64 - 2 * 64 - 1025 * 995


def test_the_networks_of_public_code_have_the_weights_it_counts() -> None:
    # "resnet10" and "densenet" of the tables of IDC and after, on CIFAR-10.
    widths = (32, 64, 128, 256)
    blocks = 0
    for before, after in zip((32, *widths), widths, strict=False):
        shortcut = before * after + 2 * after if before != after else 0
        blocks += 9 * before * after + 9 * after * after + 4 * after + shortcut
    narrow = networks.build("resnet10-width32-batch", channels=3, num_classes=10, size=(32, 32))
    assert count(narrow) == 9 * 3 * 32 + 2 * 32 + blocks + 257 * 10 == 1_228_970
    growth = networks.build("densenet121-growth12-batch", channels=3, num_classes=10, size=(32, 32))
    assert count(growth) == 1_000_618
    for network, features in ((narrow, 256), (growth, 384)):
        assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert network.features(noise(2, 3, 32, 32)).shape == (2, features)  # type: ignore[operator]


def normed(maps: Tensor, parameters: Iterator[Tensor]) -> Tensor:
    mean, variance = maps.mean((2, 3), keepdim=True), maps.var((2, 3), unbiased=False, keepdim=True)
    gain, offset = next(parameters), next(parameters)
    return (maps - mean) / (variance + 1e-5).sqrt() * gain.view(-1, 1, 1) + offset.view(-1, 1, 1)


def shaken(network: nn.Module) -> nn.Module:
    with torch.no_grad():  # so that no gain is one and no offset zero
        for index, parameter in enumerate(network.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    return network


@torch.no_grad()
@pytest.mark.parametrize("pooled", [False, True])
def test_resnet_equals_its_blocks_written_out(pooled: bool) -> None:
    network = shaken(net("resnetap10" if pooled else "resnet10", 16, 1))
    images = noise(2, 1, 16, 16)
    parameters = network.parameters()

    def smaller(maps: Tensor, kernel: int, stride: int) -> Tensor:
        weight = next(parameters)
        if not pooled:
            return F.conv2d(maps, weight, stride=stride, padding=kernel // 2)
        return F.conv2d(maps, weight, padding=kernel // 2)

    x = normed(F.conv2d(images, next(parameters), padding=1), parameters).relu()
    for stride in (1, 2, 2, 2):
        pool = stride if pooled else 1
        y = F.avg_pool2d(normed(smaller(x, 3, stride), parameters).relu(), pool)
        y = normed(F.conv2d(y, next(parameters), padding=1), parameters)
        if stride == 2:
            x = normed(F.avg_pool2d(smaller(x, 1, stride), pool), parameters)
        x = (x + y).relu()
    assert x.shape[-1] == 2
    features = x.flatten(2).mean(2)
    torch.testing.assert_close(network.features(images), features, rtol=1e-4, atol=1e-4)  # type: ignore[operator]
    weight, bias = parameters
    torch.testing.assert_close(network(images), features @ weight.T + bias, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_densenet_equals_its_blocks_written_out() -> None:
    network = shaken(net("densenet121", 8, 1)).double()  # 120 layers add up what rounding does
    images = noise(2, 1, 8, 8).double()
    parameters = network.parameters()
    x = F.conv2d(images, next(parameters), padding=1)
    for index, layers in enumerate((6, 12, 24, 16)):
        for _ in range(layers):
            y = F.conv2d(normed(x, parameters).relu(), next(parameters))
            assert y.shape[1] == 128
            x = torch.cat((x, F.conv2d(normed(y, parameters).relu(), next(parameters), padding=1)), 1)
        x = normed(x, parameters).relu()
        if index < 3:
            x = F.conv2d(x, next(parameters))
            x = F.avg_pool2d(x, 2) if index < 2 else x
    torch.testing.assert_close(network.features(images), x.flatten(2).mean(2))  # type: ignore[operator]


@torch.no_grad()
@pytest.mark.parametrize("name", [*DEEP, "resnet10-group"])
def test_no_term_crosses_images(name: str) -> None:
    # Norms of 2×2 maps magnify rounding from layer to layer, hence double precision.
    network, images = net(name).train().double(), noise(3, 3, 8, 8).double()
    together = network.features(images)  # type: ignore[operator]
    alone = torch.cat([network.features(image.unsqueeze(0)) for image in images])  # type: ignore[operator]
    torch.testing.assert_close(together, alone)
    assert not networks.mixes_images(network)


@pytest.mark.parametrize("name", DEEP)
def test_gradients_reach_every_pixel(name: str) -> None:
    network, images = net(name).train(), noise(2, 3, 8, 8).requires_grad_()
    (network.features(images) * noise(2, DEEP[name])).sum().backward()  # type: ignore[operator]
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad != 0).float().mean() > 0.99


@pytest.mark.parametrize("name", ["resnetap10-batch", "densenet121"])
def test_refilling_is_a_function_of_the_seed_and_leaves_the_global_state(name: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second = net(name), net(name)
    shaken(first)
    networks.initialise(first, 3)
    networks.initialise(second, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    networks.initialise(second, 4)
    convolutions = zip(first.modules(), second.modules(), strict=True)
    assert not any(torch.equal(a.weight, b.weight) for a, b in convolutions if isinstance(a, nn.Conv2d))


def test_refilling_clears_running_statistics() -> None:
    network = net("resnet10-batch").train()
    network(noise(4, 3, 8, 8) + 5)
    networks.initialise(network, 0)
    assert all(not b.any() for name, b in network.named_buffers() if name.endswith(("mean", "tracked")))


def test_convolutions_are_he_normal() -> None:
    for module in net("resnet10", 32).modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            expected = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.1)
            inside = (module.weight.detach().abs() < expected).float().mean()
            assert float(inside) == pytest.approx(0.683, abs=0.03)  # of a normal distribution, not a uniform one


@pytest.mark.parametrize("name", ["convnet", *DEEP])
def test_a_seed_makes_the_same_weights_in_either_memory_format(name: str) -> None:
    usual, last = net(name), net(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks.initialise(last, 0)
    for one, other in zip(usual.parameters(), last.parameters(), strict=True):
        assert torch.equal(one, other)
