from __future__ import annotations

from pathlib import Path
from typing import Any

import public_files
import pytest
import torch
from condensed_sets import make, make_packed, make_soft
from public_files import eight_bit, imported, refused

from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import export
from m3d_condense.sets.importing import Real
from m3d_condense.sets.values import Meaning

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
    assert "factor=6" in refused(public_files.pair(tmp_path, images.float() / 255, labels), factor=6)


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


HARD, EVEN = torch.tensor([0, 0, 1, 1, 2, 2]), torch.full((6, 3), 1 / 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": HARD - 1}, "labels run from -1 to 1"),
        ({"labels": HARD.clamp(max=1)}, "class 'cat' has no image"),
        ({"labels": HARD[:5]}, "labels of the shape (5,) for 6 images"),
        ({"labels": EVEN.log()}, "its labels are soft, 3 numbers each, and no probabilities"),
        ({"soft_labels": EVEN * 2}, "soft labels are no probabilities"),
        ({"soft_labels": EVEN[:5]}, "soft labels of the shape (5, 3) for 6 images"),
        ({"soft_labels": torch.full((6, 2), 0.5)}, "soft labels of (6, 2) for 6 decoded images of 3 classes"),
        ({"soft_labels": EVEN[:, 0]}, "soft labels of the shape (6,); N×K are known"),
        ({"bits": 1}, "images hold other values than those of 1 bits a channel"),
        ({"mean": [0.5], "std": [0.5]}, "1 means and 1 deviations (std) for 3 channels"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    content = {"images": eight_bit()[0], "labels": HARD, "factor": 1}
    torch.save(content | changes, tmp_path / "set.pt")
    assert refused(tmp_path / "set.pt").startswith(f"{tmp_path / 'set.pt'}: {message}")


@pytest.mark.parametrize("labels", [HARD[:5], HARD - 0.5, EVEN.log()])
def test_labels_in_a_file_of_their_own_are_said_with_its_name(tmp_path: Path, labels: torch.Tensor) -> None:
    file = public_files.two_files(tmp_path, eight_bit()[0].float() / 255, labels)
    assert refused(file).startswith(f"{file.with_name(file.name.replace('images', 'labels'))}: ")


def test_classes_that_do_not_fit_are_said_with_both_files(tmp_path: Path) -> None:
    file = public_files.two_files(tmp_path, eight_bit()[0].float() / 255, HARD + 1)
    beside = file.with_name(file.name.replace("images", "labels"))
    assert refused(file).startswith(f"{file} with {beside}: labels run from 1 to 3")


@pytest.mark.parametrize("stored", [False, True])
def test_what_an_export_says_is_not_contradicted(tmp_path: Path, stored: bool) -> None:
    file, factor = export(make(), tmp_path / "set.pt", "pt", stored=stored), 2 if stored else 1
    assert imported(file, factor=factor).factor == factor
    held = "2×2 tiles each" if stored else "whole images"
    assert refused(file, factor=3 - factor).endswith(f"says that it holds {held}; leave it out")
    assert imported(file, Meaning(reading="none")).factor == factor
    others: list[Meaning] = [
        Meaning(reading="cifar10"),
        Meaning(reading="zca"),
        Meaning(mean=(0.5,) * 3, std=(0.2,) * 3),
    ]
    for pixels in others:
        assert "says that it holds levels, not normalised; leave it out" in refused(file, pixels)
    assert "holds one set; leave it out" in refused(file, experiment=2)
    assert imported(file, experiment=1).factor == factor
    for names in (("class 1", "class 0", "class 2"), ("class 0", "class 1"), ("class 0", "class 1", "class 2", "more")):
        assert "leave classes out" in refused(file, real=Real(class_names=names, source={}))


def test_the_moments_that_a_file_says_are_kept(tmp_path: Path) -> None:
    condensed = make()
    real = Real(class_names=condensed.class_names, mean=(0.9,) * 3, std=(0.9,) * 3, source={})
    found = imported(export(condensed, tmp_path / "set.pt", "pt"), real=real)
    assert (found.mean, found.std) == (condensed.mean, condensed.std)
    images, labels = eight_bit()
    levels, mean, std = images.float() / 255, [0.5] * 3, [0.2] * 3
    file = tmp_path / "other.pt"
    torch.save({"images": (levels - 0.5) / 0.2, "labels": labels, "mean": mean, "std": std}, file)
    assert torch.equal(imported(file, Meaning(mean=tuple(mean), std=tuple(std))).images, images)
    assert "says mean (0.5, 0.5, 0.5)" in refused(file, Meaning(mean=(0.4,) * 3, std=tuple(std)))
    assert "normalised=svhn: " in refused(file, Meaning(reading="svhn"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_an_export_of_fewer_bits_comes_back_in_as_many(tmp_path: Path, bits: int) -> None:
    for factor, stored, kept in ((2, True, bits), (1, True, bits), (1, False, bits), (2, False, 8)):
        condensed = make_packed(bits, factor=factor)
        file = export(condensed, tmp_path / f"{factor}{stored}.pt", "pt", stored=stored)
        found = CondensedSet.load(imported(file).save(tmp_path / f"{factor}{stored}"))
        assert found.bits == kept
        if kept == bits:
            assert torch.equal(found.images, condensed.images)
            assert found.nbytes == condensed.nbytes
    content = torch.load(file, weights_only=True)
    torch.save(content | {"bits": bits}, tmp_path / "wrong.pt")
    assert f"other values than those of {bits} bits" in refused(tmp_path / "wrong.pt")
    torch.save(content | {"bits": torch.ones(3)}, tmp_path / "odd.pt")
    assert imported(tmp_path / "odd.pt").bits == 8
