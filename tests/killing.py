"""Work in a process of its own, which is killed: before one of its file operations, or at some moment."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

OPERATIONS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.utime", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED = 9


def begun(work: Callable[[], object]) -> int:
    """Do `work` in a process of its own; return its number. It ends with what `work` returns, 0 for no number."""
    child = os.fork()
    if child == 0:
        try:
            status = work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(70)
        os._exit(status if isinstance(status, int) else 0)
    return child


def ended(child: int) -> int:
    """Wait for a process and return its exit status, below 0 for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_after(seconds: float, work: Callable[[], object]) -> bool:
    """Do `work` in a process that is killed after so long; tell whether it was before it ended."""
    child = begun(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    code = ended(child)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def killed_before(number: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that ends at once before its file operation of that number; tell whether it did."""

    def watched() -> object:
        operations = itertools.count(1)

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            changes = event in OPERATIONS or (event == "open" and arguments[2] & WRITING)
            if changes and next(operations) == number:
                os._exit(KILLED)

        sys.addaudithook(watch)
        return work()

    code = ended(begun(watched))
    assert code in (0, KILLED), code
    return code == KILLED


def kills(work: Callable[[], object]) -> Iterator[int]:
    """Do `work` again and again, killed before its first file operation, its second, …, and at last to its end."""
    for number in itertools.count(1):
        killed = killed_before(number, work)
        yield number
        if not killed:
            return
