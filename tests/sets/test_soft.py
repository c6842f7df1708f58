"""Soft labels: what a set keeps of probabilities, in memory and in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from condensed_sets import make, make_soft, soft_labels
from safetensors.torch import load_file, save_file
from torch import Tensor

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.soft import SoftLabels
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError

SOFT, META = "soft-labels.safetensors", "condensed.json"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def scored(labels: SoftLabels, accuracy: float = 50.0) -> Score:
    return Score.of("convnet", "quick", [accuracy], {"labels": "soft", "soft_labels": labels.fingerprint})


# The labels


def test_they_are_stored_in_two_bytes_a_number_and_add_up_to_one() -> None:
    exact = torch.randn(40, 100, generator=torch.Generator().manual_seed(0)).mul(3).softmax(1)
    soft = SoftLabels.of(exact, {})
    assert soft.nbytes == 2 * 40 * 100
    decoded = soft.decode()
    assert decoded.dtype == torch.float32
    assert torch.allclose(decoded.sum(1), torch.ones(40), atol=1e-6)
    assert torch.allclose(decoded, exact, rtol=1e-3, atol=1e-7)


def test_of_many_classes_none_is_lost() -> None:
    flat = torch.full((2, 1000), 1e-3)
    assert torch.allclose(SoftLabels.of(flat, {}).decode(), flat)


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([[0.5, 0.4]]),
        torch.tensor([[1.5, -0.5]]),
        torch.tensor([[float("nan"), 1.0]]),
        torch.tensor([[float("inf"), 0.0]]),
        torch.ones(4),
        torch.ones(1, 1, 1),
        torch.ones(0, 3),
    ],
)
def test_what_are_no_probabilities_is_refused(values: Tensor) -> None:
    with pytest.raises(UserError, match="soft labels are"):
        SoftLabels.of(values, {})


def test_each_decoded_image_has_a_row() -> None:
    condensed = make(factor=2)
    for shape in ((6, 3), (24, 2), (25, 3)):
        with pytest.raises(UserError, match="for 24 decoded images of 3 classes"):
            condensed.add_soft_labels(SoftLabels.of(torch.ones(shape) / shape[1], {}))
    assert condensed.soft_labels is None
    with pytest.raises(UserError, match="for 24 decoded images of 3 classes"):
        make(soft_labels=SoftLabels.of(torch.ones(6, 3) / 3, {}))


def test_hard_labels_stay_and_the_kind_is_asked_for() -> None:
    condensed, hard = make_soft(factor=2), make(factor=2)
    assert torch.equal(condensed.decode()[1], hard.decode()[1])
    assert torch.equal(condensed.decoded_labels(), hard.decode()[1])
    assert condensed.decoded_labels("soft").shape == (24, 3)
    assert (condensed.bytes_for("hard"), condensed.bytes_for("soft")) == (6 * 192, 6 * 192 + 24 * 3 * 2)
    assert (condensed.nbytes, condensed.fingerprint) == (hard.nbytes, hard.fingerprint)
    with pytest.raises(UserError, match="labels=softer: one of hard, soft"):
        condensed.decoded_labels("softer")
    with pytest.raises(UserError, match="m3d label adds them"):
        hard.bytes_for("soft")


# The folder


def test_a_set_without_soft_labels_is_of_version_one_and_says_nothing_of_them(tmp_path: Path) -> None:
    folder = make().save(tmp_path / "set")
    content = json.loads((folder / META).read_text())
    assert content["format_version"] == 1
    assert not any("soft" in name for name in (*content, *tree(folder)))
    assert "oft labels" not in (folder / "README.md").read_text()


def test_a_set_with_soft_labels_is_of_version_two_and_comes_back(tmp_path: Path) -> None:
    condensed = make_soft(factor=2)
    folder = condensed.save(tmp_path / "set")
    assert json.loads((folder / META).read_text())["format_version"] == 2  # which a reader of version 1 refuses
    loaded = CondensedSet.load(folder)
    assert loaded.soft_labels is not None
    assert condensed.soft_labels is not None
    assert torch.equal(loaded.soft_labels.probabilities, condensed.soft_labels.probabilities)
    assert loaded.soft_labels.origin == condensed.soft_labels.origin
    hard = make(factor=2).save(tmp_path / "hard")
    assert (hard / "images.safetensors").read_bytes() == (folder / "images.safetensors").read_bytes()


def test_a_stored_set_gets_them_and_all_else_stays(tmp_path: Path) -> None:
    folder = make(scores=[]).save(tmp_path / "set")
    (folder / "report.html").write_text("a report")
    before, condensed = tree(folder), CondensedSet.load(folder)
    score = Score.of("convnet", "quick", [70.0], {})
    CondensedSet.load(folder).add_score(score, folder)  # by another process, in the meantime
    condensed.add_soft_labels(soft_labels(condensed), folder)
    assert condensed.scores == CondensedSet.load(folder).scores == [score]
    after = tree(folder)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {META, "README.md", SOFT}
    assert before.keys() | {SOFT} == after.keys()
    saved = make_soft(scores=[score]).save(tmp_path / "whole")
    assert after[SOFT] == tree(saved)[SOFT]
    assert json.loads(after[META]) == json.loads(tree(saved)[META])
    CondensedSet.check_target(folder)  # it is nothing but a set


def test_other_labels_take_their_scores_with_them(tmp_path: Path) -> None:
    folder = make().save(tmp_path / "set")
    condensed = CondensedSet.load(folder)
    first, second = soft_labels(condensed, 0), soft_labels(condensed, 1)
    condensed.add_soft_labels(first, folder)
    condensed.add_score(scored(first), folder)
    condensed.add_soft_labels(first, folder)
    assert [score.labels for score in CondensedSet.load(folder).scores] == ["hard", "soft"]
    condensed.add_soft_labels(second, folder)
    assert [score.labels for score in CondensedSet.load(folder).scores] == ["hard"]
    with pytest.raises(UserError, match="other soft labels than those scored"):
        condensed.add_score(scored(first), folder)
    condensed.add_score(scored(second), folder)
    assert [score.trained_by() for score in condensed.scores] == ["idc", "quick, soft labels"]


def test_a_score_with_hard_labels_leaves_soft_labels_that_came_meanwhile(tmp_path: Path) -> None:
    folder = make(scores=[]).save(tmp_path / "set")
    early, labelled = CondensedSet.load(folder), CondensedSet.load(folder)
    labelled.add_soft_labels(soft_labels(labelled), folder)
    early.add_score(Score.of("convnet", "quick", [70.0], {}), folder)
    found = CondensedSet.load(folder)
    assert found.soft_labels is not None
    assert [score.mean for score in found.scores] == [70.0]


def test_the_labels_of_another_set_are_not_stored(tmp_path: Path) -> None:
    folder, other = make().save(tmp_path / "set"), make_soft(images=torch.zeros(6, 3, 8, 8, dtype=torch.uint8))
    before = tree(folder)
    assert other.soft_labels is not None
    with pytest.raises(UserError, match="holds another set"):
        other.add_soft_labels(other.soft_labels, folder)
    assert tree(folder) == before


@pytest.mark.parametrize("labelled", [False, True])
def test_a_set_is_whole_after_every_file_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    write, left = files.write_file_atomic, 0

    def stop(path: Path, data: bytes | str) -> None:
        nonlocal left
        if left == 0:
            raise OSError("the disk is full")
        left -= 1
        write(path, data)

    for number in range(4):
        folder = (make_soft() if labelled else make()).save(tmp_path / f"set{number}")
        condensed = CondensedSet.load(folder)
        new, left = soft_labels(condensed, 1), number
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_file_atomic", stop)
            with suppress(OSError):  # the last of the numbers are past the last file
                condensed.add_soft_labels(new, folder)
        CondensedSet.load(folder)
        condensed.add_soft_labels(new, folder)
        found = CondensedSet.load(folder).soft_labels
        assert found is not None
        assert found.fingerprint == new.fingerprint


def rewrite(**tensors: Tensor) -> Callable[[Path], Any]:
    return lambda folder: save_file(tensors, folder / SOFT)


def without(folder: Path) -> None:
    content = json.loads((folder / META).read_text())
    del content["soft_labels"]
    (folder / META).write_text(json.dumps(content))


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda folder: (folder / SOFT).unlink(), f"{SOFT} is missing"),
    "cut": (lambda folder: (folder / SOFT).write_bytes(b"xx"), f"{SOFT} is damaged"),
    "others": (rewrite(probabilities=torch.full((6, 3), 1 / 3).half()), f"{SOFT} and {META} are not of one set"),
    "floats": (rewrite(probabilities=torch.full((6, 3), 1 / 3)), f"{SOFT} is damaged: soft labels are torch.float32"),
    "no labels": (rewrite(labels=torch.ones(6, 3).half()), f"{SOFT} holds no soft labels"),
    "untold": (without, f"{META} is damaged: it has no 'soft_labels'"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_soft_labels_are_refused_in_one_line(
    tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    folder = make_soft(factor=1).save(tmp_path / "set")
    assert set(load_file(folder / SOFT)) == {"probabilities"}
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        CondensedSet.load(folder)
    assert "\n" not in str(caught.value)
