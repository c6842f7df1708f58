from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from m3d_condense.cli.main import main
from m3d_condense.condensing import observing
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.execution import Execution
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.progress import set_quiet

NETWORK = "convnet1-width8"  # small, so that the pages are quickly made


@pytest.fixture(scope="session")
def sets(digits: ImageDataset, plain: Execution, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small condensed sets: mosaics that were watched, and a random selection."""
    set_quiet(True)
    folder = tmp_path_factory.mktemp("sets")
    small: dict[str, Any] = {"execution": plain, "network": NETWORK}
    mosaics, random = folder / "mosaics", folder / "random"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observing, "WATCHED_STEPS", 5)
        condense(digits, ipc=2, factor=2, iterations=12, batch_real=8, watch=12, out=mosaics, **small)
    condense(digits, ipc=1, method="random", out=random, **small)
    score = evaluate(mosaics, digits, network=NETWORK, epochs=4, repeats=2, execution=plain)
    CondensedSet.load(mosaics).add_score(score, mosaics)
    return {"mosaics": mosaics, "random": random}


@pytest.fixture(scope="session")
def report(sets: dict[str, Path]) -> Path:
    """The page of the mosaics, networks trained and all."""
    assert main(["report", str(sets["mosaics"]), "-q"]) == 0
    return sets["mosaics"] / "report.html"


@pytest.fixture(scope="session")
def report_of_two(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of both sets, for which nothing is trained."""
    out = tmp_path_factory.mktemp("two") / "two.html"
    named = [str(sets["mosaics"]), str(sets["random"])]
    assert main(["report", *named, "--network", NETWORK, "--no-training", "--out", str(out), "-q"]) == 0
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, or a skip that says what is missing."""
    from browsers import chromium

    with chromium() as opened:
        yield opened
