from __future__ import annotations

import errno
import hashlib
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from condensed_sets import make
from safetensors.torch import load_file, save_file
from torch import Tensor

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.tools.errors import UserError

TABLES = ["data/train-00000-of-00001.parquet", "stored/train-00000-of-00001.parquet"]
FILES = sorted(["README.md", "condensed.json", "images.safetensors", "metrics.jsonl", "preview.png", *TABLES])


def facts(condensed: CondensedSet) -> dict[str, Any]:
    return {name: value for name, value in vars(condensed).items() if not isinstance(value, Tensor)}


def tree(folder: Path) -> dict[str, bytes]:
    files = (entry for entry in folder.rglob("*") if entry.is_file())
    return {entry.relative_to(folder).as_posix(): entry.read_bytes() for entry in files}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return make().save(tmp_path / "set")


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    condensed = make()
    assert condensed.save(tmp_path / "set") == tmp_path / "set"
    assert sorted(tree(tmp_path / "set")) == FILES
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


def test_names_in_a_foreign_encoding_are_kept(tmp_path: Path) -> None:
    names = (b"caf\xe9".decode(errors="surrogateescape"), "a\x1b[31m", "b")
    path = make(class_names=names).save(tmp_path / "set")
    assert CondensedSet.load(path).class_names == names


def test_losses_that_are_not_finite_are_stored_as_null(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}]
    path = make(history=history).save(tmp_path / "set")
    stored = json.loads((path / "condensed.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [step["loss"] for step in stored["history"]] == [None, None]
    assert all(math.isnan(step["loss"]) for step in CondensedSet.load(path).history)


def test_failed_save_leaves_the_old_set_and_nothing_else(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(saved)
    write_text = Path.write_text

    def full(self: Path, data: str, **options: Any) -> int:
        if self.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, data, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        make(num_classes=5).save(saved)
    assert tree(saved) == before
    assert [entry.name for entry in saved.parent.iterdir()] == ["set"]
    assert CondensedSet.load(saved).num_classes == 3


def test_save_replaces_a_set_but_nothing_else(saved: Path, tmp_path: Path) -> None:
    (saved / "report.html").write_text("stale")
    CondensedSet.check_target(saved)
    make(num_classes=4).save(saved)
    assert CondensedSet.load(saved).num_classes == 4
    assert not (saved / "report.html").exists()
    with pytest.raises(UserError, match="other files"):  # a folder that holds a set, and is none
        CondensedSet.check_target(tmp_path)


@pytest.mark.parametrize("place", ["notes.txt", "data/notes.txt", "stored/deep/notes.txt", "README.md/notes.txt"])
def test_a_set_with_something_of_the_users_is_not_replaced(saved: Path, place: str) -> None:
    if place.startswith("README.md"):
        (saved / "README.md").unlink()
    (saved / place).parent.mkdir(exist_ok=True)
    (saved / place).write_text("mine")
    with pytest.raises(UserError, match="other files"):
        CondensedSet.check_target(saved)
    with pytest.raises(UserError, match="other files"):
        make().save(saved)
    assert (saved / place).read_text() == "mine"


def test_leftovers_of_killed_programs_are_no_other_files(saved: Path) -> None:
    (saved / ".condensed.json.01234567.partial").write_text("cut off")
    (saved / TABLES[0]).with_name(".train-00000-of-00001.parquet.01234567.partial").write_text("cut off")
    CondensedSet.check_target(saved)
    CondensedSet.load(saved).add_score(Score.of("resnet10", "dm", [55.5], {}), saved)
    assert not (saved / ".condensed.json.01234567.partial").exists()
    make(num_classes=4).save(saved)
    assert sorted(tree(saved)) == FILES
    (saved / ".notes.txt.01234567.partial").write_text("not of a file that we write")
    with pytest.raises(UserError, match="other files"):
        CondensedSet.check_target(saved)


def test_a_set_moved_aside_by_a_killed_program_is_found(saved: Path) -> None:
    for find in (is_condensed_set, CondensedSet.load, CondensedSet.check_target):
        saved.rename(saved.with_name(".set.01234567.replaced"))
        find(saved)
        assert [entry.name for entry in saved.parent.iterdir()] == ["set"]


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
    "newer": (edit(lambda c: c.update(format_version=4)), f"{META} has the format version 4.*pip install -U"),
    "unknown": (edit(lambda c: c.update(format_version="x\n")), f"{META} has the format version 'x.*fetch"),
    "no version": (edit(lambda c: c.pop("format_version")), f"{META} has the format version None"),
    "key missing": (edit(lambda c: c.pop("mean")), f"{META} is damaged: it has no 'mean'"),
    "key of wrong type": (
        edit(lambda c: c.update(factor="2")),
        f"{META} is damaged: it has a wrong 'factor'",
    ),
    "means": (edit(lambda c: c.update(mean=[0.5])), f"{META} is damaged: 1 means and 3 deviations"),
    "means of text": (edit(lambda c: c.update(mean=["a"] * 3)), f"{META} is damaged: it has a wrong 'mean'"),
    "std": (edit(lambda c: c.update(std=[0, 1, 1])), f"{META} is damaged: .* cannot normalise"),
    "factor": (edit(lambda c: c.update(factor=9)), f"{META} is damaged: factor 9 does not fit"),
    "fewer names": (
        edit(lambda c: c["class_names"].pop()),
        f"{META}.*labels run from 0 to 2.* 2 class names",
    ),
    "more names": (edit(lambda c: c["class_names"].append("x")), f"{META}.*class 'x' has no image"),
    "names of numbers": (edit(lambda c: c.update(class_names=[1, 2, 3])), f"{META} .* wrong 'class_names'"),
    "history": (edit(lambda c: c.update(history=[1])), f"{META} is damaged"),
    "score keys": (edit(lambda c: c["scores"][0].pop("n")), f"{META} is damaged: it has a wrong 'scores' .*`n`"),
    "score count": (edit(lambda c: c["scores"][0].update(n=2)), f"{META}.*score of 2 networks has 3"),
    "score spread": (edit(lambda c: c["scores"][0].update(std=math.nan)), f"{META} is damaged: .* std nan"),
    "truth for a number": (edit(lambda c: c.update(factor=True)), f"{META} .* wrong 'factor'"),
    "a number without end": (edit(lambda c: c.update(mean=[10**400] * 3)), f"{META} .* wrong 'mean'"),
    "a step without end": (
        edit(lambda c: c["history"][0].update(step=10**400)),
        f"{META} .* wrong 'history'",
    ),
    "a nested text": (edit(lambda c: c["versions"].update(torch=["2"])), f"{META} .* wrong 'versions'"),
    "depth": (lambda p: (p / "condensed.json").write_text("[" * 10**5), f"{META} cannot be read"),
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


def test_add_score_touches_only_json_and_card(saved: Path) -> None:
    condensed = CondensedSet.load(saved)
    before, times = tree(saved), {name: (saved / name).stat().st_mtime_ns for name in FILES}
    condensed.add_score(Score.of("resnet10", "dm", [55.5, 56.5], {"epochs": 3}), saved)
    after = tree(saved)
    assert sorted(after) == FILES
    touched = {name for name in FILES if (saved / name).stat().st_mtime_ns != times[name]}
    assert touched == {name for name in FILES if before[name] != after[name]} == {"README.md", "condensed.json"}
    assert [score.network for score in CondensedSet.load(saved).scores] == ["convnet3", "resnet10"]
    assert "| resnet10 | dm, 3 epochs | 2 | 56.00 ± 0.71 |" in (saved / "README.md").read_text(encoding="utf-8")


def test_add_score_completes_a_set_of_a_version_without_tables(saved: Path) -> None:
    complete = tree(saved)
    for table in TABLES:
        (saved / table).unlink()
        (saved / table).parent.rmdir()
    CondensedSet.load(saved).add_score(Score.of("resnet10", "dm", [55.5], {}), saved)
    assert {table: tree(saved)[table] for table in TABLES} == {table: complete[table] for table in TABLES}


def test_a_score_of_the_same_replaces_the_earlier_one(saved: Path) -> None:
    told = {"epochs": 3, "seed": 0, "arithmetic": "float32", "versions": {"torch": "2.9"}}
    first = Score.of("resnet10", "dm", [50.0], told)
    again = Score.of("resnet10", "dm", [51.0], told | {"versions": {"torch": "2.10"}})
    others = [
        Score.of("resnet18", "dm", [50.0], told),
        Score.of("resnet10", "idc", [50.0], told),
        Score.of("resnet10", "dm", [50.0, 60.0], told),
        *(Score.of("resnet10", "dm", [50.0], told | one) for one in ({"epochs": 2}, {"seed": 1}, {"labels": "soft"})),
        Score.of("resnet10", "dm", [50.0], told | {"arithmetic": "bfloat16"}),
    ]
    in_memory = make(scores=[])
    for score in (first, *others[:5], others[6], first, again):
        CondensedSet.load(saved).add_score(score, saved)
    for score in (first, *others, first, again):
        in_memory.add_score(score)
    assert CondensedSet.load(saved).scores[1:] == [*others[:5], others[6], again]
    assert in_memory.scores == [*others, again]


def test_add_score_keeps_scores_stored_in_the_meantime(saved: Path) -> None:
    one, other = CondensedSet.load(saved), CondensedSet.load(saved)
    other.add_score(Score.of("resnet18", "idc", [50.0], {}), saved)
    one.add_score(Score.of("densenet121", "idc", [40.0], {}), saved)
    networks = [score.network for score in CondensedSet.load(saved).scores]
    assert networks == ["convnet3", "resnet18", "densenet121"]
    with pytest.raises(UserError, match="another set"):
        make(num_classes=4).add_score(Score.of("convnet3", "idc", [1.0], {}), saved)


@pytest.mark.parametrize(
    "damage", ["images of another", "labels of another", "byte", "factor", "class names", "mean", "std"]
)
def test_what_is_not_of_one_set_is_refused(tmp_path: Path, damage: str) -> None:
    folder, other = make().save(tmp_path / "set"), make()
    images, meta = folder / "images.safetensors", folder / "condensed.json"
    if damage == "images of another":
        other.images = 255 - other.images
    else:
        other.labels = other.labels.flip(0)
    content = json.loads(meta.read_text())
    if "another" in damage:
        images.write_bytes((other.save(tmp_path / "other") / "images.safetensors").read_bytes())
    elif damage == "byte":
        data = bytearray(images.read_bytes())
        data[-1] ^= 1
        images.write_bytes(data)
    elif damage == "factor":
        meta.write_text(json.dumps(content | {"factor": content["factor"] + 1}))
    elif damage in content:
        meta.write_text(json.dumps(content | {damage: [value + 1e-6 for value in content[damage]]}))
    else:
        meta.write_text(json.dumps(content | {"class_names": content["class_names"][::-1]}))
    with pytest.raises(UserError, match=r"are not of one set|is damaged"):
        CondensedSet.load(folder)


def test_a_set_of_before_tells_no_fingerprint_of_its_own(tmp_path: Path) -> None:
    folder = make().save(tmp_path / "set")
    content = json.loads((folder / "condensed.json").read_text())
    del content["fingerprint"]
    (folder / "condensed.json").write_text(json.dumps(content))
    assert CondensedSet.load(folder).fingerprint == make().fingerprint


def test_a_fingerprint_of_before_does_not_look_at_the_normalisation(tmp_path: Path) -> None:
    made = make()
    folder = made.save(tmp_path / "set")
    digest = hashlib.sha256(repr((tuple(made.images.shape), made.factor, made.class_names)).encode())
    digest.update(made.images.numpy().data)
    digest.update(made.labels.numpy().data)
    content = json.loads((folder / "condensed.json").read_text())
    (folder / "condensed.json").write_text(json.dumps(content | {"fingerprint": f"sha256:{digest.hexdigest()}"}))
    assert CondensedSet.load(folder).fingerprint == made.fingerprint
