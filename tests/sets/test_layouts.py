from __future__ import annotations

from pathlib import Path
from typing import Any

import public_files
import pytest
import torch
from condensed_sets import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from public_files import NAMES, eight_bit, imported, refused

from m3d_condense.sets.exporting import export
from m3d_condense.sets.values import Meaning
from m3d_condense.tools.errors import UserError

layouts = pytest.mark.parametrize("layout", public_files.LAYOUTS)


@layouts
def test_each_layout_gives_the_pixels_that_were_stored(tmp_path: Path, layout: str) -> None:
    images, labels = eight_bit()
    file = public_files.LAYOUTS[layout](tmp_path, images.float() / 255, labels)
    condensed = imported(file, factor=1)
    assert torch.equal(condensed.images, images)
    assert torch.equal(condensed.labels, labels)
    assert (condensed.class_names, condensed.mean, condensed.source["data"]) == (NAMES, (0.1, 0.2, 0.3), "digits")


def test_an_export_comes_back_to_the_bit(tmp_path: Path) -> None:
    condensed = make(factor=2)
    stored = imported(export(condensed, tmp_path / "stored.pt", "pt", stored=True))
    assert torch.equal(stored.images, condensed.images)
    assert torch.equal(stored.labels, condensed.labels)
    assert stored.factor == 2
    decoded = imported(export(condensed, tmp_path / "decoded.pt", "pt"))
    assert torch.equal(decoded.images, (condensed.decode()[0] * 255).round().byte())
    assert decoded.factor == 1


def test_one_experiment_of_several_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = eight_bit()
    sets = [(torch.full(images.shape, level), labels) for level in (0.2, 0.4)]
    file = public_files.experiments(tmp_path, *sets)
    assert imported(file).images.unique().tolist() == [51]
    assert "holds 2 sets; the first is taken, and experiment=N takes another" in capsys.readouterr().err
    assert imported(file, experiment=2).images.unique().tolist() == [102]
    assert "experiment=3: " in refused(file, experiment=3)
    assert "experiment=0: " in refused(file, experiment=0)


def test_labels_of_another_name_are_told(tmp_path: Path) -> None:
    images, labels = eight_bit()
    torch.save(images.float() / 255, tmp_path / "pixels.pt")
    torch.save(labels.to(torch.int32), tmp_path / "classes.pt")
    assert "labels=FILE says where" in refused(tmp_path / "pixels.pt")
    assert torch.equal(imported(tmp_path / "pixels.pt", labels=tmp_path / "classes.pt").labels, labels)
    file = public_files.pair(tmp_path, images.float() / 255, labels)
    assert "holds labels of its own" in refused(file, labels=tmp_path / "classes.pt")


def test_images_that_mtt_has_turned_back_have_the_labels_of_the_others(tmp_path: Path) -> None:
    images, labels = eight_bit()
    torch.save(images.float() / 255, tmp_path / "images_zca_500.pt")
    torch.save(labels, tmp_path / "labels_500.pt")
    assert torch.equal(imported(tmp_path / "images_zca_500.pt").images, images)


# Files of other kinds
IMAGES, LABELS = torch.rand(3, 3, 4, 4), torch.arange(3)
STRANGE: dict[str, tuple[Any, str]] = {
    "a number": (7, "holds a int; known are"),
    "a state": ({"weight": IMAGES, "bias": LABELS}, "a dict with bias, weight; known are"),
    "three": ([IMAGES, LABELS, 0.1], "a list of 3; known are"),
    "no pairs": ({"data": [IMAGES]}, "holds in 'data' a tensor of float32"),
    "no experiments": ({"data": []}, "experiment=1: "),
    "names": (["a", "b"], "not tensors of images and of labels"),
    "flat": ([IMAGES.flatten(1), LABELS], r"images of the shape \(3, 48\)"),
    "channels last": ([IMAGES.permute(0, 2, 3, 1), LABELS], r"images of the shape \(3, 4, 4, 3\)"),
    "no images": ([IMAGES[:0], LABELS[:0]], r"images of the shape \(0, 3, 4, 4\)"),
    "whole numbers": ([IMAGES.long(), LABELS], "images of a tensor of int64"),
    "complex": ([IMAGES + 1j, LABELS], "complex"),
    "sparse": ([IMAGES.to_sparse(), LABELS], "sparse"),
    "on no device": ([IMAGES.to("meta"), LABELS], "empty of data"),
    "nan": ([IMAGES.log().sqrt(), LABELS], "NaN or infinite"),
    "labels of fewer": ([IMAGES, LABELS[:2]], r"labels of the shape \(2,\) for 3 images"),
    "labels of words": ([IMAGES, LABELS > 1], "labels of the shape"),
    "labels between": ([IMAGES, LABELS + 0.5], "no whole numbers"),
    "labels of nan": ([IMAGES, LABELS / torch.zeros(3)], "labels with NaN"),
    "labels below": ([IMAGES, LABELS - 1], "labels run from -1 to 1"),
    "labels above": ([IMAGES, LABELS + 1], "labels run from 1 to 3"),
    "a class without images": ([IMAGES, LABELS * 0], "class 'bee' has no image"),
}


@pytest.mark.parametrize(("content", "message"), STRANGE.values(), ids=STRANGE)
def test_what_is_no_set_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "data.pt")
    with pytest.raises(UserError, match=message):
        imported(tmp_path / "data.pt", factor=1)


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_objects_in_a_file_are_never_made(tmp_path: Path) -> None:
    file, marker = tmp_path / "data.pt", tmp_path / "ran"
    for content in (Trap(marker), [IMAGES, Trap(marker)], {"data": [[IMAGES, LABELS]], "accs_all_exps": Trap(marker)}):
        torch.save(content, file)
        assert "holds Python objects" in refused(file)
    assert not marker.exists()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for make_file in public_files.LAYOUTS.values():
        make_file(folder, IMAGES.clone(), LABELS)
    return folder


@given(
    name=st.sampled_from(["res_DM_CIFAR10_ConvNet_2ipc.pt", "data_best.pt", "images_best.pt"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(max_size=8),
    cut=st.booleans(),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_told_in_one_line(good: Path, name: str, place: float, junk: bytes, cut: bool) -> None:
    data = (good / name).read_bytes()
    start = int(place * len(data))
    damaged = good / f"damaged-{name}"
    damaged.write_bytes(data[:start] + junk + (b"" if cut else data[start + len(junk) :]))
    labels = good / "labels_best.pt" if name.startswith("images") else None
    complaint = ""
    try:
        imported(damaged, Meaning(reading="none"), factor=1, labels=labels)
    except UserError as error:
        complaint = str(error)
    assert "\n" not in complaint
    assert len(complaint) < 1000
