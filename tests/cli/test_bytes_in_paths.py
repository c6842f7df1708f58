"""Paths that are no UTF-8, as an old archive or a share in Latin-1 leaves them: all that reads and writes there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pictures import folder

from m3d_condense.cli.main import main
from m3d_condense.data.load import load
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.training.trained import load_network

QUICK = ("--network", "convnet1-width8", "--epochs", "1", "-q")
LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def here(own_folder: None, capsysbinary: pytest.CaptureFixture[bytes]) -> Path:
    """A folder of images whose name is no UTF-8, in the working folder; what is printed may be none either."""
    try:
        Path(LATIN).mkdir()
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    return folder(Path(LATIN), count=5)


def test_a_network_that_was_trained_on_such_a_folder_is_loaded(here: Path) -> None:
    assert main(["train", str(here), *QUICK, "--out", f"{LATIN}.safetensors"]) == 0
    assert load_network(f"{LATIN}.safetensors").class_names == load(here).class_names


def test_a_set_in_such_a_folder_is_read_scored_and_shown(
    here: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = f"{LATIN}-set"
    assert main(["condense", str(here), "--method", "random", "--ipc", "1", "--out", out, "-q"]) == 0
    assert CondensedSet.load(out).source["name"] == "caf\\xe9"
    assert main(["evaluate", out, "--networks", "convnet1-width8", "--epochs", "1", "--repeats", "1", "-q"]) == 0
    assert main(["info", out]) == 0
    assert main(["export", out, "--to", "npz", "--out", f"{LATIN}.npz", "-q"]) == 0
    assert main(["report", out, "--no-training", "-q"]) == 0
    assert b"caf\xe9-set/report.html" in capsysbinary.readouterr().out
    assert r"caf\xe9" in Path(out, "report.html").read_text(encoding="utf-8")
    assert main(["condense", "--config", out, "--out", "again", "-q"]) == 0
    assert CondensedSet.load("again").fingerprint == CondensedSet.load(out).fingerprint


def test_such_a_folder_is_compared_on(here: Path) -> None:
    asked = ["compare", str(here), "--methods", "random", "--ipc", "1", "--no-whole", "--out", f"{LATIN}-table"]
    scored = ["--networks", "convnet1-width8", "--epochs", "1", "--repeats", "1", "-q"]
    assert main([*asked, *scored]) == 0
    assert main([*asked, *scored]) == 0
