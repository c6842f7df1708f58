"""Stopping in good order: an interrupt or a termination is noted, and acted on between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from m3d_condense.tools.progress import notice


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back, and yield a function that says whether one has come.

    A second one is not held back. Outside the main thread, where Python takes no signals, nothing is held.
    """
    come = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal come
        if come:
            raise KeyboardInterrupt
        come = True
        notice("stopping at the end of this step; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: come
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Have a termination end what is done here as an interrupt does; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
