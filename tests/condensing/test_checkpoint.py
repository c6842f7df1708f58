from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.checkpoint import Progress
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.recipes.recipe import completed
from m3d_condense.tools.errors import UserError


def test_a_checkpoint_is_told_from_other_files(tmp_path: Path) -> None:
    pixels = Pixels(torch.zeros(2, 1, 1, 8, 8), 1)
    optimizer = torch.optim.SGD([pixels.values], lr=0.1, momentum=0.5)
    checkpoint.save(tmp_path / "ours", {"recipe": {}}, pixels, optimizer, {}, Progress(step=0, seconds=0.0))
    safetensors.torch.save_file({"pixels": torch.zeros(1)}, tmp_path / "tensors")
    (tmp_path / "text").write_text("mine")
    (tmp_path / "cut").write_bytes((tmp_path / "ours").read_bytes()[:-8])
    (tmp_path / "short").write_bytes((tmp_path / "ours").read_bytes()[:80])
    (tmp_path / "folder").mkdir()
    assert checkpoint.is_checkpoint(tmp_path / "ours")
    assert checkpoint.is_checkpoint(tmp_path / "cut")
    for other in ("tensors", "text", "short", "folder", "missing"):
        assert not checkpoint.is_checkpoint(tmp_path / other), other


def test_a_run_goes_on_from_a_checkpoint_that_is_older_than_a_setting(tmp_path: Path) -> None:
    pixels = Pixels(torch.zeros(2, 1, 1, 8, 8), 1)
    optimizer = torch.optim.SGD([pixels.values], lr=0.1)
    saved = tmp_path / "run.checkpoint"
    checkpoint.save(saved, {"recipe": {"lr": 0.1}}, pixels, optimizer, {}, Progress(step=3, seconds=0.0))
    asked = {"recipe": completed({"lr": 0.1})}
    assert asked["recipe"]["bits"] == 8
    assert checkpoint.belongs(saved, asked)
    found = checkpoint.read(saved, asked)
    assert found is not None
    assert found[0].step == 3
    with pytest.raises(UserError, match="left by a run with other settings or data"):
        checkpoint.read(saved, {"recipe": asked["recipe"] | {"bits": 2}})
