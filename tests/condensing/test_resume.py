from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from m3d_condense.condensing import run as run_module
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.objectives import WithCrossEntropy
from m3d_condense.condensing.run import Run
from m3d_condense.condensing.view import View
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import recorded, set_quiet
from m3d_condense.tools.stopwatch import Stopwatch

TINY: dict[str, Any] = {"ipc": 2, "factor": 2, "iterations": 6, "batch_real": 8}
STOPS = {"sgd": {"optimizer": "sgd", "lr": 30.0}, "adam": {"optimizer": "adam", "lr": 0.05}}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def checkpoint_of(out: Path) -> Path:
    return out.with_name(out.name + ".checkpoint")


def nothing_is_left_in(folder: Path) -> bool:
    return not list(folder.iterdir())


def before_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> list[int]:
    """Have `act` called with the number of each step, counted from 0; return the list of steps taken."""
    taken: list[int] = []
    original = Run.take_step

    def take_step(run: Run) -> Tensor:
        taken.append(run.step)
        act(run.step)
        return original(run)

    monkeypatch.setattr(Run, "take_step", take_step)
    return taken


def interrupt_at(number: int, sent: signal.Signals = signal.SIGINT) -> Callable[[int], object]:
    return lambda step: os.kill(os.getpid(), sent) if step == number else None


@pytest.mark.parametrize(
    ("optimizer", "sent", "share_real", "bits"),
    [
        ("sgd", signal.SIGINT, False, 8),
        ("adam", signal.SIGTERM, False, 8),
        ("adam", signal.SIGHUP, False, 2),  # the pixels go on as they were, not as they are stored
        ("adam", signal.SIGINT, True, 8),  # between steps of one encoder, five each
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(
    digits: ImageDataset,
    plain: Execution,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
    sent: signal.Signals,
    share_real: bool,
    bits: int,
) -> None:
    settings = TINY | STOPS[optimizer] | {"iterations": 13, "share_real": share_real, "bits": bits}
    whole = condense(digits, execution=plain, **settings)
    out, handler = tmp_path / "set", signal.getsignal(sent)
    with monkeypatch.context() as patch:
        before_step(patch, interrupt_at(7, sent))
        with pytest.raises(KeyboardInterrupt):
            condense(digits, out=out, execution=plain, **settings)
    assert signal.getsignal(sent) is handler
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.checkpoint", "set.metrics.jsonl"]
    taken = before_step(monkeypatch, lambda step: None)
    resumed = condense(digits, out=out, execution=plain, **settings)
    assert taken == list(range(8, 13))  # the step of the interrupt was finished
    assert torch.equal(resumed.images, whole.images)
    losses = [[(e["step"], e["loss"]) for e in made.history] for made in (resumed, whole)]
    assert losses[0] == losses[1]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert torch.equal(CondensedSet.load(out).images, whole.images)


def test_a_run_stopped_twice_goes_on_to_the_same_bits(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = condense(digits, execution=plain, **TINY)
    for number in (1, 3):
        with monkeypatch.context() as patch:
            before_step(patch, interrupt_at(number))
            with pytest.raises(KeyboardInterrupt):
                condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert torch.equal(condense(digits, out=tmp_path / "set", execution=plain, **TINY).images, whole.images)


def test_a_second_interrupt_stops_at_once(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    taken = before_step(monkeypatch, act)
    with pytest.raises(KeyboardInterrupt):
        condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert taken == [0]
    assert nothing_is_left_in(tmp_path)


def test_a_checkpoint_is_left_every_so_often(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SAVE_EVERY", 0.0)

    def die(step: int) -> None:
        if step == 4:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        before_step(patch, die)
        with pytest.raises(RuntimeError):
            condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    taken = before_step(monkeypatch, lambda step: None)
    resumed = condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert taken == [4, 5]
    assert torch.equal(resumed.images, condense(digits, execution=plain, **TINY).images)


def test_what_the_cache_holds_counts_once_against_a_time_limit(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    few = TINY | {"method": "m3d-pool", "encoder_count": 1, "encoder_steps": 2, "encoder_batch": 8}
    condense(digits, execution=plain, **few)
    monkeypatch.setattr(Stopwatch, "credit", lambda watch, seconds: watch.go_on_from(1e6))
    asked = {"out": tmp_path / "set", "time_limit": 1e4, "execution": plain}
    assert condense(digits, **asked, **few).steps == 1
    assert condense(digits, **asked, **few).steps == few["iterations"]


def test_a_time_limit_stops_and_stores_and_the_run_goes_on(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = before_step(monkeypatch, lambda step: None)
    with recorded() as heard:
        made = condense(digits, out=tmp_path / "set", time_limit=0.0, execution=plain, **TINY)
    assert taken == [0]
    assert f"time limit reached after 1 of {TINY['iterations']} steps; the same command goes on" in heard
    assert made.settings["time_limit"] == 0.0
    assert made.steps == 1
    with recorded() as heard:
        one = condense(digits, execution=plain, time_limit=0.0, **TINY | {"iterations": 1})
    assert not any("time limit" in line for line in heard)
    assert torch.equal(made.images, one.images)
    whole = condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert taken[2] == 1
    assert whole.steps == TINY["iterations"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert torch.equal(whole.images, condense(digits, execution=plain, **TINY).images)


def test_a_finished_run_is_returned_as_it_is(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    first = condense(digits, out=out, execution=plain, **TINY)
    taken = before_step(monkeypatch, lambda step: None)
    again = condense(digits, out=out, execution=plain, **TINY)
    assert taken == []
    assert torch.equal(again.images, first.images)
    assert again.created == first.created
    with pytest.raises(UserError, match="other settings or data.*overwrite=True"):
        condense(digits, out=out, execution=plain, **TINY | {"seed": 9})
    other = load((digits.train.images[:200].numpy(), digits.train.labels[:200].numpy()))
    with pytest.raises(UserError, match="other settings or data"):
        condense(other, out=out, execution=plain, **TINY)
    renamed = dataclasses.replace(digits, class_names=("nought", *digits.class_names[1:]))
    with pytest.raises(UserError, match="other settings or data"):
        condense(renamed, out=out, execution=plain, **TINY)
    assert taken == []
    assert CondensedSet.load(out).created == first.created
    stored = json.loads((out / "condensed.json").read_text())
    del stored["settings"]["bits"]  # as before there was this setting
    (out / "condensed.json").write_text(json.dumps(stored))
    assert condense(digits, out=out, execution=plain, **TINY).created == first.created
    new = condense(digits, out=out, overwrite=True, execution=plain, **TINY | {"seed": 9})
    assert taken == list(range(6))
    assert torch.equal(CondensedSet.load(out).images, new.images)


def test_a_foreign_folder_is_refused_before_the_run(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    taken = before_step(monkeypatch, lambda step: None)
    for overwrite in (False, True):
        with pytest.raises(UserError, match="other files"):
            condense(digits, out=tmp_path, overwrite=overwrite, execution=plain, **TINY)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert taken == [], "the run was made before the folder was looked at"


def interrupted(digits: ImageDataset, plain: Execution, out: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Leave a checkpoint beside `out` and return its bytes."""
    with monkeypatch.context() as patch:
        before_step(patch, interrupt_at(2))
        with pytest.raises(KeyboardInterrupt):
            condense(digits, out=out, execution=plain, **TINY)
    return checkpoint_of(out).read_bytes()


def test_a_checkpoint_of_other_settings_is_refused(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    left = interrupted(digits, plain, out, monkeypatch)
    with pytest.raises(UserError, match="left by a run with other settings.*overwrite=True"):
        condense(digits, out=out, execution=plain, **TINY | {"lr": 0.5})
    assert checkpoint_of(out).read_bytes() == left
    taken = before_step(monkeypatch, lambda step: None)
    condense(digits, out=out, overwrite=True, execution=plain, **TINY | {"lr": 0.5})
    assert taken[0] == 0
    assert not checkpoint_of(out).exists()


def test_a_checkpoint_is_not_lost_to_a_run_without_steps(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    left = interrupted(digits, plain, out, monkeypatch)
    with pytest.raises(UserError, match="other settings"):
        condense(digits, out=out, method="random", ipc=2)
    assert checkpoint_of(out).read_bytes() == left


@pytest.mark.parametrize("damage", ["cut", "bytes", "empty", "foreign tensors"])
def test_a_corrupt_checkpoint_is_refused(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "set"
    left = interrupted(digits, plain, out, monkeypatch)
    header = json.loads(left[8 : 8 + int.from_bytes(left[:8], "little")])
    damaged = {
        "cut": left[:-50],
        "bytes": b"\x80\x04not a checkpoint",
        "empty": b"",
        "foreign tensors": save({"x": torch.zeros(1)}, header["__metadata__"]),
    }[damage]
    checkpoint_of(out).write_bytes(damaged)
    remedy = "move it elsewhere" if damage in ("bytes", "empty") else "overwrite=True starts anew"
    with pytest.raises(UserError, match=rf"set\.checkpoint.*{remedy}") as caught:
        condense(digits, out=out, execution=plain, **TINY)
    assert "\n" not in str(caught.value)
    assert checkpoint_of(out).read_bytes() == damaged


def spoil(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the loss be no number from this step on."""
    original = WithCrossEntropy.__call__
    calls = iter(range(100))

    def spoiled(self: WithCrossEntropy, real: View, synthetic: View, constants: bool = False) -> Tensor:
        return original(self, real, synthetic, constants) * (float("nan") if next(calls) >= step else 1.0)

    monkeypatch.setattr(WithCrossEntropy, "__call__", spoiled)


def test_an_interrupt_while_the_last_state_is_saved_is_heard(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = condense(digits, execution=plain, **TINY)
    original = Run._save

    def interrupted(run: Run, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(run, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert torch.equal(condense(digits, out=tmp_path / "set", execution=plain, **TINY).images, whole.images)


@pytest.mark.parametrize("step", [0, 1, 5])
def test_a_loss_that_is_no_number_is_said_and_not_stored(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    spoil(monkeypatch, step)
    with pytest.raises(UserError, match="not a number.*lr"):
        condense(digits, out=tmp_path / "set", execution=plain, cross_entropy=0.1, **TINY)
    assert nothing_is_left_in(tmp_path)


def test_a_set_that_cannot_be_written_leaves_the_run_to_go_on(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(made: CondensedSet, path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module, "SAVE_EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(CondensedSet, "save", full)
        with pytest.raises(OSError, match="No space"):
            condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.checkpoint", "set.metrics.jsonl"]
    taken = before_step(monkeypatch, lambda step: None)
    made = condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert taken == []  # every step was kept
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert torch.equal(made.images, condense(digits, execution=plain, **TINY).images)


def test_a_factor_larger_than_the_image_is_refused_before_the_run(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = before_step(monkeypatch, lambda step: None)
    with pytest.raises(UserError, match="factor"):
        condense(digits, **TINY | {"factor": 9})
    assert taken == []


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_run_that_overwrites_goes_on_where_it_stopped(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    out = tmp_path / "set"
    condense(digits, out=out, execution=plain, **TINY | {"seed": 9})
    with monkeypatch.context() as patch:
        before_step(patch, interrupt_at(2))
        with pytest.raises(KeyboardInterrupt):
            condense(digits, out=out, overwrite=True, execution=plain, **TINY)
    with pytest.raises(UserError, match="other settings or data"):
        condense(digits, out=out, execution=plain, **TINY | {"seed": 8})
    taken = before_step(monkeypatch, lambda step: None)
    made = condense(digits, out=out, overwrite=overwrite, execution=plain, **TINY)
    assert taken == [3, 4, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert torch.equal(made.images, condense(digits, execution=plain, **TINY).images)


@pytest.mark.parametrize("damage", ["cut", "arithmetic"])
def test_overwrite_starts_anew_where_a_checkpoint_is_of_no_use(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    left = interrupted(digits, plain, tmp_path / "set", monkeypatch)
    if damage == "cut":
        checkpoint_of(tmp_path / "set").write_bytes(left[:-50])
    native = Execution(device="cpu", precision="float32", compile="no")
    execution = native if damage == "arithmetic" else plain
    taken = before_step(monkeypatch, lambda step: None)
    condense(digits, out=tmp_path / "set", overwrite=True, execution=execution, **TINY)
    assert taken == list(range(6))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_set_that_was_stopped_is_not_taken_for_a_finished_one(
    digits: ImageDataset, plain: Execution, tmp_path: Path, groups: int
) -> None:
    asked: dict[str, Any] = TINY | {"out": tmp_path / "set", "class_groups": groups, "execution": plain}
    condense(digits, time_limit=0.0, **asked)
    for left in tmp_path.glob("set.*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with pytest.raises(UserError, match=r"stopped after 1 of 6 steps, and set\.checkpoint is not beside it.*overwrite"):
        condense(digits, **asked)
    assert condense(digits, overwrite=True, **asked).steps == 6


def test_a_finished_set_of_another_arithmetic_is_told(
    digits: ImageDataset, plain: Execution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_quiet(False)
    condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    capsys.readouterr()
    condense(digits, out=tmp_path / "set", execution=plain, **TINY)
    assert "already condensed with these settings; overwrite" in capsys.readouterr().err
    condense(digits, out=tmp_path / "set", execution=Execution(device="cpu", precision="bfloat16"), **TINY)
    said = capsys.readouterr().err
    assert "already condensed with these settings, but precision=float32, native=False, compile=no; " in said
