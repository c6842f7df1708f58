"""Minutes long, on the real data of a checkout that has them: M3D beats random selection on each."""

from __future__ import annotations

from pathlib import Path

import pytest
import shared_data

from m3d_condense import condense, evaluate, load, random_selections


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "margin"),
    [("mnist", None, 15), ("fashion_mnist", None, 8), ("cifar10", None, 6), ("imagenette_mini", 32, 4)],
)
def test_m3d_beats_random_selection_on_real_data(tmp_path: Path, name: str, size: int | None, margin: float) -> None:
    dataset = load(shared_data.folder(name), size=size)
    made = condense(dataset, ipc=1, iterations=100, out=tmp_path / "set")
    ours = evaluate(made, dataset, repeats=2)
    chance = evaluate(random_selections(dataset, 1, 2), dataset, repeats=2)
    assert ours.mean > chance.mean + margin, (ours.accuracies, chance.accuracies)
