"""Classes that are condensed in groups: what the set is, against all classes in one group, and how it goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from together import together

from m3d_condense.condensing import encoders
from m3d_condense.condensing import run as run_module
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.run import Run
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

TINY: dict[str, Any] = {"ipc": 2, "factor": 2, "iterations": 6, "batch_real": 8, "network": "convnet1"}
TRAINED = {"encoder_steps": 2, "encoder_batch": 16, "iterations_per_model": 4}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(digits: ImageDataset, groups: int, **settings: Any) -> CondensedSet:
    return condense(digits, class_groups=groups, execution=Execution(compile="no"), **TINY | settings)


CASES: dict[str, dict[str, Any]] = {
    "m3d": {},
    "dm": {"factor": 1},
    "datadam": {"factor": 1},
    "m3d from noise": {"initialisation": "noise", "optimizer": "sgd", "lr": 10.0},
    "m3d of many": {"ipc": 4, "batch_synthetic": 5},
    "m3d by k-center": {"initialisation": "k-center", "selection_features": "pixels"},
    "random": {"iterations": 0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("groups", [2, 3])
def test_with_networks_that_are_not_trained_the_groups_change_no_bit(
    digits: ImageDataset, case: str, groups: int
) -> None:
    settings = {"method": case.split()[0]} | CASES[case]
    whole, parts = (made(digits, count, **settings) for count in (1, groups))
    assert torch.equal(parts.images, whole.images)
    assert torch.equal(parts.labels, whole.labels)
    assert (parts.class_names, parts.mean, parts.std) == (whole.class_names, whole.mean, whole.std)
    assert parts.source == whole.source
    assert parts.settings == whole.settings | {"class_groups": groups}
    losses = [[entry["loss"] for entry in one.history] for one in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("m3d-pool", {"encoder_count": 1, "encoder_steps": 3, "encoder_batch": 16}),
        ("idc", TRAINED),
        ("dsa", TRAINED),
        ("idm", TRAINED | {"encoder_count": 2}),
        ("cafe", TRAINED),
        ("herding", {"iterations": 0, "selection_features": "random"}),
    ],
)
def test_networks_that_are_trained_tell_the_classes_of_a_group_apart(
    digits: ImageDataset, method: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    original = encoders.build
    monkeypatch.setattr(
        encoders, "build", lambda material: told.append(material.dataset.num_classes) or original(material)
    )
    found = made(digits, 3, method=method, **settings)
    assert found.labels.bincount().tolist() == [2] * 10
    assert told == ([3, 3, 4] if found.settings["iterations"] else [])


def test_a_group_has_the_images_of_its_classes_alone(digits: ImageDataset) -> None:
    part = digits.of_classes(range(3, 6))
    assert (part.class_names, part.numbers) == (("3", "4", "5"), range(3, 6))
    assert (part.mean, part.std) == (digits.mean, digits.std)
    assert part.fingerprint not in (digits.fingerprint, digits.of_classes(range(3, 7)).fingerprint)
    for split, whole in ((part.train, digits.train), (part.test, digits.test)):
        for k in range(3):
            assert torch.equal(split.images[split.labels == k], whole.images[whole.labels == k + 3])
        assert len(split) == int(((whole.labels >= 3) & (whole.labels < 6)).sum())


def test_images_that_lie_together_are_not_copied(digits: ImageDataset) -> None:
    ordered = digits.train[digits.train.labels.argsort(stable=True)]
    part = ordered.of_classes(range(2, 5))
    assert part.images.untyped_storage().data_ptr() == ordered.images.untyped_storage().data_ptr()


# Stored, interrupted, gone on with


def test_the_set_is_stored_and_found_again(digits: ImageDataset, tmp_path: Path) -> None:
    first = made(digits, 2, out=tmp_path / "set")
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]  # of the groups nothing is left
    again = made(digits, 2, out=tmp_path / "set")
    assert again.created == first.created
    stored = CondensedSet.load(tmp_path / "set")
    assert evaluate(stored, digits, network="convnet1", epochs=1, repeats=1).n == 1
    for other in (1, 3):
        with pytest.raises(UserError, match="other settings or data"):
            made(digits, other, out=tmp_path / "set")
    assert made(digits, 3, out=tmp_path / "set", overwrite=True).settings["class_groups"] == 3


@pytest.mark.parametrize("other", ["1-of-2", "1-of-30"])
def test_what_a_run_of_other_groups_has_left_is_no_part_of_a_finished_one(
    digits: ImageDataset, tmp_path: Path, other: str
) -> None:
    left = tmp_path / "set.class-groups" / f"{other}.checkpoint"
    left.parent.mkdir()
    left.write_text("of another run")
    first = made(digits, 3, out=tmp_path / "set")
    assert made(digits, 3, out=tmp_path / "set").created == first.created
    assert left.read_text() == "of another run"


@pytest.mark.parametrize(("method", "overwrite"), [("m3d", False), ("m3d", True), ("idc", False)])
def test_an_interrupted_run_goes_on_with_its_group(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, overwrite: bool
) -> None:
    settings = {"method": method, "overwrite": overwrite, **(TRAINED if method == "idc" else {})}
    straight = made(digits, 3, **settings)
    original, taken = Run.take_step, []

    def take_step(self: Run) -> Any:
        taken.append(len(self.pixels.values))
        if len(taken) == 9:  # the third step of the second group
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    monkeypatch.setattr(run_module.Run, "take_step", take_step)
    with pytest.raises(KeyboardInterrupt):
        made(digits, 3, out=tmp_path / "set", **settings)
    assert not (tmp_path / "set").exists()
    left = sorted(entry.name for entry in (tmp_path / "set.class-groups").iterdir())
    assert left == ["1-of-3", "2-of-3.checkpoint", "2-of-3.metrics.jsonl"]
    found = made(digits, 3, out=tmp_path / "set", **settings)
    assert taken == [3] * 6 + [3] * 6 + [4] * 6
    assert torch.equal(found.images, straight.images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_the_processes_of_a_run_share_the_classes_of_each_group(digits: ImageDataset, tmp_path: Path) -> None:
    alone = made(digits, 1)
    for part in together(2, lambda: made(digits, 3, out=tmp_path / "set")):
        assert torch.equal(part.images, alone.images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_a_time_limit_is_shared_by_the_groups(digits: ImageDataset, tmp_path: Path) -> None:
    stopped = made(digits, 2, out=tmp_path / "set", time_limit=1e-9)
    assert (stopped.steps, stopped.settings["time_limit"]) == (1, 1e-9)
    assert stopped.labels.bincount().tolist() == [2] * 10
    ended = made(digits, 2, out=tmp_path / "set")
    assert ended.steps == TINY["iterations"]
    assert torch.equal(ended.images, made(digits, 1).images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_what_others_put_beside_the_groups_stays(digits: ImageDataset, tmp_path: Path) -> None:
    mine = tmp_path / "set.class-groups" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    made(digits, 2, out=tmp_path / "set")
    assert [entry.name for entry in mine.parent.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"class_groups": 0}, "class_groups=0: at least 1"),
        ({"class_groups": 6}, "class_groups=6: at most 5, so that each of 10 classes has another in its group"),
        ({"class_groups": 2, "watch": 2}, "watch=2: needs all classes in one group"),
        (
            {"class_groups": 2, "method": "m3d-pool", "time_limit": 600.0, "iterations": None},
            "time_limit: does not tell what each group takes of it; give encoder_steps and iterations",
        ),
        ({"class_groups": 2, "start_from": "earlier"}, "start_from=earlier: needs all classes in one group"),
    ],
)
def test_groups_that_cannot_be_are_refused(digits: ImageDataset, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        condense(digits, **TINY | asked)


def test_a_group_of_other_settings_gives_way_where_it_may(digits: ImageDataset, tmp_path: Path) -> None:
    part = tmp_path / "set.class-groups" / "1-of-2"
    condense(digits.of_classes(range(5)), out=part, execution=Execution(compile="no"), **TINY | {"lr": 0.5})
    with pytest.raises(UserError, match="1-of-2: holds a condensed set of other settings or data"):
        made(digits, 2, out=tmp_path / "set")
    assert torch.equal(made(digits, 2, out=tmp_path / "set", overwrite=True).images, made(digits, 1).images)


def interrupted(digits: ImageDataset, step: int, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Run until the beginning of this step, counted from 1 over all groups, where the user interrupts."""
    original, taken = Run.take_step, []

    def take_step(self: Run) -> Any:
        taken.append(self.step)
        if len(taken) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patched:
        patched.setattr(run_module.Run, "take_step", take_step)
        with pytest.raises(KeyboardInterrupt):
            made(digits, settings.pop("groups", 1), **settings)


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1), (2, 3)])
def test_what_an_interrupted_run_of_other_groups_has_left_is_not_lost(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, then: int
) -> None:
    out = tmp_path / "set"
    interrupted(digits, 9 if first > 1 else 3, monkeypatch, groups=first, out=out)
    left = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert left
    with pytest.raises(UserError, match="left by a run with other settings or data; overwrite=True discards it"):
        made(digits, then, out=out)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file in left} == left
    made(digits, then, out=out, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_groups_that_overwrite_go_on_without_the_flag(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, straight = tmp_path / "set", made(digits, 2)
    made(digits, 1, out=out, lr=0.5)
    interrupted(digits, 9, monkeypatch, groups=2, out=out, overwrite=True)
    found = made(digits, 2, out=out)
    assert torch.equal(found.images, straight.images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
