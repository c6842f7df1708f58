from __future__ import annotations

import pytest

from m3d_condense.cli.tables import percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.9996, "100 %"),
        (0.5, "50 %"),
        (0.0996, "10 %"),
        (0.0949, "9.5 %"),
        (0.00695, "0.69 %"),
        (0.0002, "0.02 %"),
        (0.0000781, "0.0078 %"),
        (1e-5, "0.001 %"),
        (1e-6, "below 0.001 %"),
    ],
)
def test_percentages_are_plain_numbers(share: float, text: str) -> None:
    assert percent(share) == text
