"""Work shared with processes on the other cores, its results in order.

The processes are loky's, which do not run the caller's script again. They import this file: it is free of the rest.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from typing import TypeVar

import loky

UNABLE = (OSError, ImportError, NotImplementedError)  # of systems without semaphores, memory or room for processes
MOST = 16  # processes: what one process can read keeps no more of them busy

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def processes(wanted: bool) -> Iterator[Executor | None]:
    """Yield a pool of processes, one a core, that are gone at the end; None where they are not wanted or cannot be."""
    if not wanted or _count() == 1 or multiprocessing.current_process().daemon:
        yield None
        return
    try:
        pool = loky.ProcessPoolExecutor(_count(), initializer=_follow, initargs=(os.getpid(),))
    except UNABLE:
        yield None
        return
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def in_order(
    tasks: Iterable[Task],
    here: Callable[[Task], Result],
    attempt: Callable[[Task], Result | None],
    pool: Executor | None,
) -> Iterator[Result]:
    """Yield the result of each task, in order, with a few tasks under way in the pool.

    Args:
        tasks: are taken one by one, as the work goes on.
        here: does a task in this process, where there is no pool, and where the pool has failed: what is special in
            this process then applies, and an error is raised at its place in the order.
        attempt: does a task in a process of the pool, and returns None where that fails.
        pool: of `processes`.
    """
    waiting: deque[tuple[Task, Future[Result | None] | None]] = deque()
    for task in tasks:
        if pool is None:
            yield here(task)
            continue
        waiting.append((task, _submitted(pool, attempt, task)))
        if len(waiting) > 2 * _count():
            yield _outcome(*waiting.popleft(), here)
    while waiting:
        yield _outcome(*waiting.popleft(), here)


def _count() -> int:
    """Return the number of processes: the cores that this one may use, at most."""
    return min(int(loky.cpu_count()), MOST)


def _submitted(pool: Executor, attempt: Callable[[Task], Result | None], task: Task) -> Future[Result | None] | None:
    """Hand a task to the pool; None where its processes cannot be started, or have died."""
    try:
        return pool.submit(attempt, task)
    except (BrokenExecutor, *UNABLE):
        return None


def _outcome(task: Task, future: Future[Result | None] | None, here: Callable[[Task], Result]) -> Result:
    try:
        result = None if future is None else future.result()
    except BrokenExecutor:  # a process was killed
        result = None
    return here(task) if result is None else result


def _follow(parent: int) -> None:
    """Leave interrupts at the terminal to the process that was asked, and end when it does, even if it is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
