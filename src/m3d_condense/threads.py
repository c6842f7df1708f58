"""How the threads of one process wait for each other; to be set before torch is loaded."""

from __future__ import annotations

import os

SPINS = "5000"


def wait_politely() -> None:
    """Have OpenMP's threads give up their core soon when they wait, unless the environment says otherwise.

    By default GNU's runtime spins for milliseconds at the end of every parallel region. Beside any other busy
    process each thread then burns the time its partner needs; alone on a machine, spinning less costs nothing
    that could be measured (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
