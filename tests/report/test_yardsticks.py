from __future__ import annotations

import math

import pytest

from m3d_condense.report.yardsticks import (
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
    share_of_the_way,
    yardsticks,
)


def test_the_way_runs_from_random_selection_to_the_whole() -> None:
    assert share_of_the_way(20.0, 20.0, 80.0) == 0.0
    assert share_of_the_way(20.0, 80.0, 80.0) == 1.0
    assert share_of_the_way(20.0, 50.0, 80.0) == 0.5
    assert share_of_the_way(20.0, 14.0, 80.0) == pytest.approx(-0.1)
    assert share_of_the_way(80.0, 50.0, 80.0) is None


def test_lrs_runs_from_0_for_the_worst_set_to_1_for_the_best() -> None:
    assert label_robust_score(100.0, 0.0, 100.0) == pytest.approx(0.0)  # IOR -1 and HLR 1
    assert label_robust_score(0.0, 100.0, 0.0) == pytest.approx(1.0)  # IOR 1 and HLR -1
    assert label_robust_score(50.0, 50.0, 50.0) == pytest.approx((1 - math.exp(-1)) / (math.e - math.exp(-1)))


def test_lrs_weighs_ior_and_hlr() -> None:
    ior, hlr = improvement_over_random(30.0, 60.0), hard_label_recovery(60.0, 80.0)
    assert (ior, hlr) == (30.0, 20.0)
    expected = (math.exp(0.05) - math.exp(-1)) / (math.e - math.exp(-1))
    assert label_robust_score(30.0, 60.0, 80.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "names"),
    [
        ((30.0, 60.0, 80.0), ["IOR", "HLR", "LRS"]),
        ((None, 60.0, 80.0), ["HLR"]),
        ((30.0, 60.0, None), ["IOR"]),
        ((30.0, None, 80.0), []),
    ],
)
def test_only_what_is_known_is_told(known: tuple[float | None, float | None, float | None], names: list[str]) -> None:
    assert [yard.name for yard in yardsticks(*known)] == names
