"""Runs that go wrong, and stored states that are not what they should be: one line, and nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.run import Run
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.tools.digests import digest_of
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import recorded, set_quiet

TINY: dict[str, Any] = {"ipc": 1, "iterations": 4, "batch_real": 4, "network": "convnet1", "factor": 1}
Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def begun(digits: ImageDataset, plain: Execution, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """Leave the checkpoint of a run that was interrupted after two steps, and return its file."""
    original = Run.take_step

    def stop(run: Run) -> Tensor:
        if run.step == 2:
            raise KeyboardInterrupt
        return original(run)

    with monkeypatch.context() as patch:
        patch.setattr("m3d_condense.condensing.run.SAVE_EVERY", 0.0)
        patch.setattr(Run, "take_step", stop)
        with pytest.raises(KeyboardInterrupt):
            condense(digits, out=out, execution=plain, **TINY | changes)
    return out.with_name(out.name + ".checkpoint")


def rewritten(file: Path, tensors: Callable[[Tensors], object], texts: Callable[[dict[str, str]], object]) -> bytes:
    """Change what a checkpoint holds, give it the digest of that, and return its bytes."""
    data = file.read_bytes()
    held, said = load(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors(held)
    texts(said)
    del said["digest"]
    file.write_bytes(save(held, {**said, "digest": digest_of(held, said)}))
    return file.read_bytes()


def progress(**values: Any) -> Callable[[dict[str, str]], object]:
    return lambda said: said.update(progress=json.dumps(json.loads(said["progress"]) | values))


def put(name: str, change: Callable[[Tensor], Tensor | None]) -> Callable[[Tensors], object]:
    def changed(held: Tensors) -> None:
        value = change(held[name])
        if value is None:
            del held[name]
        else:
            held[name] = value.contiguous()

    return changed


def more(name: str) -> Callable[[Tensors], object]:
    return lambda held: held.update({name: torch.zeros(1)})


def nothing(_: object) -> None:
    return


WRONG: dict[str, tuple[Callable[[Tensors], object], Callable[[dict[str, str]], object]]] = {
    "pixels of one class": (put("pixels", lambda x: x[:1]), nothing),
    "pixels of another size": (put("pixels", lambda x: x[..., :4]), nothing),
    "pixels of another type": (put("pixels", lambda x: x.double()), nothing),
    "pixels that are no numbers": (put("pixels", lambda x: x * float("nan")), nothing),
    "no pixels": (put("pixels", lambda x: None), nothing),
    "no optimiser": (put("optimizer.exp_avg", lambda x: None), nothing),
    "an optimiser of one class": (put("optimizer.exp_avg", lambda x: x[:1]), nothing),
    "an optimiser of another kind": (
        lambda held: held.update({"optimizer.momentum_buffer": held["pixels"].clone()}),
        nothing,
    ),
    "a step below 0": (nothing, progress(step=-5)),
    "a step beyond the last": (nothing, progress(step=10**9)),
    "a step without end": (nothing, progress(step=10**400)),
    "a step that is text": (nothing, progress(step="2")),
    "no step": (nothing, lambda said: said.update(progress='{"seconds": 1.0}')),
    "negative seconds": (nothing, progress(seconds=-1.0)),
    "a history of numbers": (nothing, progress(history=[1, 2])),
    "a history of text": (nothing, progress(history=[{"step": "1"}])),
    "progress that is no object": (nothing, lambda said: said.update(progress="[]")),
    "progress nested deeply": (nothing, lambda said: said.update(progress="[" * 10**5)),
    "identity nested deeply": (nothing, lambda said: said.update(identity="[" * 10**5)),
    "identity that is no object": (nothing, lambda said: said.update(identity="3")),
    "another version": (nothing, lambda said: said.update(format_version="1")),
    "no version": (nothing, lambda said: said.pop("format_version")),
}
OF_ENCODERS: dict[str, Callable[[Tensors], object]] = {
    "weights of another shape": put("encoder.network.classifier.weight", lambda x: x[:1]),
    "weights of another type": put("encoder.network.classifier.weight", lambda x: x.double()),
    "no weights": put("encoder.network.classifier.weight", lambda x: None),
    "weights too many": more("encoder.network.more"),
}


def test_a_state_that_no_run_has_is_one_line_and_stays(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    file = begun(digits, plain, out, monkeypatch)
    whole = file.read_bytes()
    for name, (tensors, texts) in WRONG.items():
        file.write_bytes(whole)
        wrong = rewritten(file, tensors, texts)
        with pytest.raises(UserError, match=r"set\.checkpoint.*overwrite=True") as caught:
            condense(digits, out=out, execution=plain, **TINY)
        assert "\n" not in str(caught.value), name
        assert file.read_bytes() == wrong, name
    file.write_bytes(whole)
    assert torch.equal(
        condense(digits, out=out, execution=plain, **TINY).images, condense(digits, execution=plain, **TINY).images
    )


@pytest.mark.parametrize("source", ["real", "dynamic"])
def test_encoders_that_are_of_another_run_are_one_line(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    trained = {"encoders": source, "encoder_steps": 1, "encoder_batch": 8, "iterations_per_model": 4}
    file = begun(digits, plain, tmp_path / "set", monkeypatch, **trained)
    whole = file.read_bytes()
    for name, change in OF_ENCODERS.items():
        file.write_bytes(whole)
        rewritten(file, change, nothing)
        with pytest.raises(UserError, match="not a readable checkpoint.*encoders") as caught:
            condense(digits, out=tmp_path / "set", execution=plain, **TINY | trained)
        assert "\n" not in str(caught.value), name


def test_a_byte_that_has_changed_is_seen(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = begun(digits, plain, tmp_path / "set", monkeypatch)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="its digest is another"):
        condense(digits, out=tmp_path / "set", execution=plain, **TINY)


@pytest.mark.parametrize("other", [{"native": True}, {"precision": "bfloat16"}])
def test_a_run_does_not_go_on_in_another_arithmetic(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    file = begun(digits, plain, tmp_path / "set", monkeypatch)
    left = file.read_bytes()
    changed = Execution(**{"device": "cpu", "precision": "float32", "native": False, "compile": "no"} | other)
    with pytest.raises(UserError, match=r"left by a run in float32 on cpu.*where this one is in .*overwrite=True"):
        condense(digits, out=tmp_path / "set", execution=changed, **TINY)
    assert file.read_bytes() == left


def test_overwrite_loses_no_state_to_a_run_that_cannot_begin(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = begun(digits, plain, tmp_path / "set", monkeypatch)
    left = file.read_bytes()
    with pytest.raises(UserError, match="network"):
        condense(digits, out=tmp_path / "set", overwrite=True, execution=plain, **TINY | {"network": "convnet9"})
    assert file.read_bytes() == left


@pytest.mark.parametrize("method", ["m3d", "random"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("ending", [".checkpoint", ".metrics.jsonl", ".preview.png", ".timetable.json"])
def test_no_file_of_others_is_lost(
    digits: ImageDataset, plain: Execution, tmp_path: Path, ending: str, overwrite: bool, method: str
) -> None:
    mine, asked = tmp_path / f"set{ending}", dict(TINY, method=method)
    if method == "random":
        asked = {"ipc": 1, "method": method}
    mine.write_text("mine")
    with pytest.raises(UserError, match=re.escape(f"set{ending}")):
        condense(digits, out=tmp_path / "set", overwrite=overwrite, execution=plain, **asked)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.glob("[!.]*")] == [(mine.name, "mine")]


def test_a_folder_under_the_name_of_a_file_is_refused(digits: ImageDataset, plain: Execution, tmp_path: Path) -> None:
    (tmp_path / "set.metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"set\.metrics\.jsonl is no file of ours and would be lost; move it elsewhere"):
        condense(digits, out=tmp_path / "set", execution=plain, **TINY)


@pytest.mark.parametrize("source", ["real", "synthetic", "queue", "pool"])
def test_a_network_that_diverges_is_named_and_the_last_good_state_kept(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("m3d_condense.condensing.run.SAVE_EVERY", 0.0)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    trained = {"encoders": source, "encoder_steps": 9, "encoder_batch": 8, "encoder_lr": 1e6, "encoder_count": 2}
    with pytest.raises(UserError, match="encoder_lr") as caught:
        condense(digits, out=tmp_path / "set", execution=plain, **TINY | trained | {"iterations_per_model": 4})
    assert "diverged" in str(caught.value)
    for file in tmp_path.rglob("*.safetensors"):
        pytest.fail(f"{file} holds what has diverged")
    if (tmp_path / "set.checkpoint").exists():
        held = load((tmp_path / "set.checkpoint").read_bytes())
        assert all(bool(part.isfinite().all()) for part in held.values())


def test_pixels_that_run_to_their_ends_are_said(digits: ImageDataset, plain: Execution) -> None:
    with recorded() as heard:
        condense(digits, execution=plain, **TINY | {"lr": 1e6})
    assert any("have ended at 0 or 1" in line and "lower lr than 1e+06" in line for line in heard)
    with recorded() as heard:
        condense(digits, execution=plain, **TINY)
    assert not any("have ended at 0 or 1" in line for line in heard)
