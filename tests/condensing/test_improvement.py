"""Every method makes of its initial images a better training set than they were, on digits and in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Execution
from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.scoring import evaluate
from m3d_condense.tools.progress import set_quiet

STEPS = {"cafe": 30, "cafe-dsa": 30, "dc": 50, "dsa": 50, "idc": 50, "idm": 50, "idm-m3d": 50, "m3d-pool": 60}
ITERATIVE = [name for name in METHODS if recipe(name, "quick", ipc=1, side=8, overrides={}).iterations > 0]


@pytest.mark.parametrize("method", ITERATIVE)
def test_a_method_improves_over_its_own_initialisation(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    set_quiet(True)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path))
    settings = {"method": method, "ipc": 1, "execution": plain}
    if method == "m3d-pool":  # a smaller pool than the preset's
        settings |= {"encoder_steps": 100, "encoder_batch": 64}
    start, end = (condense(digits, iterations=n, **settings) for n in (0, STEPS.get(method, 100)))  # type: ignore[arg-type]
    before, after = (evaluate(made, digits, repeats=3, epochs=60, execution=plain).mean for made in (start, end))
    assert after > before + 2.0, f"{before:.1f} % before, {after:.1f} % after"
