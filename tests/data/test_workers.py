from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from m3d_condense.data import workers
from m3d_condense.data.workers import in_order, processes


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.loky, "cpu_count", lambda: 2)


def refused(task: int) -> tuple[int, int]:
    raise AssertionError(f"{task} is done in this process")


def test_results_come_in_order_from_other_processes() -> None:
    def attempt(task: int) -> tuple[int, int]:
        time.sleep(0.3 if task == 0 else 0)
        return task, os.getpid()

    with processes(True) as pool:
        results = list(in_order(range(9), refused, attempt, pool))
    assert [task for task, _ in results] == list(range(9))
    assert os.getpid() not in {process for _, process in results}


def test_what_fails_elsewhere_is_done_here_at_its_place() -> None:
    def here(task: int) -> str:
        if task == 7:
            raise ValueError("at its place")
        return f"{task} here"

    def attempt(task: int) -> str | None:
        return None if task in (3, 7) else f"{task} there"

    with processes(True) as pool:
        results = in_order(range(9), here, attempt, pool)
        found = [next(results) for _ in range(7)]
        with pytest.raises(ValueError, match="at its place"):
            next(results)
    assert found == ["0 there", "1 there", "2 there", "3 here", "4 there", "5 there", "6 there"]


def test_work_goes_on_here_when_a_process_dies() -> None:
    with processes(True) as pool:
        assert list(in_order(range(9), lambda task: task, lambda task: os._exit(1), pool)) == list(range(9))


def test_tasks_are_taken_as_the_work_goes_on() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for task in range(40):
            taken.append(task)
            yield task

    with processes(True) as pool:
        next(in_order(tasks(), refused, lambda task: (task, 0), pool))
    assert len(taken) < 10


def test_without_a_pool_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with processes(False) as pool:
        assert pool is None
    monkeypatch.setattr(workers.loky, "cpu_count", lambda: 1)
    with processes(True) as pool:
        assert list(in_order(range(3), lambda task: 2 * task, refused, pool)) == [0, 2, 4]


def test_where_no_process_can_be_started_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise OSError("no semaphores")

    with processes(True) as pool:
        assert isinstance(pool, Executor)
        monkeypatch.setattr(pool, "submit", fail)
        assert list(in_order(range(3), lambda task: 2 * task, refused, pool)) == [0, 2, 4]


def test_where_there_are_no_pools_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise ImportError("This platform lacks a functioning sem_open implementation")

    monkeypatch.setattr(workers.loky, "ProcessPoolExecutor", fail)
    with processes(True) as pool:
        assert list(in_order(range(3), lambda task: 2 * task, refused, pool)) == [0, 2, 4]


def test_an_interrupt_does_not_wait_for_what_is_under_way() -> None:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), processes(True) as pool:
        list(in_order(range(9), refused, lambda task: time.sleep(60), pool))
    assert time.monotonic() - begun < 20


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no parents to follow")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    program = """
import os, sys, time
from m3d_condense.data import workers
workers.loky.cpu_count = lambda: 2
with workers.processes(True) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    list(workers.in_order(range(9), None, lambda task: time.sleep(60), pool))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _runs(child)
        parent.kill()
        limit = time.monotonic() + 20
        while _runs(child) and time.monotonic() < limit:
            time.sleep(0.2)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
