from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from m3d_condense.condensing import checkpoint
from m3d_condense.condensing.checkpoint import Progress
from m3d_condense.condensing.pixels import Pixels


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
