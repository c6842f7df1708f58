"""What others wrote is shown on one line and does nothing to a terminal, wherever it is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from condensed_sets import make
from hypothesis import given, settings
from hypothesis import strategies as st
from small_studies import job, record

from m3d_condense.cli.main import main
from m3d_condense.cli.streams import complain
from m3d_condense.cli.tables import Scored, print_comparison, print_scores
from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import Score
from m3d_condense.sets.preview import preview
from m3d_condense.studies.results import Results
from m3d_condense.tools.progress import notice, progress
from m3d_condense.tools.text import UNSHOWABLE, distinct, duration, listed, percent, shown

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\n\u202eback\x00\u2028"
LONG = ESCAPES + "x" * 10**6


def raw(text: str) -> list[str]:
    """What of a text would reach a terminal raw, line ends aside."""
    return UNSHOWABLE.findall(text.replace("\n", ""))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.text(max_size=50), st.integers(1, 60))
def test_anything_is_one_line_of_at_most_so_many_characters(text: str, most: int) -> None:
    line = shown(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1
    assert not raw(line)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=30))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_bytes_of_a_name_that_are_no_text_stay() -> None:
    assert shown(os.fsdecode(b"runs/\xff  a")) == "runs/\udcff  a"


def test_complaints_and_notices(capsys: pytest.CaptureFixture[str]) -> None:
    complain(LONG, 2)
    notice(LONG)
    with progress(LONG, 1) as bar:
        bar.advance(note="1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert not any(map(raw, lines))
    assert max(map(len, lines)) < 2100


def test_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    scored = Scored(name=ESCAPES, score=Score.of(ESCAPES, ESCAPES, [50.0], {}), class_bytes=100.0, own_epochs=1)
    print_scores([scored], as_json=False)
    one = job(data=ESCAPES)
    known = record(one, 50.0, errors={"convnet1": LONG})
    results = Results(jobs=[one], records=[known], settings={}, sort="accuracy")
    print_comparison(results, as_json=False)
    printed = capsys.readouterr().out
    assert not raw(printed)
    assert len(printed) < 10_000


def test_tables_in_files(tmp_path: Path) -> None:
    one = job(data=f"{ESCAPES}|")
    known = record(one, 50.0, errors={"convnet1": LONG})
    Results(jobs=[one], records=[known], settings={}, sort="accuracy").save(tmp_path, "table")
    for ending in ("md", "csv"):
        text = (tmp_path / f"table.{ending}").read_text(encoding="utf-8")
        assert not raw(text)
        assert len(text) < 20_000


def test_the_card_and_the_preview() -> None:
    names = tuple(f"{number} {LONG}" for number in range(3))
    made = make(class_names=names, method=ESCAPES, created=ESCAPES)
    made.source["name"] = LONG
    written = card(made).partition("```json")[0]
    assert not raw(written)
    assert len(written) < 20_000
    assert preview(made.images, made.labels, made.class_names).width < 2000


@pytest.mark.usefixtures("own_folder")
def test_the_folder_that_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"a\x1b[31m\n{'b' * 20}"
    flags = [
        "--ipc",
        "1",
        "--iterations",
        "1",
        "--batch-real",
        "4",
        "--network",
        "convnet1",
        "--native",
        "false",
        "--compile",
        "no",
    ]
    assert main(["condense", "digits", "--out", name, *flags]) == 0
    assert Path(name).is_dir()
    assert main(["condense", "digits", "--out", name, *flags, "--iterations", "2"]) == 2
    printed = capsys.readouterr()
    assert not raw(printed.out)
    assert not raw(printed.err)
    assert printed.out.splitlines() == [f"a�[31m {'b' * 20}"]


def test_names_are_told_apart_by_a_number() -> None:
    assert distinct(["crane", "crane", "crane 2", "owl", "crane"]) == [
        "crane",
        "crane 2",
        "crane 2 2",
        "owl",
        "crane 3",
    ]
    assert distinct(["a", "a"], "{} ({})") == ["a", "a (2)"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.7, "1 min"), (330, "5 min 30 s"), (7199.7, "2 h"), (7500, "2 h 5 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


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


def test_a_long_list_is_cut_and_says_how_many_are_left() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
