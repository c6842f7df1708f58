"""Disks that are full, places where nothing may be written, and two processes at once: nothing is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from faults import commands
from killing import begun, ended

from m3d_condense.cli.main import main
from m3d_condense.condensing.run import Run

pytestmark = pytest.mark.faults
AS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a disk, and leaving root, needs root on Linux"
)
NOBODY = 65534


def said(work: Callable[[], object], file: Path) -> tuple[int, list[str]]:
    """Do `work` in a process of its own; return its status and the lines that it wrote on standard error."""

    def heard() -> object:
        with file.open("w") as sink, contextlib.redirect_stderr(sink):
            return work()

    status = ended(begun(heard))
    return status, file.read_text().splitlines()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("no disk may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(disk)], check=True)


@AS_ROOT
def test_condense_on_a_full_disk(disk: Path, tmp_path: Path, own_cache: Path, say: Callable[[str], None]) -> None:
    work: Callable[[], int] = lambda: commands.condense(disk / "runs" / "set", iterations=3)  # noqa: E731
    commands.condense(tmp_path / "set", iterations=3)
    whole, full = commands.pixels(tmp_path / "set"), 0
    for kib in range(4, 100, 4):
        shutil.rmtree(disk / "runs", ignore_errors=True)
        resize(disk, kib)
        status, lines = said(work, tmp_path / "err")
        if status != 0:
            full += 1
            assert (status, len(lines)) == (1, 1), lines
            assert "No space left on device" in lines[0]
            assert not (disk / "runs" / "set").exists()
        resize(disk, 1024)
        assert ended(begun(work)) == 0
        assert commands.pixels(disk / "runs" / "set") == whole
        assert [path.name for path in (disk / "runs").iterdir()] == ["set"]
    say(f"condense on disks of 4 to 96 KiB: full {full} times, one line each, and finished once there was room")
    assert full > 5


@AS_ROOT
def test_evaluate_and_compare_on_a_full_disk(
    disk: Path, tmp_path: Path, own_cache: Path, say: Callable[[str], None]
) -> None:
    work: Callable[[], int] = lambda: commands.compare(disk / "study")  # noqa: E731
    commands.compare(tmp_path / "study")
    whole, full = commands.outcome(tmp_path / "study"), 0
    for kib in range(8, 180, 12):
        shutil.rmtree(disk / "study", ignore_errors=True)
        resize(disk, kib)
        status, lines = said(work, tmp_path / "err")
        if status != 0:
            full += 1
            assert (status, len(lines)) == (1, 1), lines
        resize(disk, 1024)
        assert ended(begun(work)) == 0
        assert commands.outcome(disk / "study") == whole
        assert commands.leftovers(disk) == []
    say(f"compare on disks of 8 to 176 KiB: full {full} times, one line each, and finished once there was room")
    [path] = (path for path in (disk / "study" / "sets").iterdir() if "dm" in path.name)
    before = commands.accuracies(path)
    used = sum(file.stat().st_blocks for file in disk.rglob("*")) // 2
    resize(disk, used + 4)
    status, lines = said(lambda: commands.evaluate(path), tmp_path / "err")
    assert (status, len(lines)) == (1, 1)
    assert "its scores, printed above, could not be stored" in lines[0]
    assert commands.accuracies(path) == before


def as_nobody(work: Callable[[], object]) -> Callable[[], object]:
    def left() -> object:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return work()

    return left


def never(run: Run) -> NoReturn:
    raise AssertionError("a step was taken though nothing can be written")


@AS_ROOT
def test_without_permission(
    tmp_path_factory: pytest.TempPathFactory, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.condense(Path("set"), iterations=2)  # imports what a process without permission could not read
    commands.evaluate(Path("set"))
    place = Path("/tmp") / f"m3d-faults-{os.getpid()}"
    try:
        commands.emptied(place)
        shutil.copytree("set", place / "set")
        monkeypatch.chdir("/tmp")
        monkeypatch.setenv("M3D_CACHE", str(place / "cache"))
        err = tmp_path_factory.mktemp("said") / "err"
        with monkeypatch.context() as patch:
            patch.setattr(Run, "take_step", never)
            status, lines = said(as_nobody(lambda: commands.condense(place / "new")), err)
            assert (status, len(lines)) == (2, 1), lines
            assert "cannot be written to (Permission denied)" in lines[0]
            assert ended(begun(as_nobody(lambda: commands.condense(place / "set", iterations=2)))) == 0
        for command in (["train", "digits", "--out", str(place / "x.safetensors")], ["report", str(place / "set")]):
            status, lines = said(as_nobody(lambda asked=command: main(asked)), err)  # type: ignore[misc]
            assert (status, len(lines)) == (2, 1), lines
            assert "cannot be written to (Permission denied)" in lines[0]
        before = commands.accuracies(place / "set")
        status, lines = said(as_nobody(lambda: commands.evaluate(place / "set")), err)
        assert (status, len(lines)) == (1, 1), lines
        assert "could not be stored" in lines[0]
        assert commands.accuracies(place / "set") == before
        assert sorted(path.name for path in place.iterdir()) == ["set"]
        (place / "cache").mkdir(mode=0o755)
        (place / "open").mkdir()
        (place / "open").chmod(0o777)
        work = as_nobody(lambda: commands.condense(place / "open" / "pool", "m3d-pool"))
        assert ended(begun(work)) == 0
        assert list((place / "cache").iterdir()) == []
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.2])
def test_two_runs_at_once(tmp_path: Path, own_cache: Path, pause: float) -> None:
    work: Callable[[], int] = lambda: commands.condense(tmp_path / "runs" / "set", iterations=60)  # noqa: E731
    commands.condense(tmp_path / "whole", iterations=60)
    first = begun(work)
    time.sleep(pause)
    status, lines = said(work, tmp_path / "err")
    statuses = sorted([status, ended(first)])
    assert statuses == [0, 2], lines
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["set"]
    assert commands.pixels(tmp_path / "runs" / "set") == commands.pixels(tmp_path / "whole")


def test_two_comparisons_at_once(tmp_path: Path, own_cache: Path) -> None:
    commands.compare(tmp_path / "whole")
    work: Callable[[], int] = lambda: commands.compare(tmp_path / "study")  # noqa: E731
    first = begun(work)
    time.sleep(0.1)
    status, lines = said(work, tmp_path / "err")
    assert sorted([status, ended(first)]) == [0, 2], lines
    assert ended(begun(work)) == 0
    assert commands.outcome(tmp_path / "study") == commands.outcome(tmp_path / "whole")


def test_two_evaluations_of_one_set_keep_both_scores(tmp_path: Path, own_cache: Path) -> None:
    commands.condense(tmp_path / "set", iterations=2)
    children = [begun(lambda seed=seed: commands.evaluate(tmp_path / "set", "--seed", seed)) for seed in "12"]
    assert [ended(child) for child in children] == [0, 0]
    assert len(commands.accuracies(tmp_path / "set")) == 2


def test_two_runs_that_share_a_cache_end_in_the_same_bits(tmp_path: Path, own_cache: Path) -> None:
    commands.condense(tmp_path / "whole", "m3d-pool")
    shutil.rmtree(own_cache)
    outs = [tmp_path / "one", tmp_path / "other"]
    children = [begun(lambda out=out: commands.condense(out, "m3d-pool")) for out in outs]
    assert [ended(child) for child in children] == [0, 0]
    assert {commands.pixels(out) for out in outs} == {commands.pixels(tmp_path / "whole")}


@pytest.mark.parametrize("most", [1, 2_000, 5_000, 20_000])
def test_files_that_may_not_grow(tmp_path: Path, own_cache: Path, most: int) -> None:
    """Any file's writing fails past so many bytes, as on a full disk, for a user who may mount none."""
    commands.condense(tmp_path / "whole", iterations=3)
    work: Callable[[], int] = lambda: commands.condense(tmp_path / "runs" / "set", iterations=3)  # noqa: E731

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        return work()

    assert ended(begun(limited)) in (0, 1)
    assert ended(begun(work)) == 0
    assert commands.pixels(tmp_path / "runs" / "set") == commands.pixels(tmp_path / "whole")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["set"]
