"""What the tests of native code need."""

from __future__ import annotations

import pytest
import torch

from m3d_condense.machine.native import building


@pytest.fixture
def native_code() -> None:
    if building.library(torch.float32) is None:
        pytest.skip("native blocks cannot be built here")
