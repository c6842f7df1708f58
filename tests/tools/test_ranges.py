from __future__ import annotations

from m3d_condense.tools.ranges import even_ranges


def test_ranges_follow_one_another_and_are_even() -> None:
    assert even_ranges(100, 5) == [range(0, 20), range(20, 40), range(40, 60), range(60, 80), range(80, 100)]
    assert [len(part) for part in even_ranges(10, 3)] == [3, 3, 4]
    assert [number for part in even_ranges(35, 4) for number in part] == list(range(35))
