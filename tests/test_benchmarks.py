"""The benchmarks compare like with like: the plain reference computes what the package does, and records are whole."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipes_to_test import objective_named
from torch import Tensor

from benchmarks import minutes, plot, reference, run
from benchmarks.harness import Comparison, alternate, publish, record
from benchmarks.tables import duration
from m3d_condense import networks
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.view import Encoder, View
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.training import augment

K, N, M, SIDE = 2, 6, 2, 32


def as_draws(parameters: augment.Parameters) -> list[reference.Draw]:
    """The package's parameters in the reference's words, class by class."""
    assert parameters.color is not None
    assert parameters.shift is not None
    assert parameters.cutout is not None
    draws = []
    for color, shift, hole in zip(parameters.color, parameters.shift, parameters.cutout, strict=True):
        down, right = (-shift).tolist()  # there the window moves, not the image
        draws.append(reference.Draw(*color.tolist(), shift=(down, right), hole=(int(hole[0]), int(hole[2]))))
    return draws


def ours(
    network: torch.nn.Module, real: Tensor, pixels: Pixels, parameters: augment.Parameters, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    execution = Execution(device="cpu", precision="float32", compile="no")
    encoder = Encoder(Engine(execution).place(network, torch.zeros(1, 3, 32, 32), 0))
    synthetic = pixels.draw(range(K), 200, [])
    inputs = [augment.apply((images - mean) / std, parameters) for images in (real, synthetic)]
    views = [View(encoder, images, range(len(images)), graph=images.requires_grad) for images in inputs]
    losses = objective_named("mmd")(*views, constants=True)
    losses.sum().backward()
    assert pixels.values.grad is not None
    return losses.detach(), pixels.values.grad


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_reference_has_the_package_s_loss_and_gradient(factor: int) -> None:
    stream = torch.Generator().manual_seed(factor)
    real, start = torch.rand(K, N, 3, SIDE, SIDE, generator=stream), torch.rand(K, M, 3, SIDE, SIDE, generator=stream)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
    parameters = augment.draw(Augmentation.parse("color_crop_cutout"), K, (SIDE, SIDE), stream)
    network = networks.build("convnet", channels=3, num_classes=K, size=(SIDE, SIDE))
    networks.initialise(network, factor)
    plain = reference.ConvNet(3, K, SIDE).requires_grad_(False)
    for theirs, weights in zip(plain.parameters(), network.parameters(), strict=True):
        theirs.copy_(weights.detach())

    losses, gradient = ours(network, real, Pixels(start, factor), parameters, mean, std)

    stored = start.clone().requires_grad_()
    for k, draw in enumerate(as_draws(parameters)):
        synthetic = (reference.decode(stored[k], factor) - mean) / std
        loss = reference.class_loss(plain, (real[k] - mean) / std, synthetic, draw)
        loss.backward()
        torch.testing.assert_close(loss.detach(), losses[k], rtol=1e-4, atol=1e-6)
    assert stored.grad is not None
    assert float(gradient.abs().max()) > 0
    # By the norm: rounding may flip a ReLU that is at its kink, and move the few pixels under it.
    assert float((stored.grad - gradient).norm() / gradient.norm()) < 5e-3


def test_plain_loop_moves_every_class_and_stays_in_range() -> None:
    images = torch.randint(0, 256, (12, 3, SIDE, SIDE), dtype=torch.uint8)
    loop = reference.PlainLoop(images, torch.arange(12) % K, ipc=1, factor=2, batch_real=4, device="cpu")
    before = loop.synthetic.detach().clone()
    assert loop.step() > 0
    moved = (loop.synthetic.detach() - before).abs().amax((1, 2, 3))
    assert (moved > 0).all()
    assert 0 <= float(loop.synthetic.detach().min()) <= float(loop.synthetic.detach().max()) <= 1


def test_sides_take_turns() -> None:
    turns: list[str] = []

    def side(name: str, seconds: float) -> float:
        turns.append(name)
        return seconds

    times = alternate({"a": lambda: side("a", 4.0), "b": lambda: side("b", 2.0)}, rounds=2, warm_up=1)
    assert turns == ["a", "b"] * 3
    assert times == {"a": [4.0, 4.0], "b": [2.0, 2.0]}


def test_record_is_complete_and_fills_the_page(tmp_path: Path) -> None:
    times = {"plain": [4.0, 6.0, 9.0], "ours": [2.0, 2.0, 3.0]}
    comparison = Comparison(case="a case", unit="step", baseline="plain", times=times)
    arguments = argparse.Namespace(device="cpu", rounds=3, steps=2, out=tmp_path)
    file = publish(record("condense_step", arguments, comparisons=[comparison]), tmp_path)
    assert file.name == "condense_step-cpu.json"
    stored = json.loads(file.read_text())
    expected = {"benchmark", "device", "command", "date", "commit", "versions", "hardware", "settings", "comparisons"}
    assert expected <= stored.keys()
    assert {"torch", "python"} <= stored["versions"].keys()
    assert {"cpu", "cores", "threads"} <= stored["hardware"].keys()
    assert stored["settings"] == {"device": "cpu", "rounds": 3, "steps": 2}
    [kept] = stored["comparisons"]
    assert kept["times"] == times
    assert kept["ratio"]["ours"] == {"median": 3.0, "min": 2.0, "max": 3.0, "rounds": [2.0, 3.0, 3.0]}

    marked = "# Page\n<!-- results: condense_step -->\nstale\n<!-- end -->\n<!-- results: limit -->\n<!-- end -->\n"
    page = plot.page(marked, plot.records(tmp_path))
    assert "stale\n" not in page
    assert "| a case | ours | 2.00 s/step | 3.00× | 2.00 – 3.00 |" in page
    assert "Not measured yet: `python -m benchmarks.limit`" in page
    assert plot.page(page, plot.records(tmp_path)) == page


@pytest.mark.parametrize(
    ("seconds", "text"), [(123.4, "123 s"), (1.234, "1.23 s"), (0.0456, "45.6 ms"), (0.000007, "7.00 µs")]
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


SMALL = ["--classes", "2", "--ipc", "1", "--batch-real", "8", "--size", "64"]
SMALLEST = {
    "scoring_epoch": ["--epochs", "1", "--classes", "2", "--ipc", "1"],
    "kernels": [],
    "methods": ["--methods", "dm", "m3d-pool", "--ipc", "1", "--side", "16"],
    "networks": ["--networks", "convnet", "--sides", "16"],
    "scaling": ["--axes", "ipc", *SMALL],
    "equivalence": ["--repeats", "1"],
    "rounding": [],
}


@pytest.mark.parametrize("name", run.NAMES)
def test_every_benchmark_can_be_imported(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


@pytest.mark.slow
@pytest.mark.parametrize("name", run.NAMES)
def test_every_benchmark_measures_prints_and_stores(name: str, tmp_path: Path) -> None:
    flags = ["--device", "cpu", "--rounds", "1", "--steps", "1", "--out", str(tmp_path), *SMALLEST.get(name, SMALL)]
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", f"benchmarks.{name}", *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (stored,) = plot.records(tmp_path)
    section = plot.section(stored)
    assert section.count("\n| ") > 1
    assert stored["command"] in done.stdout
    assert all(side.get("peak_bytes", 1) > 0 for side in stored.get("sides", {}).values())


@pytest.mark.parametrize(
    ("target", "said"), [(40.0, "at most 2"), (50.0, "at most 2"), (55.0, "3"), (60.0, "4"), (61.0, "not reached")]
)
def test_minutes_to_an_accuracy_lie_between_two_points_in_proportion(target: float, said: str) -> None:
    assert minutes.minutes_to(target, [(2.0, 50.0), (4.0, 60.0), (8.0, 58.0)]) == said


def test_minutes_are_drawn_stored_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--ipc", "1", "--epochs", "1", "--repeats", "1", "--device", "cpu", "--targets", "0", "100"]
    command = ["minutes", "digits", "--methods", "dm", "--step-counts", "1", "3", "--random", *short]
    added = ["--more", "m3d=1s", "--plain-loop", "1s", "2s"]
    monkeypatch.setattr(sys, "argv", [*command, *added, "--out", str(tmp_path)])
    minutes.main()
    printed = capsys.readouterr()
    assert "m3d, minutes to 0 %" in printed.out
    assert "dm, minutes to 0 %: at most" in printed.out
    assert "100 %: not reached" in printed.out
    stored = json.loads((tmp_path / "minutes.json").read_text())
    assert sorted(row["iterations"] for row in stored["rows"] if row["method"] in ("random", "dm")) == [0, 1, 3]
    plain = [row for row in stored["rows"] if row["method"] == "plain loop"]
    assert 1 <= plain[0]["seconds"] < 2 <= plain[1]["seconds"]
    assert 0 < plain[0]["iterations"] < plain[1]["iterations"]
    assert (tmp_path / "minutes.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "minutes.svg").read_bytes()
    minutes.main()
    again = capsys.readouterr()
    assert again.err.count("1 of 1 sets were scored before") == 4
    assert "Scoring" in printed.err
    assert "Scoring" not in again.err
    assert (tmp_path / "minutes.svg").read_bytes() == drawn
