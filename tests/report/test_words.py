from __future__ import annotations

from typing import Any

import pytest

from m3d_condense.report.words import verdict

Accuracies = tuple[float | None, float | None, float | None]
COST: dict[str, Any] = {"ipc": 10, "nbytes": 307_200, "whole_bytes": 153_600_000, "seconds": 330.0, "steps": 1000}


def test_the_verdict_says_how_much_of_the_way_for_how_much() -> None:
    said = verdict(**COST, random=31.1, condensed=57.9, whole=82.0)
    assert said == (
        "10 images a class, 300 KiB, 0.2 % of the data, condensed in 5 min 30 s: a network trained on nothing else "
        "reaches 57.9 %, where random images of the same number give 31.1 % and the whole data set gives 82.0 %. That "
        "is 53 % of the way from random selection to all the data."
    )


@pytest.mark.parametrize(
    ("known", "end"),
    [
        ((31.1, 57.9, None), "reaches 57.9 %, where random images of the same number give 31.1 %."),
        ((None, 57.9, 82.0), "reaches 57.9 %, where the whole data set gives 82.0 %."),
        ((None, 57.9, None), "reaches 57.9 %."),
        ((31.1, 25.0, 82.0), "That is worse than random images."),
        ((31.1, 85.0, 82.0), "That is more than all the data give under this protocol."),
        ((None, None, None), "How good it is has not been measured yet."),
    ],
)
def test_the_verdict_says_no_more_than_is_known(
    known: tuple[float | None, float | None, float | None], end: str
) -> None:
    random, condensed, whole = known
    assert verdict(**COST, random=random, condensed=condensed, whole=whole).endswith(end)
