from __future__ import annotations

import errno
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from condensed_sets import make
from safetensors.torch import load_file, save_file
from torch import Tensor

from m3d_condense.machine.environment import describe_environment
from m3d_condense.sets.condensed import CondensedSet, Score, is_condensed_set
from m3d_condense.tools.errors import UserError

FILES = ["README.md", "condensed.json", "images.safetensors", "preview.png"]


def facts(condensed: CondensedSet) -> dict[str, Any]:
    return {name: value for name, value in vars(condensed).items() if not isinstance(value, Tensor)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return make().save(tmp_path / "set")


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    condensed = make()
    assert condensed.save(tmp_path / "set") == tmp_path / "set"
    assert sorted(entry.name for entry in (tmp_path / "set").iterdir()) == FILES
    loaded = CondensedSet.load(tmp_path / "set")
    assert facts(loaded) == facts(condensed)
    assert torch.equal(loaded.images, condensed.images)
    assert torch.equal(loaded.labels, condensed.labels)
    assert (loaded.num_classes, loaded.ipc, loaded.nbytes) == (3, 2, 6 * 3 * 8 * 8)


def test_pixels_are_stored_byte_for_byte(tmp_path: Path) -> None:
    images = torch.arange(256, dtype=torch.int32).byte().view(1, 1, 16, 16).transpose(2, 3)  # not contiguous
    condensed = make(1, 1, (1, 16, 16), images=images)
    stored = (condensed.save(tmp_path / "set") / "images.safetensors").read_bytes()
    assert images.contiguous().numpy().tobytes() in stored


def test_json_reads_from_format_version_to_scores(saved: Path) -> None:
    text = (saved / "condensed.json").read_text(encoding="utf-8")
    keys = list(json.loads(text))
    assert (keys[0], keys[-1]) == ("format_version", "scores")
    assert text.startswith('{\n  "format_version": 1,\n')


def test_losses_that_are_not_finite_are_stored_as_null(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}]
    path = make(history=history).save(tmp_path / "set")
    stored = json.loads((path / "condensed.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [step["loss"] for step in stored["history"]] == [None, None]
    assert all(math.isnan(step["loss"]) for step in CondensedSet.load(path).history)


@pytest.mark.parametrize(("factor", "side"), [(1, 8), (2, 8), (3, 8)])
def test_decode(factor: int, side: int) -> None:
    condensed = make(shape=(1, side, side), factor=factor)
    images, labels = condensed.decode()
    assert images.shape == (6 * factor**2, 1, side, side)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert labels.tolist() == [k for k in range(3) for _ in range(2 * factor**2)]
    if factor == 1:
        assert torch.equal((images * 255).round().byte(), condensed.images)


def test_failed_save_leaves_the_old_set_and_nothing_else(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {entry.name: entry.read_bytes() for entry in saved.iterdir()}
    write_text = Path.write_text

    def full(self: Path, data: str, **options: Any) -> int:
        if self.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, data, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        make(num_classes=5).save(saved)
    assert {entry.name: entry.read_bytes() for entry in saved.iterdir()} == before
    assert [entry.name for entry in saved.parent.iterdir()] == ["set"]
    assert CondensedSet.load(saved).num_classes == 3


def test_save_replaces_a_set_but_nothing_else(saved: Path, tmp_path: Path) -> None:
    (saved / "report.html").write_text("stale")
    CondensedSet.check_target(saved)
    make(num_classes=4).save(saved)
    assert CondensedSet.load(saved).num_classes == 4
    assert not (saved / "report.html").exists()
    (saved / "notes.txt").write_text("mine")
    for folder in (saved, tmp_path):  # a set with something of the user's; a folder that is none
        with pytest.raises(UserError, match="other files"):
            CondensedSet.check_target(folder)
        with pytest.raises(UserError, match="other files"):
            make().save(folder)
    assert (saved / "notes.txt").read_text() == "mine"


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        content = json.loads((folder / "condensed.json").read_text(encoding="utf-8"))
        change(content)
        (folder / "condensed.json").write_text(json.dumps(content), encoding="utf-8")

    return tamper


def swap(change: Callable[[dict[str, Tensor]], object], version: str = "1") -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        tensors = load_file(folder / "images.safetensors")
        change(tensors)
        save_file(tensors, folder / "images.safetensors", {"format_version": version})

    return tamper


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100]) and None


IMAGES, META = r"images\.safetensors", r"condensed\.json"
TAMPERED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no json": (lambda p: (p / "condensed.json").unlink(), f"not a condensed set: it has no {META}"),
    "no images": (lambda p: (p / "images.safetensors").unlink(), f"{IMAGES} is missing"),
    "truncated images": (cut("images.safetensors"), f"{IMAGES} is damaged"),
    "truncated json": (cut("condensed.json"), f"{META} cannot be read"),
    "json of bytes": (
        lambda p: (p / "condensed.json").write_bytes(b"\xff\xfe\x00"),
        f"{META} cannot be read",
    ),
    "json list": (lambda p: (p / "condensed.json").write_text("[1]"), f"{META} holds no JSON object"),
    "newer": (edit(lambda c: c.update(format_version=2)), f"{META} has the format version 2.*pip install -U"),
    "unknown": (edit(lambda c: c.update(format_version="x")), f"{META} has the format version x.*fetch"),
    "no version": (edit(lambda c: c.pop("format_version")), f"{META} has the format version None"),
    "key missing": (edit(lambda c: c.pop("mean")), f"{META} is damaged: it has no 'mean'"),
    "key of wrong type": (
        edit(lambda c: c.update(factor="2")),
        f"{META} is damaged: it has a wrong 'factor'",
    ),
    "means": (edit(lambda c: c.update(mean=[0.5])), f"{META} is damaged: 1 means and 3 deviations"),
    "means of text": (edit(lambda c: c.update(mean=["a"] * 3)), f"{META} is damaged: could not convert"),
    "std": (edit(lambda c: c.update(std=[0, 1, 1])), f"{META} is damaged: .* cannot normalise"),
    "factor": (edit(lambda c: c.update(factor=9)), f"{META} is damaged: factor 9 does not fit"),
    "fewer names": (
        edit(lambda c: c["class_names"].pop()),
        f"{META}.*labels run from 0 to 2.* 2 class names",
    ),
    "more names": (edit(lambda c: c["class_names"].append("x")), f"{META}.*class 'x' has no image"),
    "names of numbers": (edit(lambda c: c.update(class_names=[1, 2, 3])), f"{META}.*not all text"),
    "history": (edit(lambda c: c.update(history=[1])), f"{META} is damaged"),
    "score keys": (edit(lambda c: c["scores"][0].pop("n")), f"{META} is damaged: .*'n'"),
    "score count": (edit(lambda c: c["scores"][0].update(n=2)), f"{META}.*score of 2 networks has 3"),
    "seconds": (edit(lambda c: c.update(seconds=math.nan)), f"{META}.*seconds is nan"),
    "other set": (edit(lambda c: c["shape"].__setitem__(0, 9)), f"{IMAGES} and {META} are not of one set"),
    "image dtype": (swap(lambda t: t.update(images=t["images"].float())), f"{IMAGES}.*torch.float32"),
    "label dtype": (swap(lambda t: t.update(labels=t["labels"].int())), f"{IMAGES}.*torch.int32"),
    "channels": (swap(lambda t: t.update(images=t["images"][:, :2].clone())), f"{IMAGES}.*C 1 or 3"),
    "dimensions": (swap(lambda t: t.update(images=t["images"][0].clone())), f"{IMAGES}.*not N×C×H×W"),
    "label count": (swap(lambda t: t.update(labels=t["labels"][1:].clone())), f"{IMAGES}.*each of 6 images"),
    "labels": (swap(lambda t: t.update(labels=t["labels"] - 1)), "labels run from -1 to 1"),
    "tensor missing": (swap(lambda t: t.pop("labels")), f"{IMAGES} is not of a condensed set"),
    "images version": (swap(lambda t: None, "2"), f"{IMAGES} is not of a condensed set of format version 1"),
}


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_damaged_set_is_refused_in_one_line(saved: Path, tamper: Callable[[Path], Any], message: str) -> None:
    tamper(saved)
    with pytest.raises(UserError, match=message) as caught:
        CondensedSet.load(saved)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)


def test_missing_folder_is_no_condensed_set(tmp_path: Path) -> None:
    assert not is_condensed_set(tmp_path / "none")
    with pytest.raises(UserError, match="not a condensed set"):
        CondensedSet.load(tmp_path / "none")


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickle_is_refused_and_never_executed(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (saved / "images.safetensors").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(UserError, match=r"images\.safetensors is damaged or not in safetensors"):
        CondensedSet.load(saved)
    assert not marker.exists()
    torch.save({"images": Trap(marker)}, saved / "images.safetensors")
    with pytest.raises(UserError, match="not in safetensors"):
        CondensedSet.load(saved)
    assert not marker.exists()


def test_settings_that_cannot_be_stored_are_refused() -> None:
    with pytest.raises(UserError, match="settings cannot be stored"):
        make(settings={"lr": math.nan})
    with pytest.raises(UserError, match="source cannot be stored"):
        make(source={"data": object()})
    assert make(settings={"scales": (1, 2)}).settings == {"scales": [1, 2]}


def test_score_statistics() -> None:
    accuracies = [60.1, 58.7, 63.4, 61.0]
    score = Score.of("convnet3", "idc", accuracies, {})
    assert score.n == 4
    assert score.mean == pytest.approx(np.mean(accuracies))
    assert score.std == pytest.approx(np.std(accuracies, ddof=1))
    assert Score.of("convnet3", "idc", [50.0], {}).std == 0.0
    for wrong in ([], [101.0], [math.nan]):
        with pytest.raises(UserError, match="accuracies"):
            Score.of("convnet3", "idc", wrong, {})


def test_add_score_touches_only_json_and_card(saved: Path) -> None:
    condensed = CondensedSet.load(saved)
    before = {entry.name: (entry.read_bytes(), entry.stat().st_mtime_ns) for entry in saved.iterdir()}
    condensed.add_score(Score.of("resnet10", "dm", [55.5, 56.5], {"epochs": 3}), saved)
    after = {entry.name: (entry.read_bytes(), entry.stat().st_mtime_ns) for entry in saved.iterdir()}
    assert {name for name in FILES if before[name] != after[name]} == {"README.md", "condensed.json"}
    assert sorted(after) == FILES
    assert [score.network for score in CondensedSet.load(saved).scores] == ["convnet3", "resnet10"]
    assert "| resnet10 | dm | 2 | 56.00 ± 0.71 |" in (saved / "README.md").read_text(encoding="utf-8")


def test_add_score_keeps_scores_stored_in_the_meantime(saved: Path) -> None:
    one, other = CondensedSet.load(saved), CondensedSet.load(saved)
    other.add_score(Score.of("resnet18", "idc", [50.0], {}), saved)
    one.add_score(Score.of("densenet121", "idc", [40.0], {}), saved)
    networks = [score.network for score in CondensedSet.load(saved).scores]
    assert networks == ["convnet3", "resnet18", "densenet121"]
    with pytest.raises(UserError, match="another set"):
        make(num_classes=4).add_score(Score.of("convnet3", "idc", [1.0], {}), saved)


def test_environment_says_what_and_not_where() -> None:
    versions, hardware = describe_environment()
    assert {"python", "m3d-condense", "torch", "numpy", "datasets", "safetensors"} == set(versions)
    assert hardware["cores"] >= 1
    assert hardware["cpu"]
    json.dumps([versions, hardware], allow_nan=False)
