"""What a process asks of its runtime: how threads wait, and what becomes of freed memory. Free of torch."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

SPINS = "5000"


def restarted() -> bool:
    """Whether torchrun has started this process anew, after one of its group had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def wait_politely() -> None:
    """Have OpenMP's threads give up their core soon when they wait, unless the environment says otherwise.

    By default GNU's runtime spins for milliseconds at the end of every parallel region. Beside any other busy
    process each thread then burns the time its partner needs; alone on a machine, spinning less costs nothing
    that could be measured (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


@functools.cache
def recycle_pages() -> bool:
    """Keep freed memory in the process on Linux, instead of handing it back and zeroing it anew each step.

    An encoder step frees and takes hundreds of MiB; with glibc's defaults every one of those pages is mapped
    and cleared again. Measured in docs/performance.md. Returns whether it was set; M3D_MALLOC=0 leaves it.
    """
    if sys.platform != "linux" or os.environ.get("M3D_MALLOC") == "0":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False  # musl, for one, has neither
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    settings = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26))
    return all(mallopt(name, value) for name, value in settings)
