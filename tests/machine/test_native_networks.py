"""Networks, objectives and training go through native blocks, and come to the same."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from native_blocks import layers, noise, off
from recipes_to_test import objective_named
from torch import Tensor, nn

from m3d_condense import Execution, networks
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine import native
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.machine.native import building
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.protocols import protocol
from m3d_condense.tools.progress import Reporter
from m3d_condense.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("native_code")


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


def test_a_network_in_tf32_on_a_gpu_says_so_and_on_a_processor_is_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    used = placed("convnet", precision="tf32")
    assert (used.arithmetic, used.numerics.split(" on ")[0]) == ("torch.float32", "float32")
    monkeypatch.setattr(used.engine, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    assert (used.arithmetic, used.numerics.split(" on ")[0], used.describe()) == ("tf32", "tf32", "a card, tf32")


def test_a_part_of_a_native_sequence_multiplies_as_the_whole() -> None:
    whole = native.NativeSequence(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), products=torch.bfloat16)
    assert whole[:-1].products == torch.bfloat16
    assert isinstance(whole[-1], nn.AvgPool2d)


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
    recipe = methods.recipe("idc", "paper", Problem(ipc=10, side=8), {})
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
    recipe = methods.recipe("idc", "quick", Problem(ipc=2, side=8), {"iterations": 7})
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
