"""How many bytes of decoded images are kept for later runs, as the environment says."""

from __future__ import annotations

import os

from m3d_condense.tools.errors import UserError

GIB = 8.0  # where M3D_CACHE_LIMIT does not say it


def kept_bytes() -> int:
    """Return how many bytes are kept in all, 0 for nothing.

    Raises:
        UserError: M3D_CACHE_LIMIT is no number of GiB.
    """
    text = os.environ.get("M3D_CACHE_LIMIT", "").strip()
    try:
        limit = float(text or GIB)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 2**30:
        raise UserError(f"the environment variable M3D_CACHE_LIMIT is a number of GiB, not {text!r}")
    return int(limit * 2**30)
