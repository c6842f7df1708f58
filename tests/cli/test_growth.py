from __future__ import annotations

import pytest
import torch

from m3d_condense.cli.main import main
from m3d_condense.sets.condensed import CondensedSet

pytestmark = pytest.mark.usefixtures("own_folder")


def condense(*arguments: str) -> int:
    return main(["condense", "digits", "--method", "random", *arguments])


def test_a_set_is_grown(capsys: pytest.CaptureFixture[str]) -> None:
    assert condense("--ipc", "1", "--seed", "4", "--out", "old", "-q") == 0
    assert condense("--ipc", "3", "--start-from", "old", "--out", "grown") == 0
    assert "10 images of the earlier set stay as they are, and 20 are added" in capsys.readouterr().err
    old, grown = CondensedSet.load("old"), CondensedSet.load("grown")
    assert torch.equal(grown.images.view(10, 3, 8, 8)[:, 0], old.images[:, 0])
    assert condense("--ipc", "3", "--start-from", "old", "--keep-old", "false", "--out", "further", "-q") == 0
    assert CondensedSet.load("further").settings["start_from"]["kept"] is False


def test_a_set_whose_origin_is_another_one_now_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    condense("--ipc", "1", "--out", "old")
    condense("--ipc", "2", "--start-from", "old", "--out", "grown")
    assert main(["condense", "--config", "grown", "--out", "again"]) == 0
    assert "is another one now" not in capsys.readouterr().err
    condense("--ipc", "1", "--seed", "4", "--out", "old", "--overwrite")
    assert main(["condense", "--config", "grown", "--out", "other"]) == 0
    said = capsys.readouterr().err
    assert "grown: the set that it was grown from" in said
    assert "old, is another one now, and so will be what is made of it" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--start-from", "nothing"], "m3d: nothing is not a condensed set"),
        (
            ["--start-from", "old", "--factor", "2"],
            "m3d: --start-from: has the factor 1, but this run 2; give",
        ),
        (
            ["--start-from", "old", "--size", "6"],
            "m3d: --start-from: holds images of (1, 8, 8), but those of",
        ),
        (
            ["--start-from", "old", "--ipc", "1"],
            "m3d: --ipc 1: the set to start from has 2 images of 0, more",
        ),
        (["--start-from", "old", "--keep-old", "true"], "m3d: nothing is left to optimise: the set to start from has"),
        (["--keep-old", "false"], "m3d: --keep-old false: goes with --start-from only"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert condense("--ipc", "2", "--out", "old", "-q") == 0
    assert condense("--ipc", "2", "--out", "new", *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(said)
