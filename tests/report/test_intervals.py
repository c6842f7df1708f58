from __future__ import annotations

import math

import pytest

from m3d_condense.report.intervals import interval


def test_an_interval_is_that_of_student() -> None:
    low, high = interval(60.0, 2.0, 5) or (0.0, 0.0)
    half = 2.7764451 * 2.0 / math.sqrt(5)  # the 97.5 % point of t with four degrees of freedom
    assert (low, high) == (pytest.approx(60 - half, abs=1e-5), pytest.approx(60 + half, abs=1e-5))
    assert interval(60.0, 0.0, 1) is None
    assert interval(99.0, 5.0, 2) == (pytest.approx(99 - 12.7062 * 5 / math.sqrt(2), abs=1e-3), 100.0)
