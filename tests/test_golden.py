"""What every method computes in its first steps is what it computed when the golden numbers were written."""

from __future__ import annotations

import golden
import pytest

from m3d_condense.tools.progress import set_quiet

LOOSE = 1e-3  # of a number: other processors round otherwise, and three steps of training hardly magnify that
AFTER_A_HUNDRED = 2e-2  # such steps do


@pytest.mark.parametrize("row", golden.ROWS["small"][1])
def test_the_first_losses_of_a_method_are_the_golden_ones(row: str) -> None:
    set_quiet(True)
    assert golden.small(row) == pytest.approx(golden.stored("small")[row], rel=LOOSE)


@pytest.mark.slow
@pytest.mark.parametrize("row", golden.ROWS["cifar10"][1])
def test_a_hundred_steps_on_cifar10_end_at_the_golden_losses(row: str) -> None:
    set_quiet(True)
    first, tenth, hundredth = golden.cifar10(row)
    expected = golden.stored("cifar10")[row]
    assert [first, tenth] == pytest.approx(expected[:2], rel=LOOSE)
    assert hundredth == pytest.approx(expected[2], rel=AFTER_A_HUNDRED)


def test_no_two_methods_compute_the_same() -> None:
    numbers = golden.stored("small")
    assert numbers.keys() == set(golden.ROWS["small"][1])
    assert len({tuple(losses) for losses in numbers.values()}) == len(numbers)
