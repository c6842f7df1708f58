"""Networks by ``module:callable`` and ``timm:NAME``."""

from __future__ import annotations

import copy
import importlib
import linecache
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.condensing.condensation import condense, recipe_for
from m3d_condense.condensing.run import begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.networks.trying import fewest_images
from m3d_condense.scoring import evaluate
from m3d_condense.studies.comparison import compare
from m3d_condense.tools.errors import UserError

USER = '''
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

class Plain(nn.Module):
    """No features; a parameter that no reset_parameters knows of."""
    def __init__(self, channels, num_classes, size):
        super().__init__()
        self.size = size
        self.scale = nn.Parameter(torch.randn(()))
        self.hidden = nn.Linear(channels * size[0] * size[1], 7)
        self.norm = nn.BatchNorm1d(7)
        self.head = nn.Linear(7, num_classes)
    def forward(self, images):
        return self.head(self.norm(self.hidden(images.flatten(1) * self.scale)).relu())

class Own(Plain):
    def features(self, images):
        return self.hidden(images.flatten(1))

class Vgg(nn.Module):
    """`features` is a submodule, and gives maps."""
    def __init__(self, channels, num_classes, size):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU())
        self.head = nn.LazyLinear(num_classes)
    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))

class Flat(Own):
    def features(self, images):
        return images

def same(made=[], **shape):
    made[:] = made or [Plain(**shape)]
    return made[0]

def convolutional(channels, num_classes, size):
    return nn.Sequential(nn.Conv2d(channels, num_classes, size), nn.Flatten())

def tokens(channels, num_classes, size):
    return nn.Sequential(nn.Flatten(2), nn.Linear(size[0] * size[1], num_classes), nn.Flatten(),
                         nn.LazyLinear(num_classes), nn.Unflatten(1, (num_classes, 1)),
                         nn.Linear(1, 1), nn.Flatten())

def two_classes(channels, num_classes, size):
    return Plain(channels, 2, size)

def pair(channels, num_classes, size):
    class Pair(Plain):
        def forward(self, images):
            return super().forward(images), images
    return Pair(channels, num_classes, size)

class Auxiliary(Plain):
    """As GoogLeNet: more than the logits, in training."""
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits

class Scattered(Own):
    """Other features in training."""
    def features(self, images):
        return images if self.training else super().features(images)

class Counting(Plain):
    """An instance norm that keeps statistics, of one pixel: it fails in training, whatever the batch."""
    def __init__(self, channels, num_classes, size):
        super().__init__(channels, num_classes, size)
        self.single = nn.InstanceNorm1d(7, track_running_stats=True)
    def forward(self, images):
        hidden = self.hidden(images.flatten(1))
        return self.head(self.single(hidden.unsqueeze(2)).squeeze(2))

class Squeezed(Own):
    def forward(self, images):
        return self.head(self.hidden(images.flatten(1))).squeeze()

class Cut(Own):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)

class Random(nn.Module):
    """Draws in training, and keeps statistics of what it sees that are no part of its state."""
    def __init__(self, channels, num_classes, size):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.norm, self.drop = nn.BatchNorm2d(channels), nn.Dropout()
        self.head = nn.Linear(channels * size[0] * size[1], num_classes)
    def forward(self, images):
        if self.training:
            self.seen = self.seen + len(images)
        return self.head(self.drop(self.norm(images)).flatten(1))

class Dropping(Plain):
    def forward(self, images):
        return self.head(F.dropout(self.hidden(images.flatten(1))))

class ByNumPy(Plain):
    def __init__(self, channels, num_classes, size):
        super().__init__(channels, num_classes, size)
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(np.random.randn(num_classes)))

class DroppingLogits(Own):
    def forward(self, images):
        return F.dropout(self.head(self.features(images)))

def frozen(**shape):
    return Plain(**shape).requires_grad_(False)

def half_frozen(**shape):
    network = Plain(**shape)
    network.hidden.requires_grad_(False)
    return network

def not_a_network(**shape):
    return "resnet"

def wrong_arguments(width):
    return nn.Linear(width, 1)

def broken(channels, num_classes, size):
    return Plain(channels, num_classes, (3, 3))

def leaves(**shape):
    raise SystemExit("done")

number = 3
'''


DRAWING: dict[str, Any] = {
    **{"ipc": 2, "factor": 1, "iterations": 3, "batch_real": 8},
    **{"encoder_steps": 2, "encoder_batch": 8, "encoder_count": 1, "iterations_per_model": 2},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets.py").write_text(USER)
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "badnets.py").write_text("import no_such_module_here\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mynets", raising=False)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def net(name: str) -> nn.Module:
    return networks.build(name, channels=3, num_classes=5, size=(8, 6))


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_features_are_what_the_last_linear_layer_is_given() -> None:
    network = net("mynets:Plain").eval()
    images = noise(4, 3, 8, 6)
    features = network.features(images)  # type: ignore[operator]
    assert features.shape == (4, network.feature_size) == (4, 7)
    inner = network.network
    expected = inner.norm(inner.hidden(images.flatten(1) * inner.scale)).relu()  # type: ignore[operator, union-attr]
    assert torch.equal(features, expected)
    assert torch.equal(inner.head(features), network(images))  # type: ignore[operator, union-attr]


def test_features_of_its_own_are_used_unless_they_are_a_submodule() -> None:
    images = noise(4, 3, 8, 6)
    own = net("mynets:Own")
    assert torch.equal(own.features(images), own.network.hidden(images.flatten(1)))  # type: ignore[operator, union-attr]
    vgg = net("mynets:Vgg")
    maps = vgg.network.features(images)  # type: ignore[operator, union-attr]
    assert torch.equal(vgg.features(images), maps.mean((2, 3)))  # type: ignore[operator]


def test_gradients_reach_the_images_and_the_weights() -> None:
    network, images = net("mynets:Plain"), noise(4, 3, 8, 6).requires_grad_()
    network.features(images).square().sum().backward()  # type: ignore[operator]
    assert images.grad is not None
    assert images.grad.abs().min() > 0
    assert network.network.hidden.weight.grad.abs().max() > 0  # type: ignore[union-attr]
    assert network.network.head.weight.grad is None  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["mynets:Plain", "mynets:Vgg"])
def test_refilling_is_the_users_own_initialisation_by_the_seed_alone_in_place(name: str) -> None:
    first, second = net(name), net(name)
    before = [p.data_ptr() for p in first.parameters()]
    first.train()(noise(4, 3, 8, 6))  # moves running statistics
    state = torch.get_rng_state()
    for network in (first, second):
        networks.initialise(network, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, second)
    assert [p.data_ptr() for p in first.parameters()] == before
    networks.initialise(second, 4)
    assert not any(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True) if a.ndim > 1
    )
    if name == "mynets:Plain":
        assert first.network.scale != second.network.scale  # type: ignore[union-attr]


def test_a_copy_has_features_of_its_own() -> None:
    first = net("mynets:Plain").eval()
    second = copy.deepcopy(first)
    networks.initialise(second, 3)
    images = noise(2, 3, 8, 6)
    assert not torch.equal(first.features(images), second.features(images))  # type: ignore[operator]
    networks.initialise(first, 3)
    assert torch.equal(first.features(images), second.features(images))  # type: ignore[operator]


def test_it_stands_in_training_mode_and_batch_statistics_are_seen() -> None:
    assert networks.mixes_images(net("mynets:Plain"))
    assert not networks.mixes_images(net("mynets:Vgg"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leaving:Plain", "cannot be imported as module:callable: SystemExit: 0"),
        ("mynets:leaves", "on images 2×3×8×6: SystemExit: done"),
        ("nonets:Plain", "cannot be imported as module:callable: ModuleNotFoundError: No module named 'nonets'"),
        ("badnets:Plain", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("mynets:Nothing", "AttributeError.*Nothing"),
        ("mynets:", "cannot be imported"),
        (":Plain", "cannot be imported"),
        ("mynets:number", "number is not callable, but int"),
        ("mynets:not_a_network", "must return an nn.Module, not str"),
        ("mynets:wrong_arguments", "TypeError.*channels"),
        ("mynets:two_classes", "must return logits of 2×5 for images 2×3×8×6, not 2×2"),
        ("mynets:pair", "must return logits of 2×5 for images 2×3×8×6, not tuple"),
        ("mynets:broken", "on images 2×3×8×6: RuntimeError"),
        ("mynets:convolutional", "calls no nn.Linear.*features"),
        ("mynets:tokens", "features must be N×D, but for images 2×3×8×6 they are 2×5×1"),
        ("mynets:Flat", "features must be N×D, but for images 2×3×8×6 they are 2×3×8×6"),
        ("mynets:Auxiliary", "in training mode its forward must return logits of 2×5 .*, not tuple"),
        ("mynets:Scattered", "in training mode features must be N×D, but for images 2×3×8×6 they are 2×3×8×6"),
        ("mynets:Counting", "in training mode on images 2×3×8×6: ValueError: Expected more than 1 spatial"),
        ("mynets:Squeezed", "must return logits of 1×5 for images 1×3×8×6, not 5"),
        ("mynets:Cut", "cuts gradients off"),
        ("mynets:Dropping", "at rest, after eval.*, its output differs from call to call.*training=self.training"),
        ("mynets:ByNumPy", "its weights are drawn by other means than torch's own, and do not follow from the seed"),
        ("mynets:DroppingLogits", "at rest, after eval.*, its output differs from call to call"),
    ],
)
def test_mistakes_are_named_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"network={name}: .*{message}") as raised:
        net(name)
    assert "\n" not in str(raised.value)


def test_being_tried_in_training_leaves_no_trace() -> None:
    state = torch.get_rng_state()
    network: Any = net("mynets:Random")
    assert torch.equal(torch.get_rng_state(), state)
    inner = network.network
    assert inner.training
    assert (int(inner.seen), int(inner.norm.num_batches_tracked)) == (0, 0)
    assert torch.equal(inner.norm.running_mean, torch.zeros(3))


def test_a_network_is_built_where_the_caller_infers() -> None:
    with torch.inference_mode():
        assert not any(parameter.is_inference() for parameter in net("mynets:Plain").parameters())


@pytest.mark.parametrize(("name", "fewest"), [("mynets:Plain", 2), ("mynets:Vgg", 1), ("mynets:Random", 1)])
def test_a_network_that_takes_no_image_alone_in_training_is_found(name: str, fewest: int) -> None:
    network = net(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert fewest_images(network, noise(1, 3, 8, 6)) == fewest
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


SHORT: dict[str, Any] = {"iterations": 2, "encoder_steps": 2, "encoder_count": 1, "execution": Execution(device="cpu")}


@pytest.mark.parametrize(
    ("method", "settings", "remedy"),
    [("m3d", {}, "ipc=2"), ("dc", {}, "ipc=2"), ("m3d", {"ipc": 2, "batch_real": 1}, "batch_real=2")],
)
def test_one_image_of_a_class_is_refused_where_the_network_takes_none_alone(
    method: str, settings: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(UserError, match=f"network=mynets:Plain: .*takes no image of a class alone.*; give {remedy}"):
        condense("digits", method=method, network="mynets:Plain", **SHORT | {"ipc": 1} | settings)


@pytest.mark.parametrize("method", ["m3d-pool", "idm"])
def test_a_frozen_network_is_refused_where_it_is_to_be_trained(method: str) -> None:
    with pytest.raises(UserError, match="network=mynets:frozen: it has nothing to train"):
        condense("digits", ipc=2, method=method, network="mynets:frozen", **SHORT)


def test_what_is_frozen_stays_as_it_is_initialised_where_the_rest_is_trained(digits: ImageDataset) -> None:
    settings = {"network": "mynets:half_frozen", "encoder_batch": 32}
    recipe = recipe_for(digits, "idm", "quick", 2, settings)
    source: Any = begin(digits, recipe, Engine(Execution(device="cpu"))).encoders
    inner = source.encoder.network.network
    hidden, head = inner.hidden.weight.clone(), inner.head.weight.clone()
    source.learner.learn_real(2, 0)
    assert torch.equal(inner.hidden.weight, hidden)
    assert not torch.equal(inner.head.weight, head)


def test_a_frozen_network_can_encode() -> None:
    assert condense("digits", ipc=2, method="m3d", network="mynets:frozen", **SHORT).steps == 2


def test_a_network_is_scored_and_trained_or_refused(digits: ImageDataset) -> None:
    chosen = condense(digits, ipc=2, method="random")
    settings: dict[str, Any] = {"repeats": 1, "epochs": 1, "execution": Execution(device="cpu")}
    assert len(evaluate(chosen, digits, network="mynets:half_frozen", **settings).accuracies) == 1
    with pytest.raises(UserError, match="network=mynets:frozen: it has nothing to train"):
        evaluate(chosen, digits, network="mynets:frozen", **settings)


@pytest.mark.parametrize("method", ["m3d", "m3d-pool", "idc"])
def test_what_a_network_draws_follows_from_the_seed_alone(digits: ImageDataset, method: str) -> None:
    def made(global_seed: int) -> tuple[Tensor, list[float]]:
        torch.manual_seed(global_seed)
        condensed = condense(
            digits, method=method, network="mynets:Random", execution=Execution(compile="no"), **DRAWING
        )
        score = evaluate(condensed, digits, network="mynets:Random", repeats=1, epochs=2, execution=Execution())
        assert torch.initial_seed() == global_seed
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(global_seed))
        return condensed.images, score.accuracies

    (first, scored), (second, again) = made(1), made(2)
    assert torch.equal(first, second)
    assert scored == again


def test_nothing_is_dropped_where_a_network_encodes(digits: ImageDataset) -> None:
    network = networks.build("mynets:Random", channels=1, num_classes=10, size=(8, 8))
    networks.set_encoding(network)
    images = digits.train.images[:6].float()
    assert torch.equal(network(images), network(images))
    assert network.network.norm.training  # type: ignore[union-attr]
    assert networks.mixes_images(network)


def test_a_network_that_is_not_made_anew_is_refused() -> None:
    network = net("mynets:same")
    with pytest.raises(UserError, match="the same network twice"):
        networks.initialise(network, 1)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="network=timm:resnet26: timm cannot be imported.*pip install timm"):
        net("timm:resnet26")


class TimmNetwork(nn.Module):
    """As timm's: features in two parts, and more done to them than its last linear layer is given."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(in_chans, 6, 3), nn.Linear(6, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        return torch.relu(self.conv(images))

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        features = maps.mean((2, 3))
        return features if pre_logits else self.head(2 * features)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


def test_timm_is_asked_for_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_model(name: str, **given: object) -> nn.Module:
        asked.append({"name": name, **given})
        if name == "conv" and "img_size" in given:
            raise TypeError("unexpected keyword argument 'img_size'")
        return TimmNetwork(given["in_chans"], given["num_classes"])  # type: ignore[arg-type]

    timm = SimpleNamespace(
        create_model=create_model, is_model=["conv", "vit"].count, list_models=lambda: ["conv", "vit"]
    )
    monkeypatch.setitem(sys.modules, "timm", timm)  # type: ignore[arg-type]
    images = noise(2, 3, 8, 6)
    for name in ("conv", "vit"):
        network = net(f"timm:{name}")
        assert torch.equal(network.features(images), network.network.conv(images).relu().mean((2, 3)))  # type: ignore[operator, union-attr]
        assert network.feature_size == 6
        expected = {"name": name, "in_chans": 3, "num_classes": 5}
        assert asked[-1] == expected | ({"img_size": (8, 6)} if name == "vit" else {})
    with pytest.raises(UserError, match=r"timm has no 'convv' \(did you mean conv\?\)"):
        net("timm:convv")


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Writes the module `changing`, whose `make` has this activation and so many hidden features."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    layers = "nn.Flatten(), nn.Linear(64 * channels, {1}), nn.{0}(), nn.Linear({1}, num_classes)"
    code = f"from torch import nn\ndef make(channels, num_classes, size):\n    return nn.Sequential({layers})\n"

    def write(activation: str, width: int = 8) -> None:
        (tmp_path / "changing.py").write_text(code.format(activation, width))
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        sys.modules.pop("changing", None)
        importlib.invalidate_caches()
        linecache.clearcache()

    return write


def test_a_pool_of_other_code_is_trained_anew(tmp_path: Path, changing: Callable[..., None]) -> None:
    settings: dict[str, Any] = {"network": "changing:make", "encoder_steps": 3, "encoder_count": 1, "iterations": 1}
    made = []
    for activation, width in (("ReLU", 8), ("Tanh", 8), ("Tanh", 9)):
        changing(activation, width)
        for _ in range(2):
            condense("digits", ipc=1, method="m3d-pool", execution=Execution(device="cpu"), **settings)
        made.append(len(list((tmp_path / "cache" / "pools").iterdir())))
    assert made == [1, 2, 3]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_finished_set_of_other_code_is_refused(tmp_path: Path, changing: Callable[..., None], groups: int) -> None:
    settings: dict[str, Any] = {"network": "changing:make", "iterations": 1, "out": tmp_path / "set"}
    settings |= {"ipc": 1, "method": "dm", "execution": Execution(device="cpu"), "class_groups": groups}
    changing("ReLU")
    made = condense("digits", **settings)
    assert torch.equal(condense("digits", **settings).images, made.images)
    changing("Tanh")
    with pytest.raises(UserError, match="holds a condensed set of other code of its network; give another out"):
        condense("digits", **settings)
    assert not torch.equal(condense("digits", overwrite=True, **settings).images, made.images)
    condense("digits", **settings)


@pytest.mark.parametrize("asked", [{"networks": "changing:make"}, {"network": "changing:make"}])
def test_a_finished_comparison_of_other_code_is_refused(
    tmp_path: Path, changing: Callable[..., None], asked: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"methods": "dm", "ipc": 1, "iterations": 1, "random": False, "whole": False}
    settings |= {"seeds": 1, "repeats": 1, "epochs": 1, "out": tmp_path / "study", "networks": "convnet1"} | asked
    settings["execution"] = Execution(device="cpu")
    changing("ReLU")
    first = compare("digits", **settings)
    assert compare("digits", **settings).rows == first.rows
    changing("Tanh")
    with pytest.raises(UserError, match="made or scored with other code of changing:make; give another out"):
        compare("digits", **settings)
    changing("ReLU")
    assert compare("digits", **settings).rows == first.rows
