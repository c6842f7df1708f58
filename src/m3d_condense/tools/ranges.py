"""Ranges of numbers that follow one another."""

from __future__ import annotations


def even_ranges(total: int, count: int) -> list[range]:
    """Divide 0..total-1 into `count` ranges, at least 1, whose lengths differ by one at most.

    >>> even_ranges(5, 2)
    [range(0, 2), range(2, 5)]
    """
    edges = [number * total // count for number in range(count + 1)]
    return [range(first, end) for first, end in zip(edges, edges[1:], strict=False)]
