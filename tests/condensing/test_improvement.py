"""Every method makes of its initial images a better training set than they were, on digits and in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.recipes.problem import Problem
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.progress import set_quiet

FAST = Execution(device="cpu", precision="float32", compile="no")  # native blocks where they can be built
SMALL = {"iterations": 60, "batch_real": 16}
SMALLER: dict[str, dict[str, Any]] = {  # where encoders are trained
    "dynamic": {"iterations": 20, "encoder_steps": 6},
    "pool": {"iterations": 30, "encoder_steps": 60, "encoder_count": 1},
    "queue": {"iterations": 40, "encoder_count": 4},
    "real": {"iterations": 40, "encoder_steps": 5},
    "synthetic": {"iterations": 40},
}


def methods() -> list[Any]:
    """All that iterate; of those with one objective and one source of encoders all but the first are slow tests."""
    found, seen = [], set()
    for name in METHODS:
        used = recipe(name, "quick", Problem(ipc=1, side=8), {})
        if used.iterations > 0:
            pair = used.objective, used.encoders
            marks = [pytest.mark.slow] if pair in seen else []
            found.append(pytest.param(name, used.encoders, marks=marks, id=name))
            seen.add(pair)
    return found


def accuracy(made: CondensedSet, digits: ImageDataset) -> float:
    return evaluate(made, digits, repeats=3, epochs=60, execution=FAST).mean


@pytest.fixture(scope="module")
def before(digits: ImageDataset) -> tuple[CondensedSet, float]:
    """What all of them start from, and its accuracy."""
    start = condense(digits, method="random", ipc=1, execution=FAST)
    return start, accuracy(start, digits)


@pytest.mark.parametrize(("method", "encoders"), methods())
def test_a_method_improves_over_its_own_initialisation(
    digits: ImageDataset,
    before: tuple[CondensedSet, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    encoders: str,
) -> None:
    set_quiet(True)
    monkeypatch.setenv("M3D_CACHE", str(tmp_path))
    start, worse = before
    settings = SMALL | SMALLER.get(encoders, {})
    assert (condense(digits, method=method, ipc=1, iterations=0, execution=FAST).images == start.images).all()
    better = accuracy(condense(digits, method=method, ipc=1, execution=FAST, **settings), digits)
    # Measured: 65 % before, and 72 % or more after.
    assert better > worse + 3.0, f"{worse:.1f} % before, {better:.1f} % after"
