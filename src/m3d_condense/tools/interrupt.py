"""Stopping in good order: an interrupt or a termination is noted, and acted on between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from m3d_condense.tools.progress import notice


@contextmanager
def deferred(echo: float = 0.0) -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back, and yield a function that says whether one has come.

    A second one is not held back, unless it comes within `echo` seconds: a launcher passes on what the terminal has
    sent to all. Outside the main thread, where Python takes no signals, nothing is held.
    """
    come: float | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal come
        if come is not None and time.monotonic() - come >= echo:
            raise KeyboardInterrupt
        if come is not None:
            return
        come = time.monotonic()
        notice("stopping at the end of this step; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: come is not None
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
