from __future__ import annotations

from pathlib import Path

import public_files
import pytest
import torch
from condensed_sets import make_soft
from public_files import eight_bit, imported, refused

from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import export

layouts = pytest.mark.parametrize("layout", public_files.LAYOUTS)


@layouts
def test_where_a_set_came_from_is_stored_with_it(tmp_path: Path, layout: str) -> None:
    images, labels = eight_bit()
    file = public_files.LAYOUTS[layout](tmp_path, images.float() / 255, labels)
    condensed = imported(file, factor=2)
    loaded = CondensedSet.load(condensed.save(tmp_path / "set"))
    assert (loaded.method, loaded.imported, loaded.factor) == ("imported", True, 2)
    assert (loaded.settings["layout"], loaded.settings["file"]) == (layout, file.name)
    assert len(loaded.settings["sha256"]) == 64
    assert loaded.settings["pixels"] == "in [0, 1]"
    text = card(loaded)
    assert "condensed by other code" in text
    assert loaded.settings["sha256"] in text
    assert "zhang2024m3d" not in text
    assert "arxiv:2312.15927" not in text


def test_tiles_are_asked_for_where_a_layout_may_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = eight_bit()
    told = refused(public_files.pair(tmp_path, images.float() / 255, labels))
    assert "factor=2" in told
    assert "factor=1" in told
    assert imported(public_files.experiments(tmp_path, (images.float() / 255, labels))).factor == 1
    assert "IDM's hold 2×2 tiles each, which factor=2 says" in capsys.readouterr().err
    assert imported(public_files.two_files(tmp_path, images.float() / 255, labels)).factor == 1
    assert "factor=9" in refused(public_files.pair(tmp_path, images.float() / 255, labels), factor=9)


def test_soft_labels_are_not_taken_for_hard_ones(tmp_path: Path) -> None:
    images, labels = eight_bit()
    soft = torch.nn.functional.one_hot(labels, 3) * 2.0 + torch.rand(6, 3)
    file = public_files.two_files(tmp_path, images.float() / 255, soft)
    assert "hard_labels=True takes the likeliest" in refused(file)
    condensed = imported(file, hard_labels=True)
    assert torch.equal(condensed.labels, labels)
    assert condensed.settings["labels"] == "the likeliest of soft ones"
    exact = public_files.two_files(tmp_path, images.float() / 255, torch.nn.functional.one_hot(labels, 3).float())
    assert torch.equal(imported(exact).labels, labels)


def test_probabilities_are_taken_as_soft_labels(tmp_path: Path) -> None:
    images, labels = eight_bit()
    soft = (torch.nn.functional.one_hot(labels, 3) * 3.0 + torch.rand(6, 3)).softmax(1)
    file = public_files.two_files(tmp_path, images.float() / 255, soft)
    condensed = imported(file, factor=2)
    assert torch.equal(condensed.labels, labels)
    assert torch.allclose(condensed.decoded_labels("soft"), soft.repeat_interleave(4, dim=0), atol=1e-3)
    assert CondensedSet.load(condensed.save(tmp_path / "set")).decoded_labels("soft").shape == (24, 3)
    assert imported(file, hard_labels=True).soft_labels is None


def test_soft_labels_of_an_export_come_back_to_the_bit(tmp_path: Path) -> None:
    condensed = make_soft(factor=2)
    assert condensed.soft_labels is not None
    for stored in (False, True):
        found = imported(export(condensed, tmp_path / f"{stored}.pt", "pt", stored=stored)).soft_labels
        assert found is not None
        assert torch.equal(found.probabilities, condensed.soft_labels.probabilities)
    content = torch.load(tmp_path / "True.pt", weights_only=True)
    for wrong in (torch.ones(6, 3), torch.ones(24, 3), torch.ones(24, 2) / 2, torch.ones(24)):
        torch.save(content | {"soft_labels": wrong}, tmp_path / "wrong.pt")
        assert "labels" in refused(tmp_path / "wrong.pt")
