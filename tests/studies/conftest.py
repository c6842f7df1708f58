from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from m3d_condense.tools.progress import set_quiet


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(scope="package", autouse=True)
def _uncollected() -> Iterator[None]:
    """Do without the collection of garbage before every set: it takes half a second with all tests loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield
