"""Commands that take a moment, and what must be the same after they were stopped and given again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from m3d_condense.cli.main import main
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.leftovers import is_partial

MACHINE = ["--device", "cpu", "--precision", "float32", "--native", "false", "--compile", "no", "-q"]
TINY = ["--ipc", "1", "--batch-real", "4", "--network", "convnet1"]
TRAINED = ["--encoder-steps", "2", "--encoder-batch", "8", "--iterations-per-model", "3"]
OF_METHOD = {
    "m3d": [],
    "m3d-pool": [*TRAINED, "--encoder-count", "2"],
    "idc": [*TRAINED, "--encoder-warmup", "2"],
    "idm": [*TRAINED, "--encoder-count", "3"],
    "cafe": TRAINED,
}


def condense(out: Path, method: str = "m3d", *more: str, iterations: int = 8) -> int:
    steps = ["--method", method, "--iterations", str(iterations), *OF_METHOD[method]]
    return main(["condense", "digits", "--out", str(out), *steps, *TINY, *MACHINE, *more])


def evaluate(path: Path, *more: str) -> int:
    return main(["evaluate", str(path), "--networks", "convnet1", "--repeats", "1", "--epochs", "1", *MACHINE, *more])


def label(path: Path, *more: str) -> int:
    return main(["label", str(path), *MACHINE, *more])


def compare(out: Path, *more: str) -> int:
    methods = ["--methods", "dm", "--no-whole", "--seeds", "1", "--repeats", "1", "--epochs", "1"]
    networks = ["--networks", "convnet1", "--iterations", "2"]
    return main(["compare", "digits", "--out", str(out), *methods, *networks, *TINY, *MACHINE, *more])


def pixels(path: Path) -> bytes:
    return CondensedSet.load(path).images.numpy().tobytes()


def accuracies(path: Path) -> list[list[float]]:
    return [score.accuracies for score in CondensedSet.load(path).scores]


def outcome(folder: Path) -> Any:
    """What a comparison found out, without the seconds and the bytes of memory that it took."""
    rows = json.loads((folder / "comparison.json").read_text())["rows"]
    found = {row["method"]: (row["mean"], [sample["accuracies"] for sample in row["seeds"]]) for row in rows}
    return found, {path.name: (pixels(path), accuracies(path)) for path in (folder / "sets").iterdir()}


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if is_partial(path) or path.name.endswith(".checkpoint")]


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
