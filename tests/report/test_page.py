from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from condensed_sets import make

from m3d_condense.cli.main import main
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.report.comparing import of_facts
from m3d_condense.report.facts import Facts
from m3d_condense.report.gathering import Asked, gather
from m3d_condense.report.page import LIMIT, page
from m3d_condense.sets.condensed import CondensedSet, Score


def facts(**changes: Any) -> Facts:
    return Facts(name="one", condensed=make(**changes))


def text_of(html: str) -> str:
    """Return what a page says, without marks, styles and spaces of layout."""
    body = re.sub(r"<(style|script|svg).*?</\1>", " ", html[html.index("<body") :], flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\u00a0", " ").split())


def test_the_accuracy_of_a_set_is_with_hard_labels() -> None:
    hard = Score.of("convnet", "quick", [60.0, 62.0], {})
    soft = Score.of("convnet", "quick", [70.0, 72.0], {"labels": "soft", "soft_labels": "sha256:0"})
    known = facts(scores=[hard, soft])
    assert known.accuracy == (61.0, hard.std, 2)
    said = text_of(page([known]))
    assert "a network trained on nothing else reaches 61.0 %" in said
    assert "convnet quick, soft labels 2 71.0 ± 1.4" in said


def test_a_run_without_a_course_says_so() -> None:
    step = {"step": 1, "loss": 0.5, "seconds": 0.1}
    none = [{"step": number, "loss": math.nan, "seconds": 0.1} for number in range(3)]
    for history, steps, told in (([step], 3, True), (none, 3, True), ([], 0, False), ([step, step], 3, False)):
        shown = text_of(page([facts(history=history, steps=steps)], []))
        assert ("The course of the run: fewer than two of its losses are known." in shown) is told


def test_the_accuracy_of_a_set_is_on_the_data_of_the_page(digits: ImageDataset) -> None:
    own, other = (
        Score.of("convnet", "quick", [x], {"fingerprint": data})
        for x, data in ((60.0, digits.fingerprint), (90.0, "sha256:0"))
    )
    known = dataclasses.replace(facts(scores=[own, other]), dataset=digits)
    assert known.accuracy == (60.0, 0.0, 1)


def test_the_page_tells_all_that_is_asked_of_it(report: Path) -> None:
    said = text_of(report.read_text(encoding="utf-8"))
    for part in (
        "2 images a class",
        "where random images of the same number give",
        "and the whole data set gives",
        "at the start",
        "after 12 steps",
        "The accuracy is that of a small network",
        "Accuracy by class",
        "taken for",
        "Under a random network",
        "Under a network trained on all the data",
        "skewness",
        "Real images of a class are usually",
        "IOR",
        "HLR",
        "LRS 0.",
        "m3d condense digits --method m3d --preset quick --ipc 2 --seed 0 --factor 2 --iterations 12",
    ):
        assert part in said, part
    assert "Not on this page" not in said


def test_the_command_makes_the_set_again(report: Path, sets: dict[str, Path], tmp_path: Path) -> None:
    command = re.search(r"<code>m3d (condense[^<]*)</code>", report.read_text(encoding="utf-8"))
    assert command is not None
    out = tmp_path / "again"
    as_before = ["--native", "false", "--compile", "no", "--precision", "float32"]
    assert main([*command[1].split(), "--out", str(out), *as_before, "-q"]) == 0
    again, first = CondensedSet.load(out), CondensedSet.load(sets["mosaics"])
    assert torch.equal(again.images, first.images)


def test_a_second_report_trains_nothing(
    report: Path, sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from m3d_condense.training.trainer import Trainer

    def fit(*given: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "fit", fit)
    out = tmp_path / "again.html"
    assert main(["report", str(sets["mosaics"]), "--out", str(out), "-q"]) == 0
    assert text_of(out.read_text()) == text_of(report.read_text())


def test_without_training_the_page_says_what_it_lacks(report_of_two: Path) -> None:
    said = text_of(report_of_two.read_text(encoding="utf-8"))
    assert said.count("Not on this page: All that networks have to be trained for") == 2
    assert "How good it is has not been measured yet." in said
    assert "selected, not condensed" in said
    assert "IOR" not in said


def test_a_set_without_its_source_is_shown_as_it_is_stored(plain: Execution) -> None:
    said = text_of(page([gather("one", make(), None, Asked(), Engine(plain), "")]))
    assert "The images, class by class" in said
    assert "the source of the set is not at hand" in said
    assert "convnet3 idc, 10 epochs 3 61.2 ± 1.1" in said


def test_a_set_by_other_code_is_no_selection(plain: Execution) -> None:
    imported = make(method="imported", seconds=0.0, steps=0, scores=[])
    facts = gather("one", imported, None, Asked(), Engine(plain), "")
    said = text_of(page([facts]))
    assert "made by other code. How good it is has not been measured yet." in said
    assert "condensed by other code" in said
    assert not any(words in said for words in ("selected", "of selecting", "by imported"))
    (line,) = of_facts([facts])
    assert line.seconds is None


def test_scores_are_shown_with_their_intervals() -> None:
    one, several = Score.of("resnet10", "dm", [50.0], {}), Score.of("convnet", "quick", [60.0, 62.0], {})
    said = text_of(page([facts(scores=[one, several])]))
    assert "resnet10 dm 1 50.0 one network has none" in said
    assert "convnet quick 2 61.0 ± 1.4 48.3 to 73.7" in said


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\x1b[31m$x_1$ & b", '"><img src=x>'])
def test_no_name_becomes_part_of_the_page(name: str) -> None:
    condensed = make(class_names=(name, "b", "c"), source={"name": name}, method=name)
    both = [Facts(name=name.replace("\x1b", ""), condensed=condensed), facts()]
    html = page(both)
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\x1b" not in html


def test_losses_that_no_run_has_are_not_drawn() -> None:
    def drawn(*losses: float) -> str:
        return page([facts(history=[{"step": step, "loss": loss, "seconds": 1.0} for step, loss in enumerate(losses)])])

    assert "Loss against steps" in drawn(0.5, 0.4, 0.3)
    assert "Loss against steps" not in drawn(0.5, 1e308, -1e308, float("nan"))


@pytest.mark.parametrize("shape", [(10, 50, (3, 32, 32)), (100, 1, (3, 128, 128)), (3, 2, (1, 600, 900))])
def test_a_page_is_never_larger_than_two_megabytes(shape: tuple[int, int, tuple[int, int, int]]) -> None:
    num_classes, ipc, size = shape
    known = facts(num_classes=num_classes, ipc=ipc, shape=size, factor=1)
    html = page([dataclasses.replace(known, initial=known.condensed.images)])
    assert len(html.encode()) <= LIMIT
    assert "Shown are the first" in text_of(html)
    assert 'class="px"' in html


def test_nothing_is_asked_for_from_elsewhere(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', html)) == set()
    assert not re.findall(r"url\((?!#|.?data:)", html)
    assert set(re.findall(r"https?://[^\s\"<]+", html)) <= {"http://www.w3.org/1999/xlink"}


def test_a_file_that_is_no_report_is_kept(
    sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert main(["report", str(sets["random"]), "--no-training", "--out", str(mine)]) == 2
    assert "which would be lost" in capsys.readouterr().err
    assert mine.read_text() == "mine"
