from __future__ import annotations

import math

import pytest

from m3d_condense.tools import progress as module
from m3d_condense.tools.progress import notice, progress, recorded, set_quiet


def test_notices_are_recorded_and_told_and_progress_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    notice("before")
    with recorded() as outer:
        with recorded() as inner, progress("Reading", 2) as bar:
            bar.advance(2)
        notice("one")
        with recorded() as inner_again:
            notice("two")
    notice("after")
    assert (outer, inner, inner_again) == (["one", "two"], [], ["two"])
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if not line.startswith("Reading: 2/2")] == ["before", "one", "two", "after"]
    assert len(told) == 5


def test_quiet_notices_are_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    set_quiet(True)
    with recorded() as heard:
        notice("one")
    assert heard == ["one"]
    assert capsys.readouterr().err == ""


def test_a_job_that_does_more_than_was_foreseen_is_never_beyond_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Scoring", 2) as bar:
        bar.advance(3)
    assert "Scoring: 3/3 it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "left"),
    [(math.inf, "16:40 left"), (3600.0, "16:40 left"), (90.0, "1:20 to the limit"), (5.0, "0:00 to the limit")],
)
def test_the_time_left_is_that_of_the_limit_where_it_ends_first(
    monkeypatch: pytest.MonkeyPatch, limit: float, left: str
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with progress("Condensing", 1010, ends_in=lambda: limit - now) as bar:
        assert bar.left == "starting"
        now = 10.0
        bar.advance(10)
        assert bar.left == left
