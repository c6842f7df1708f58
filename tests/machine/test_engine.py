from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.run import begin
from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine import engine as engine_module
from m3d_condense.machine.costs import activations, forward_flops, widest_activation
from m3d_condense.machine.engine import Engine, Placed, has_compiler, in_pieces
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.errors import UserError

CPU = torch.device("cpu")


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def engine(**execution: object) -> Engine:
    return Engine(Execution(device="cpu", **{"precision": "float32", "native": False, "compile": "no"} | execution))  # type: ignore[arg-type]


def encoder(used: Engine, width: int = 128) -> Encoder:
    network = networks.convnet.ConvNet(1, 10, (8, 8), depth=1, width=width)
    made = Encoder(used.place(network, torch.zeros(1, 1, 8, 8), 0))
    made.refill(5)
    return made


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 23])
@pytest.mark.parametrize("most", [1, 3, 8, 100])
def test_in_pieces_equals_whole(count: int, most: int) -> None:
    images, seen = noise(count, 2, 3, 3), []

    def function(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part.flatten(1).cumsum(1)

    assert torch.equal(in_pieces(function, images, most), images.flatten(1).cumsum(1))
    assert len(set(seen)) == 1  # one shape is compiled
    assert seen[0] <= most
    assert sum(seen) < count + len(seen)  # no more filled up than needed


def test_in_pieces_passes_gradients_and_types() -> None:
    images = noise(7, 1, 2, 2).requires_grad_()
    in_pieces(lambda part: part.square().flatten(1), images, 3).sum().backward()
    torch.testing.assert_close(images.grad, 2 * images.detach())
    small = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1)
    assert in_pieces(lambda part: part.flatten(), small, 3).tolist() == list(range(7))


def test_features_in_pieces_equal_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(3, 5, 1, 8, 8)
    used = encoder(engine())
    whole = used.features(images)
    assert whole.shape == (3, 5, 2048)
    assert whole.dtype == torch.float32
    monkeypatch.setattr(engine_module, "PIECE", 4)
    torch.testing.assert_close(used.features(images), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("side", "most"), [(8, 256), (32, 256), (64, 256), (128, 64), (224, 20), (2048, 1)])
def test_large_images_go_through_a_network_on_a_cpu_a_few_at_a_time(side: int, most: int) -> None:
    placed = engine().place(networks.build("resnet10", channels=3, num_classes=2, size=(8, 8)), noise(1, 3, 8, 8), 0)
    assert placed.piece(torch.empty(0, 3, side, side)) == most


def test_an_encoders_weights_take_no_gradient_and_its_images_do() -> None:
    used = encoder(engine())
    images = noise(2, 3, 1, 8, 8).requires_grad_()
    used.features(images).sum().backward()
    assert images.grad is not None
    assert all(p.grad is None and not p.requires_grad for p in used.network.parameters())
    assert not used.network.training  # nothing is dropped


@pytest.mark.parametrize("num_classes", [1, 3, 10, 100])
@pytest.mark.parametrize("fit", [1, 2, 3, 7, 1000])
def test_chunks_cover_all_classes_and_fit(num_classes: int, fit: int) -> None:
    used = engine(memory=fit / 1024)  # GiB, against images of a MiB
    chunks = list(used.chunks(num_classes, 2**20))
    assert [k for chunk in chunks for k in chunk] == list(range(num_classes))
    sizes = [len(chunk) for chunk in chunks]
    assert 1 <= min(sizes) <= max(sizes) <= min(fit, num_classes)
    assert max(sizes) - min(sizes) <= 1
    assert len(chunks) == -(-num_classes // fit)


def test_a_class_too_large_for_the_budget_goes_alone() -> None:
    assert [len(chunk) for chunk in engine(memory=2**-20).chunks(4, 100 * 2**20)] == [1, 1, 1, 1]


@pytest.mark.parametrize("objective", ["mmd", "mean"])
def test_chunked_steps_equal_whole_ones(digits: ImageDataset, objective: str) -> None:
    recipe = methods.recipe(
        "m3d",
        "paper",
        Problem(ipc=2, side=8),
        {
            "factor": 2,
            "batch_real": 16,
            "batch_synthetic": 5,
            "lr": 10.0,
            "objective": objective,
            "iterations": 3,
        },
    )
    results, counts, starts = [], [], []
    for memory in (0.0, 2**-20):
        run = begin(digits, recipe, engine(memory=memory))
        starts.append(run.pixels.values.detach().clone())
        counts.append(len(run.plan.chunks))
        for _ in range(3):
            run.take_step()
        results.append(run.pixels.values.detach())
    assert counts == [1, 10]
    assert torch.equal(*starts)
    moved = (results[0] - starts[0]).abs().max()
    assert moved > 0.05
    # Same numbers, same formulae; only the batch that the convolutions block over differs, which changes the order
    # of float32 sums. Measured: about 1e-7 after three steps; SGD hands it on unscaled, where Adam would not.
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=5e-6)


def test_bfloat16_features_are_within_its_rounding() -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no native bfloat16")
    images = noise(1, 64, 1, 8, 8)
    exact, rounded = encoder(engine()).features(images), encoder(engine(precision="bfloat16")).features(images)
    assert rounded.dtype == torch.float32
    error = float((rounded - exact).norm() / exact.norm())
    # bfloat16 keeps 8 bits: images, weights and outputs are each rounded by at most 2⁻⁹, independently; the sums
    # are float32. Four such roundings together stay under 2⁻⁷; float32 would be a thousand times below 2⁻¹².
    assert 2**-12 < error < 2**-7


def test_compiled_equals_eager() -> None:
    if not has_compiler(CPU):
        pytest.skip("inductor has no C++ compiler here")
    images = noise(2, 3, 1, 8, 8)
    results = []
    for compiled in ("no", "yes"):
        used = encoder(engine(compile=compiled), width=8)
        leaf = images.clone().requires_grad_()
        features = used.features(leaf)
        features.square().sum().backward()
        results.append((features.detach(), leaf.grad))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-4, atol=1e-4)
    used.refill(6)  # in place, and the compiled graph sees it
    fresh = encoder(engine(), width=8)
    fresh.refill(6)
    torch.testing.assert_close(used.features(leaf), fresh.features(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_what_was_compiled_for_other_registers_is_not_taken_for_these(tmp_path: Path) -> None:
    test = f"{__file__}::{test_compiled_equals_eager.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", test]
    known = ["avx512", "avx2", "default"]
    own = torch.backends.cpu.get_cpu_capability().lower()
    for registers in known[known.index(own) :] if own in known else ["default"]:  # in one folder
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "ATEN_CPU_CAPABILITY": registers}
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_forward_flops_are_those_of_the_matrix_products() -> None:
    network = networks.build("convnet1", channels=3, num_classes=10, size=(8, 8))
    expected = 2 * (8 * 8 * 128 * 3 * 9) + 2 * (128 * 4 * 4) * 10
    assert forward_flops(network, torch.zeros(1, 3, 8, 8)) == expected


def test_activations_count_every_layers_output() -> None:
    network = networks.build("convnet1", channels=3, num_classes=10, size=(8, 8))
    outputs = 3 * 128 * 64 + 128 * 16 + 10  # convolution, norm, ReLU; pooling; logits
    assert activations(network, torch.zeros(1, 3, 8, 8)) == outputs
    assert widest_activation(network, torch.zeros(1, 3, 8, 8)) == 128 * 64
    assert not any(module._forward_hooks for module in network.modules())


def test_whether_compiling_pays_follows_from_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "has_compiler", lambda device: True)
    monkeypatch.setattr(engine_module, "COMPILE_SECONDS", 2.0)  # ten for the five layers here
    monkeypatch.setattr(engine_module, "COMPILED_GAIN", 2.0)
    network = networks.build("convnet1", channels=1, num_classes=10, size=(8, 8))
    image = torch.zeros(1, 1, 8, 8)
    monkeypatch.setitem(engine_module.EAGER_FLOPS, "cpu", 3 * forward_flops(network, image))  # an image a second

    def placed(images: float, compiled: str = "auto") -> Placed:
        return engine(compile=compiled).place(network, image, images)

    assert not placed(19).compiled  # half of 19 seconds
    assert placed(19).reason == "not compiled: it would save about 10 s and cost about 10 s"
    assert placed(21).compiled
    assert placed(21).reason.startswith("compiled: it would save about")
    assert placed(0, "yes").compiled
    assert not placed(1e12, "no").compiled
    assert not engine(compile="yes").place(network, image, 1e12, stacked=True).compiled
    monkeypatch.setattr(engine_module, "has_compiler", lambda device: False)
    assert not placed(1e12).compiled
    assert placed(1e12).reason == "not compiled: no compiler for cpu here"


def test_a_network_says_in_what_precision_it_runs() -> None:
    network, image = networks.build("convnet1", channels=1, num_classes=10, size=(8, 8)), torch.zeros(1, 1, 8, 8)
    where = f"cpu, {torch.get_num_threads()} threads"
    assert engine().describe() == where
    assert engine().place(network, image, 1).describe() == f"{where}, float32"
    assert engine(precision="bfloat16").place(network, image, 1).describe() == f"{where}, bfloat16"


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        ({"device": "toaster"}, "device=toaster"),
        ({"device": "cuda:99"}, "device=cuda:99"),
        ({"device": ""}, "device="),
        ({"device": "meta"}, "device=meta"),  # its tensors hold no values
        ({"device": "hpu"}, "device=hpu"),  # whose module is not here
        ({"precision": "float16"}, "precision=float16"),
        ({"compile": "maybe"}, "compile=maybe"),
        ({"device": None}, "device: a name"),
        ({"memory": "2"}, "memory=2: a number"),
        ({"memory": -1.0}, "memory=-1.0"),
        ({"memory": float("nan")}, "memory=nan"),
        ({"memory": 1e300}, "memory=1e[+]300: GiB, from 0 to 1048576"),
    ],
)
def test_executions_that_cannot_be_are_refused(execution: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Engine(Execution(**execution))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_device_of_torchs_stands_for_its_name() -> None:
    assert Execution(device=torch.device("cpu"), memory=2) == Execution(device="cpu", memory=2.0)  # type: ignore[arg-type]


def test_precision_is_what_was_asked_for() -> None:
    assert engine().dtype == torch.float32
    assert engine(precision="bfloat16").dtype == torch.bfloat16
    native = torch.cpu._is_avx512_bf16_supported()
    assert engine(precision="auto").dtype == (torch.bfloat16 if native else torch.float32)


def test_pages_are_recycled_unless_the_environment_says_no() -> None:
    program = "from m3d_condense.machine.process import recycle_pages as r; print(r()); r.cache_clear(); "
    program += "import os; del os.environ['M3D_MALLOC']; print(r())"
    environment = os.environ | {"M3D_MALLOC": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    refused, free = done.stdout.split()
    assert refused == "False"
    assert free in ("True", "False")  # musl has no such switch
    if sys.platform == "linux" and "glibc" in platform.libc_ver():
        assert free == "True"


def test_compilers_that_do_not_work_are_said_and_no_obstacle(tmp_path: Path) -> None:
    # A process of its own: each asks for its compiler once. The caches are empty, so that it must be asked.
    code = (
        "from m3d_condense import Execution, condense\n"
        "for ways in ({'native': False, 'compile': 'yes'}, {'compile': 'no'}):\n"
        "    condense('digits', ipc=1, iterations=1, batch_real=2, execution=Execution(device='cpu', **ways))"
    )
    folders = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"), "M3D_CACHE": str(tmp_path / "ours")}
    environment = os.environ | {"CXX": "/bin/false"} | folders
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compilation failed" in done.stderr
    assert "going on without it" in done.stderr
    assert "native blocks could not be built" in done.stderr
    assert "going on with torch's operations" in done.stderr
    assert not list(tmp_path.rglob("*.so"))
