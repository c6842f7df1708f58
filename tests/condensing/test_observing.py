from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import folder
from PIL import Image

from m3d_condense.condensing import observing
from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.observing import Watcher
from m3d_condense.condensing.run import Run
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

TINY: dict[str, Any] = {"ipc": 1, "factor": 2, "iterations": 25, "batch_real": 8}
TRACKER = """
calls = []
def init(**given): calls.append(("init", given))
def log(values, step): calls.append((step, values))
def finish(): calls.append("finish")
"""


@pytest.fixture(autouse=True)
def _quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    set_quiet(True)
    monkeypatch.setattr(observing, "WATCHED_STEPS", 30)


def lines(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    original = Run.take_step

    def take_step(run: Run) -> torch.Tensor:
        if run.step == number:
            raise KeyboardInterrupt
        return original(run)

    monkeypatch.setattr(Run, "take_step", take_step)


def test_a_run_that_is_looked_at_makes_the_same_bits(digits: ImageDataset, plain: Execution, tmp_path: Path) -> None:
    alone = condense(digits, execution=plain, **TINY)
    seen = condense(digits, execution=plain, out=tmp_path / "set", watch=10, preview_every=7, **TINY)
    assert torch.equal(alone.images, seen.images)
    losses = [[(e["step"], e["loss"]) for e in made.history if "loss" in e] for made in (alone, seen)]
    assert losses[0] == losses[1]
    watched = {e["step"]: e["accuracy"] for e in seen.history if "accuracy" in e}
    assert list(watched) == [0, 10, 20, 25]
    assert all(10 < accuracy < 100 for accuracy in watched.values())  # better than one guess in ten


def test_what_a_set_is_watched_by_follows_from_its_images(
    digits: ImageDataset, plain: Execution, tmp_path: Path
) -> None:
    made = condense(digits, execution=plain, watch=100, **TINY)
    again = condense(digits, execution=plain, watch=20, **TINY)
    last = [[e["accuracy"] for e in one.history if "accuracy" in e][-1] for one in (made, again)]
    assert last[0] == last[1]


def test_seconds_of_watching_do_not_count(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(watcher: Watcher, images: torch.Tensor, labels: torch.Tensor) -> float:
        time.sleep(0.5)
        return 50.0

    monkeypatch.setattr(Watcher, "accuracy", slowly)
    begun = time.monotonic()
    made = condense(digits, execution=plain, watch=5, **TINY)
    assert made.seconds < time.monotonic() - begun - 6 * 0.5 + 0.01


def test_watching_brings_no_time_limit_nearer(
    digits: ImageDataset, plain: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def slowly(watcher: Watcher, images: torch.Tensor, labels: torch.Tensor) -> float:
        clock[0] += 1_000.0
        return 50.0

    monkeypatch.setattr(Watcher, "accuracy", slowly)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    made = condense(digits, execution=plain, watch=5, time_limit=100, **TINY)
    assert (made.steps, made.seconds) == (TINY["iterations"], 0.0)


def test_a_finished_set_has_its_metrics(digits: ImageDataset, plain: Execution, tmp_path: Path) -> None:
    made = condense(digits, execution=plain, out=tmp_path / "set", watch=20, preview_every=5, **TINY)
    found = lines(tmp_path / "set" / "metrics.jsonl")
    assert found == made.history
    assert [entry["step"] for entry in found] == [0, 1, 11, 20, 21, 25]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    CondensedSet.load(tmp_path / "set").save(tmp_path / "set")  # the file is one of the set's own


def test_an_interrupted_run_leaves_its_metrics_and_goes_on_without_a_step_twice(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = condense(digits, execution=plain, watch=5, **TINY)
    out, working = tmp_path / "set", tmp_path / "set.metrics.jsonl"
    condense(digits, execution=plain, out=out, watch=5, time_limit=0.0, **TINY)
    with monkeypatch.context() as patch:
        stop_at(patch, 13)  # behind the checkpoint of step 1
        with pytest.raises(KeyboardInterrupt):
            condense(digits, execution=plain, out=out, watch=5, preview_every=4, **TINY)
    assert [entry["step"] for entry in lines(working)] == [0, 1, 5, 10, 11]
    with Image.open(tmp_path / "set.preview.png") as picture:
        assert picture.format == "PNG"
    with working.open("a") as torn:
        torn.write('{"step": 1')
    resumed = condense(digits, execution=plain, out=out, watch=5, **TINY)
    assert torch.equal(resumed.images, whole.images)
    histories = [
        [{name: value for name, value in entry.items() if name != "seconds"} for entry in made]
        for made in (lines(out / "metrics.jsonl"), whole.history)
    ]
    assert histories[0] == histories[1]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_tracker_is_told_every_entry_once(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackio.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    out = tmp_path / "set"
    condense(digits, execution=plain, out=out, track="trackio", watch=5, time_limit=0.0, **TINY)
    made = condense(digits, execution=plain, out=out, track="trackio", watch=5, **TINY)
    calls = sys.modules["trackio"].calls
    begun = [call[1] for call in calls if call[0] == "init"]
    assert [(one["project"], one["name"], one["resume"]) for one in begun] == [
        ("digits", "set", "never"),
        ("digits", "set", "allow"),
    ]
    assert [call[0] for call in calls if isinstance(call[0], int)] == [entry["step"] for entry in made.history]
    assert calls[-1] == "finish"
    monkeypatch.delitem(sys.modules, "trackio")


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_said_before_any_work(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("tensorboard", "torch.utils.tensorboard", "trackio"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"pip install {name}"):
        condense(digits, out=tmp_path / "set", track=name, **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"watch": -1}, "watch=-1: at least 0"),
        ({"preview_every": 5}, "preview_every=5: .*give out"),
        ({"track": "trackio"}, "track=trackio: .*give out"),
        ({"watch": 2, "method": "random", "iterations": None}, "watch=2: random takes no steps"),
        ({"preview_every": 2, "iterations": 0}, "preview_every=2: m3d takes no steps"),
        ({"track": "trackio", "method": "herding", "iterations": None}, "track=trackio: herding takes no steps"),
    ],
)
def test_what_cannot_be_looked_at_is_said(digits: ImageDataset, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        condense(digits, **TINY | given)


def test_no_picture_of_a_run_is_drawn_among_its_data(tmp_path: Path) -> None:
    data = folder(tmp_path / "photos")
    with pytest.raises(UserError, match="ant/set lies among the data of .*photos, and would be read with them"):
        condense(data, out=data / "ant" / "set", preview_every=1, **TINY)
    assert not (data / "ant" / "set").exists()


def test_an_unknown_tracker_is_said(digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"track=w: one of tensorboard, trackio"):
        condense(digits, out=tmp_path / "set", track="w", **TINY)
