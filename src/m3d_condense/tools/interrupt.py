"""Stopping in good order: an interrupt, a termination or a terminal's end is noted, and acted on between two steps."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def deferred(echo: float = 0.0) -> Iterator[Callable[[], bool]]:
    """Hold SIGINT, SIGTERM and SIGHUP back, and yield a function that says whether one has come.

    A second one is not held back, unless it comes within `echo` seconds: a launcher passes on what the terminal has
    sent to all. Outside the main thread, where Python takes no signals, nothing is held.
    """
    from m3d_condense.tools.progress import notice  # rich is not to delay the first moment of a command

    come: float | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal come
        if come is not None and time.monotonic() - come >= echo:
            raise KeyboardInterrupt
        if come is not None:
            return
        come = time.monotonic()
        with suppress(OSError, SystemExit):  # nobody can be told, as where the terminal is gone
            notice("stopping at the end of this step; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    with _handled(note, (signal.SIGINT, *ENDING)):
        yield lambda: come is not None


@contextmanager
def interruptible() -> Iterator[None]:
    """Have an interrupt or a termination raise KeyboardInterrupt here, or end the process at once amid an import.

    What is being imported may swallow the exception, or break by it. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(_end, (signal.SIGINT, *ENDING)):
        yield


def _end(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"m3d: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object], numbers: Sequence[int]) -> Iterator[None]:
    """Have signals handled so; those that whoever started the process has it ignore, as nohup does, stay ignored.

    So does what code in another language than Python handles: it could not be given back.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    heard = {number: own for number, own in before.items() if own not in (signal.SIG_IGN, None)}
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, own in heard.items():
            signal.signal(number, own)
