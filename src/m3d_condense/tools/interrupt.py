"""Stopping in good order: an interrupt, a termination or a terminal's end is noted, and acted on between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from m3d_condense.tools.progress import notice

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT, SIGTERM and SIGHUP back, and yield a function that says whether one has come.

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
    with _handled(note, (signal.SIGINT, *ENDING)):
        yield lambda: come


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Have a termination end what is done here as an interrupt does; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(signal.default_int_handler, ENDING):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object], numbers: Sequence[int]) -> Iterator[None]:
    """Have signals handled so; those that whoever started the process has it ignore, as nohup does, stay ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    heard = {number: own for number, own in before.items() if own != signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, own in heard.items():
            signal.signal(number, own)
