from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.networks.convnet import ConvNet
from m3d_condense.networks.layers import norm_layer
from m3d_condense.tools.errors import UserError


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def net(size: tuple[int, int] = (8, 8), channels: int = 3, name: str = "convnet") -> nn.Module:
    return networks.build(name, channels=channels, num_classes=5, size=size)


def test_natural_depth() -> None:
    sides = {2: 1, 4: 1, 8: 1, 16: 2, 28: 3, 32: 3, 64: 4, 128: 5, 224: 5, 256: 6}
    assert {side: networks.natural_depth((side, side)) for side in sides} == sides
    assert networks.natural_depth((64, 32)) == 3  # the smaller side counts


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "features"), [(8, 2048), (28, 2048), (32, 2048), (64, 2048)])
def test_shapes(channels: int, side: int, features: int) -> None:
    network = net((side, side), channels)
    images = noise(2, channels, side, side)
    assert network.features(images).shape == (2, features)  # type: ignore[operator]
    assert network.feature_size == features
    assert network(images).shape == (2, 5)


def test_sides_that_differ() -> None:
    network = net((12, 20))
    assert network.features(noise(2, 3, 12, 20)).shape == (2, network.feature_size) == (2, 128 * 3 * 5)  # type: ignore[operator]


@pytest.mark.parametrize(("side", "padding"), [(28, 3), (32, 1)])
def test_28_becomes_32_in_the_first_convolution_only(side: int, padding: int) -> None:
    network = net((side, side), 1, "convnet3")
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [c.padding[0] for c in convolutions] == [padding, 1, 1]
    assert convolutions[0](noise(1, 1, side, side)).shape == (1, 128, 32, 32)
    assert network.feature_size == 2048


def test_convnet3_is_the_fields() -> None:
    network = net((32, 32), 3, "convnet3")
    weights = sum(p.numel() for p in network.parameters())
    convolutions = (3 * 9 + 1) * 128 + 2 * (128 * 9 + 1) * 128
    assert weights == convolutions + 3 * 2 * 128 + (2048 + 1) * 5
    kinds = [type(module).__name__ for module in network.blocks[0]]  # type: ignore[union-attr, arg-type]
    assert kinds == ["Conv2d", "GroupNorm", "ReLU", "AvgPool2d"]


def test_forward_equals_the_blocks_written_out() -> None:
    network = net((8, 8), 1, "convnet2").eval()
    x = images = noise(3, 1, 8, 8)
    parameters = iter(network.parameters())
    for _ in range(2):
        weight, bias, gain, offset = (next(parameters) for _ in range(4))
        x = nn.functional.conv2d(x, weight, bias, padding=1)
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt() * gain.view(-1, 1, 1) + offset.view(-1, 1, 1)
        x = x.clamp_min(0)
        x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(network.features(images), x.flatten(1), rtol=1e-4, atol=1e-5)  # type: ignore[operator]
    weight, bias = parameters
    torch.testing.assert_close(network(images), x.flatten(1) @ weight.T + bias, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_no_term_crosses_images() -> None:
    network = net((16, 16)).train()
    images = noise(6, 3, 16, 16)
    together = network.features(images)  # type: ignore[operator]
    alone = torch.cat([network.features(image.unsqueeze(0)) for image in images])  # type: ignore[operator]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    images[0] *= 100
    torch.testing.assert_close(network.features(images)[1:], together[1:], rtol=1e-5, atol=1e-5)  # type: ignore[operator]


def test_initialise_is_a_function_of_the_seed() -> None:
    first, second = net(), net()
    networks.initialise(first, 3)
    networks.initialise(second, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    networks.initialise(second, 4)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        constant = ".1." in name  # the norms start at one and zero
        assert torch.equal(a, b) == constant, name


def test_initialise_clears_what_training_left() -> None:
    trained, fresh = net(), net()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    networks.initialise(trained, 3)
    networks.initialise(fresh, 3)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), fresh.parameters(), strict=True))


def test_initialise_leaves_the_global_random_state() -> None:
    network = net()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    networks.initialise(network, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_initialise_is_pytorchs_default() -> None:
    refilled = net((16, 16))
    networks.initialise(refilled, 7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        built = net((16, 16))
    for (name, a), b in zip(refilled.named_parameters(), built.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_initialise_keeps_the_tensors_in_place() -> None:
    network = net()
    before = [p.data_ptr() for p in network.parameters()]
    networks.initialise(network, 1)
    assert [p.data_ptr() for p in network.parameters()] == before  # a compiled graph holds on to them


@pytest.mark.parametrize("name", ["convnet4", "ConvNet4"])
def test_images_too_small_for_the_depth_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"network={name}: images of 8×8 are too small for a ConvNet of depth 4"):
        net((8, 8), name=name)
    assert net((16, 16), name=name).feature_size == 128


@pytest.mark.parametrize(
    "name",
    [
        *("resnet", "convnetx", "convnet-3", "densenet", "resnet10-", "resnet10-batch-group", ""),
        *("resnet10-width", "resnet10-width0", "resnet10-batch-width32", "resnet10-growth12", "densenet121-width12"),
        *("resnet10-width32-", "resnet10-width32-width64"),
    ],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="unknown network"):
        net(name=name)


def test_an_unknown_name_is_told_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        net(name="ResNet20")
    message = str(raised.value)
    assert "did you mean resnet10" in message
    assert all(name in message for name in networks.NAMES)
    assert "module:callable" in message
    with pytest.raises(UserError, match="'resnet10-layer': its norm may be instance, group, batch, none"):
        net(name="resnet10-layer")
    with pytest.raises(UserError) as raised:
        net(name="transformer")
    assert "did you mean" not in str(raised.value)


def test_a_width_may_follow_a_name() -> None:
    assert net(name="convnet1-width16").feature_size == 16 * 4 * 4
    assert net(name="ResNet10-Width8").feature_size == 8 * 8
    assert any(isinstance(module, nn.BatchNorm2d) for module in net(name="convnet1-width16-batch").modules())


@pytest.mark.parametrize("name", networks.NAMES)
def test_every_name_builds_and_takes_a_norm(name: str) -> None:
    def norms(suffix: str) -> set[tuple[type, bool]]:
        modules = net(name=name + suffix).modules()
        kinds = (nn.GroupNorm, nn.BatchNorm2d)
        return {(type(m), getattr(m, "num_groups", 0) == getattr(m, "num_channels", 1)) for m in modules
                if isinstance(m, kinds)}  # fmt: skip

    assert norms("") == norms("-instance") == {(nn.GroupNorm, True)}
    assert norms("-batch") == {(nn.BatchNorm2d, False)}
    assert (nn.GroupNorm, False) in norms("-group")


def test_mixes_images_is_about_batch_statistics() -> None:
    assert not networks.mixes_images(net(name="convnet1").train())
    assert not networks.mixes_images(net(name="convnet1-group").train())
    network = net(name="convnet1-batch").train()
    assert networks.mixes_images(network)
    assert not networks.mixes_images(network.eval())
    assert networks.mixes_images(nn.BatchNorm2d(3, track_running_stats=False).eval())


def test_a_network_of_no_depth_is_refused() -> None:
    with pytest.raises(UserError):
        net(name="convnet0")


def test_norms_by_name() -> None:
    assert norm_layer("group", 16).num_groups == 16
    assert norm_layer("group", 128).num_groups == 32
    assert isinstance(norm_layer("batch", 8), nn.BatchNorm2d)
    assert isinstance(norm_layer("none", 8), nn.Identity)
    with pytest.raises(ValueError, match="unknown norm 'layer'"):
        norm_layer("layer", 8)
    assert ConvNet(1, 2, (8, 8), depth=1, width=4, norm="none")(noise(2, 1, 8, 8)).shape == (2, 2)


def test_networks_that_threads_draw_at_once_follow_from_their_seeds() -> None:
    def drawn(seed: int, times: int) -> set[bytes]:
        network, found = net(name="convnet2-width8"), set()
        for _ in range(times):
            networks.initialise(network, seed)
            found.add(b"".join(parameter.detach().numpy().tobytes() for parameter in network.parameters()))
        return found

    expected = [drawn(seed, 1) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(lambda seed: drawn(seed, 100), range(3))] == expected
