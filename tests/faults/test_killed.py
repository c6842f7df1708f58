"""SIGKILL at any moment, and before every file operation: the same command finishes, in the same bits."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faults import commands
from killing import begun, ended, killed_after, kills

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import FORMS, export
from m3d_condense.studies.ledger import Ledger

pytestmark = pytest.mark.faults
MOMENTS = 20


def done(work: Callable[[], object]) -> float:
    """Do `work` in a process of its own, which must succeed; return the seconds."""
    start = time.monotonic()
    assert ended(begun(work)) == 0
    return time.monotonic() - start


@pytest.mark.parametrize("method", commands.OF_METHOD)
def test_a_run_that_is_killed_at_any_moment_ends_in_the_same_bits(
    method: str, tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    steps = 15
    seconds = done(lambda: commands.condense(tmp_path / "whole" / "set", method, iterations=steps))
    whole, stream = commands.pixels(tmp_path / "whole" / "set"), random.Random(method)
    killed = resumed = 0
    for _ in range(MOMENTS):
        folder = commands.emptied(tmp_path / "runs")
        shutil.rmtree(own_cache, ignore_errors=True)

        def work(out: Path = folder / "set") -> int:
            return commands.condense(out, method, iterations=steps)

        moment = stream.uniform(0, seconds)
        if killed_after(moment, work):
            killed += 1
        else:
            seconds = moment  # the first run was slower, on a busier machine
        resumed += (folder / "set.checkpoint").exists()
        done(work)
        assert commands.pixels(folder / "set") == whole
        assert commands.leftovers(folder) == []
        assert [path.name for path in folder.iterdir()] == ["set"]
    say(f"{method}: {MOMENTS} SIGKILLs, {killed} before the end, {resumed} with a checkpoint to go on from")
    assert killed > MOMENTS // 2


def operations(work: Callable[[], object], say: Callable[[str], None], name: str) -> Iterator[int]:
    """Kill `work` before each of its file operations, give it again, and yield after each; it must succeed."""
    number = 0
    for number in kills(work):
        done(work)
        yield number
    say(f"{name}: killed before each of {number - 1} file operations")
    assert number > 5


@pytest.mark.parametrize("method", ["m3d", "m3d-pool", "idm"])
def test_condense_is_killed_before_every_file_operation(
    method: str, tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    folder = tmp_path / "runs"

    def work() -> int:
        return commands.condense(folder / "set", method, iterations=3)

    done(work)
    whole, cached = commands.pixels(folder / "set"), sorted(path.name for path in own_cache.rglob("*"))
    commands.emptied(folder)
    shutil.rmtree(own_cache, ignore_errors=True)
    for number in operations(work, say, f"condense --method {method}"):
        assert commands.pixels(folder / "set") == whole, number
        assert [path.name for path in folder.iterdir()] == ["set"], number
        assert sorted(path.name for path in own_cache.rglob("*")) == cached, number
        commands.emptied(folder)
        shutil.rmtree(own_cache, ignore_errors=True)


def test_condense_over_another_set_is_killed_before_every_file_operation(
    tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    folder, old = tmp_path / "runs", tmp_path / "old"
    done(lambda: commands.condense(old / "set", iterations=2))
    before = commands.pixels(old / "set")

    def work() -> int:
        return commands.condense(folder / "set", "m3d", "--overwrite", iterations=3)

    def put() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)

    put()
    done(work)
    whole = commands.pixels(folder / "set")
    assert whole != before
    put()
    number = 0
    for number in kills(work):
        assert commands.pixels(folder / "set") in (before, whole), number
        done(work)
        assert commands.pixels(folder / "set") == whole, number
        assert [path.name for path in folder.iterdir()] == ["set"], number
        put()
    say(f"condense --overwrite: killed before each of {number - 1} file operations, the old set or the new was there")


def test_evaluate_is_killed_before_every_file_operation(
    tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    folder, old = tmp_path / "runs", tmp_path / "old"
    done(lambda: commands.condense(old / "set", iterations=2))

    def put() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)

    def work() -> int:
        return commands.evaluate(folder / "set")

    put()
    done(work)
    [score] = commands.accuracies(folder / "set")
    before = commands.pixels(folder / "set")
    put()
    for number in operations(work, say, "evaluate"):
        assert commands.accuracies(folder / "set") in ([score], [score, score]), number
        assert commands.pixels(folder / "set") == before, number
        assert commands.leftovers(folder) == [], number
        CondensedSet.check_target(folder / "set")
        put()


@pytest.mark.parametrize("labelled", [False, True], ids=["without labels", "over other labels"])
def test_label_is_killed_before_every_file_operation(
    tmp_path: Path, own_cache: Path, say: Callable[[str], None], labelled: bool
) -> None:
    folder, old = tmp_path / "runs", tmp_path / "old"
    done(lambda: commands.condense(old / "set", "m3d-pool", iterations=1))
    done(lambda: commands.evaluate(old / "set"))
    if labelled:
        done(lambda: commands.label(old / "set", "--temperature", "3"))

    def put() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)

    def work() -> int:
        return commands.label(folder / "set", "--overwrite")

    put()
    done(work)
    expected = CondensedSet.load(folder / "set")
    put()
    for number in operations(work, say, "label"):
        found = CondensedSet.load(folder / "set")
        assert torch.equal(found.decoded_labels("soft"), expected.decoded_labels("soft")), number
        assert (found.scores, found.fingerprint) == (expected.scores, expected.fingerprint), number
        assert commands.leftovers(folder) == [], number
        CondensedSet.check_target(folder / "set")
        put()


def test_compare_is_killed_before_every_file_operation(
    tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    folder, copy = tmp_path / "runs" / "study", tmp_path / "copy" / "study"

    def work() -> int:
        return commands.compare(folder)

    done(work)
    whole = commands.outcome(folder)
    commands.emptied(folder.parent)
    number = 0
    for number in kills(work):
        if folder.exists():  # what was left can be overwritten, too
            shutil.rmtree(copy.parent, ignore_errors=True)
            shutil.copytree(folder, copy)
            Ledger.open(copy, {}, [], overwrite=True)
        done(work)
        assert commands.outcome(folder) == whole, number
        assert commands.leftovers(folder.parent) == [], number
        commands.emptied(folder.parent)
    say(f"compare: killed before each of {number - 1} file operations, each time also overwritten")
    assert number > 50


@pytest.mark.parametrize("form", FORMS)
def test_export_is_killed_before_every_file_operation(
    form: str, tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    done(lambda: commands.condense(tmp_path / "set", iterations=1))
    condensed = CondensedSet.load(tmp_path / "set")
    folder, target = tmp_path / "exported", tmp_path / "exported" / "set.out"
    number = 0
    for number in kills(lambda: export(condensed, target, form)):
        if not target.exists():
            export(condensed, target, form)
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["set.out"], number
        shutil.rmtree(folder)
    say(f"export to {form}: killed before each of {number - 1} file operations")
    assert number > 2
