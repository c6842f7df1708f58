"""What torch computes in where nothing is said: this package counts on float32 on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_lock = threading.Lock()
_found: list[torch.dtype] = []  # the process's own default type, once for each that counts on float32 now


@contextmanager
def torchs_own() -> Iterator[None]:
    """Set torch's default device and type to its own, float32 on the CPU, and leave autocast, while this lasts.

    The type is the whole process's: of several threads the last to leave sets it back.
    """
    import torch  # the command line's help does without

    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # where it is, no mode is entered, which would cost every call
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        with _lock:
            _found.append(_found[0] if _found else torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        stack.callback(_leave)
        yield


def _leave() -> None:
    import torch

    with _lock:
        own = _found.pop()
        if not _found:
            torch.set_default_dtype(own)
