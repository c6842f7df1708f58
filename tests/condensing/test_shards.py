"""Sets that several processes condense together; what each does is checked against one process alone."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from together import together
from torch import Tensor

from m3d_condense.condensing import run as run_module
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.objectives import WithCrossEntropy
from m3d_condense.condensing.run import Run
from m3d_condense.condensing.view import View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import LOST, current
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

TINY: dict[str, Any] = {"ipc": 2, "factor": 2, "iterations": 6, "batch_real": 8, "network": "convnet1"}
TRAINED = {"encoder_steps": 2, "encoder_batch": 16, "iterations_per_model": 4}
CASES: dict[str, dict[str, Any]] = {
    "m3d": {},
    "m3d-pool": {"encoder_count": 2, "encoder_steps": 3, "encoder_batch": 16},
    "dsa": TRAINED,  # its augmentation is an affine map
    "m3d in turn": {"class_steps": "sequential"},
    "m3d by herding": {"initialisation": "herding", "selection_features": "random"},
    "m3d-pool from easy": {"initialisation": "easy", "encoder_count": 2, "encoder_steps": 3, "encoder_batch": 16},
}
OTHERS: dict[str, dict[str, Any]] = {
    "dm": {},
    "datadam": {},
    "idm": TRAINED | {"encoder_count": 4},
    "idc": TRAINED,
    "m3d from noise": {"initialisation": "noise", "optimizer": "sgd", "lr": 10.0, "network": "convnet2-batch"},
    "k-center": {"selection_features": "pixels"},
}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(scope="module")
def few(digits: ImageDataset) -> ImageDataset:
    """Two classes, of ten images each."""
    chosen = [torch.nonzero(digits.train.labels == k).flatten()[:10] for k in range(2)]
    split = digits.train[torch.cat(chosen)]
    return load((split.images.numpy()[:, 0], split.labels.numpy()))


def settings(case: str) -> dict[str, Any]:
    method = case.partition(" ")[0]
    common = {"ipc": 2} if method == "k-center" else TINY
    return common | {"method": method} | (CASES | OTHERS)[case]


def losses(made: CondensedSet) -> list[tuple[float, float]]:
    return [(entry["step"], entry["loss"]) for entry in made.history]


def act_before_step(monkeypatch: pytest.MonkeyPatch, rank: int, step: int, act: Callable[[], object]) -> None:
    """Have one process do something before one of its steps."""
    original = Run.take_step

    def take_step(run: Run) -> Tensor:
        if run.step == step and current().rank == rank:
            act()
        return original(run)

    monkeypatch.setattr(Run, "take_step", take_step)


def check_same(cases: Iterable[str], dataset: ImageDataset, counts: Sequence[int]) -> None:
    """Check that processes together make the sets that one makes alone."""

    def work() -> dict[str, CondensedSet]:
        return {case: condense(dataset, **settings(case)) for case in cases}

    alone = work()
    for part in (made for count in counts for made in together(count, work)):
        for case in cases:
            assert torch.equal(part[case].images, alone[case].images), case
            assert losses(part[case]) == losses(alone[case]), case


@pytest.mark.parametrize("turn", ["joint", "sequential"])
def test_a_set_grows_the_same_in_several_processes(digits: ImageDataset, turn: str) -> None:
    """Five classes are there already, and stay: the processes have unequal numbers of classes left to learn."""
    old = condense(digits, **TINY | {"iterations": 2})
    half = old.labels < 5
    names = old.class_names[:5]
    earlier = dataclasses.replace(old, images=old.images[half], labels=old.labels[half], class_names=names)

    def work() -> CondensedSet:
        return condense(digits, start_from=earlier, **TINY | {"class_steps": turn})

    alone = work()
    assert torch.equal(alone.images[alone.labels < 5], earlier.images)
    for part in together(3, work):
        assert torch.equal(part.images, alone.images)
        assert losses(part) == losses(alone)


def test_the_set_does_not_depend_on_the_number_of_processes(digits: ImageDataset) -> None:
    check_same(CASES, digits, [2, 3])


@pytest.mark.slow
def test_the_set_of_any_method_does_not_depend_on_the_number_of_processes(digits: ImageDataset) -> None:
    check_same(OTHERS, digits, [2, 3])


@pytest.mark.slow
def test_large_images_of_many_classes_make_the_same_set_in_any_number_of_processes() -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (35 * 6, 32, 32, 3), dtype=torch.uint8, generator=stream)
    dataset = load((images.numpy(), (torch.arange(len(images)) % 35).numpy()))
    check_same(["m3d", "dsa"], dataset, [3])


def test_centres_of_all_classes_are_the_same_up_to_rounding(digits: ImageDataset) -> None:
    cafe = TINY | TRAINED | {"method": "cafe", "iterations": 4}
    whole = condense(digits, **cafe)
    for part in together(3, lambda: condense(digits, **cafe)):
        assert (part.images.int() - whole.images.int()).abs().max() <= 1
        for ours, other in zip(losses(part), losses(whole), strict=True):
            assert ours == pytest.approx(other, rel=1e-5)


def test_processes_without_a_class_change_nothing(few: ImageDataset) -> None:
    check_same(["m3d", "dsa", "m3d in turn", "m3d by herding"], few, [3])
    ends = together(3, lambda: condense(few, **TINY | {"method": "cafe"}))
    assert sum("3 processes for 2 classes" in str(end) for end in ends if isinstance(end, UserError)) == 1


SGD = {"optimizer": "sgd", "lr": 30.0}


@pytest.mark.parametrize("optimizer", [pytest.param(SGD, marks=pytest.mark.slow), {"optimizer": "adam"}])
def test_a_run_goes_on_with_another_number_of_processes(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: dict[str, Any]
) -> None:
    asked = settings("dsa") | {"iterations": 14} | optimizer
    whole, out = condense(digits, **asked), tmp_path / "set"
    for stop, count in ((3, 3), (7, 2)):
        with monkeypatch.context() as patch:  # one of them is told to stop, and all do
            act_before_step(patch, 1, stop, lambda: os.kill(os.getpid(), signal.SIGTERM))
            ends = together(count, lambda: condense(digits, out=out, **asked))
        assert sorted(type(end).__name__ for end in ends) == ["KeyboardInterrupt"] + ["SystemExit"] * (count - 1)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["set.checkpoint", "set.metrics.jsonl"]
    made = condense(digits, out=out, **asked)
    assert torch.equal(made.images, whole.images)
    assert losses(made) == losses(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.slow  # it waits for processes to notice that one is gone
def test_a_process_that_is_killed_ends_the_others_and_the_checkpoint_stays(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "set", settings("m3d")
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "SAVE_EVERY", 0.0)
        act_before_step(patch, 2, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
        ends = together(3, lambda: condense(digits, out=out, **asked))
    assert ends[2] == -signal.SIGKILL
    told = [end for end in ends[:2] if isinstance(end, ConnectionError)]
    assert [str(end) for end in told] == [LOST]
    assert all(isinstance(end, ConnectionError | SystemExit) for end in ends[:2])
    assert (tmp_path / "set.checkpoint").exists()
    ends = together(2, lambda: condense(digits, out=out, **asked))
    assert all(torch.equal(end.images, condense(digits, **asked).images) for end in ends)


@pytest.mark.slow
def test_what_looks_on_sees_the_images_of_all_processes(digits: ImageDataset, tmp_path: Path) -> None:
    asked = settings("m3d") | {"watch": 3, "preview_every": 2}
    whole = condense(digits, out=tmp_path / "alone", **asked)
    for made in together(2, lambda: condense(digits, out=tmp_path / "set", **asked)):
        assert torch.equal(made.images, whole.images)
        seen = [[entry.get("accuracy") for entry in one.history] for one in (made, whole)]
        assert seen[0] == seen[1]


def test_a_time_limit_ends_all_processes_at_one_step(digits: ImageDataset, tmp_path: Path) -> None:
    out, asked = tmp_path / "set", settings("m3d")
    made = together(2, lambda: condense(digits, out=out, time_limit=0.0, **asked))
    assert made[0].steps == made[1].steps < TINY["iterations"]
    again = together(2, lambda: condense(digits, out=out, **asked))
    assert torch.equal(again[1].images, condense(digits, **asked).images)


def test_a_mistake_of_all_is_said_by_one(digits: ImageDataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    ends = together(3, lambda: condense(digits, out=tmp_path, **settings("m3d")))
    assert sorted(type(end).__name__ for end in ends) == ["SystemExit", "SystemExit", "UserError"]
    assert "other files" in str(next(end for end in ends if isinstance(end, UserError)))


def test_a_loss_that_is_no_number_in_one_process_ends_all(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = WithCrossEntropy.__call__

    def spoiled(self: WithCrossEntropy, real: View, synthetic: View, constants: bool = False) -> Tensor:
        return original(self, real, synthetic, constants) * (float("nan") if current().rank else 1.0)

    monkeypatch.setattr(WithCrossEntropy, "__call__", spoiled)
    ends = together(2, lambda: condense(digits, out=tmp_path / "set", **settings("m3d") | {"cross_entropy": 0.1}))
    assert sorted(type(end).__name__ for end in ends) == ["SystemExit", "UserError"]
    assert not list(tmp_path.iterdir())


def test_pool_networks_are_trained_once_between_them(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def work() -> list[str]:
        monkeypatch.setenv("M3D_CACHE", str(tmp_path / str(current().rank)))
        condense(digits, **settings("m3d-pool") | {"encoder_count": 3})
        return sorted(path.name for path in (tmp_path / str(current().rank)).glob("pools/*/*"))

    assert together(2, work) == [["0.safetensors", "2.safetensors"], ["1.safetensors"]]


@pytest.mark.parametrize(
    ("change", "given"),
    [
        ("lr", {"lr": 0.5}),
        ("data", {}),
        ("preview_every", {"preview_every": 1}),
        ("native", {"execution": Execution(native=False)}),
        ("out", {"out": None}),
    ],
)
def test_processes_that_were_given_other_settings_or_data_are_refused(
    few: ImageDataset, change: str, given: dict[str, Any], tmp_path: Path
) -> None:
    other = dataclasses.replace(few, train=dataclasses.replace(few.train, images=255 - few.train.images))

    def work() -> str:
        late = current().rank == 1
        asked = TINY | {"out": tmp_path / "set"} | (given if late else {})
        with pytest.raises(UserError) as caught:
            condense(other if late and change == "data" else few, **asked)
        return str(caught.value)

    said = f"the processes differ in {change}; start all with one command, on the same data"
    assert together(2, work) == [said] * 2
