from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import public_files
import pytest
import torch
from condensed_sets import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import export
from m3d_condense.sets.importing import Real, import_set
from m3d_condense.sets.layouts import read_layout
from m3d_condense.sets.values import CONSTANTS, Pixels
from m3d_condense.tools.errors import UserError

NAMES = ("ant", "bee", "cat")
CIFAR10 = Pixels(reading="cifar10")
layouts = pytest.mark.parametrize("layout", public_files.LAYOUTS)


def eight_bit(channels: int = 3, side: int = 8, ipc: int = 2) -> tuple[Tensor, Tensor]:
    """Images N×C×H×W uint8 and labels, such as a set of public code is made of."""
    condensed = make(ipc=ipc, shape=(channels, side, side))
    return condensed.images, condensed.labels


def imported(file: Path, pixels: Pixels | None = None, experiment: int | None = None, **options: Any) -> CondensedSet:
    real = Real(class_names=NAMES, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), source={"data": "digits", "name": "d"})
    content = read_layout(file, options.pop("labels", None), experiment)
    return import_set(content, file, options.pop("real", real), pixels=pixels, **options)


def refused(file: Path, *parts: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        imported(file, *parts, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Layouts


@layouts
def test_each_layout_gives_the_pixels_that_were_stored(tmp_path: Path, layout: str) -> None:
    images, labels = eight_bit()
    file = public_files.LAYOUTS[layout](tmp_path, images.float() / 255, labels)
    condensed = imported(file, factor=1)
    assert torch.equal(condensed.images, images)
    assert torch.equal(condensed.labels, labels)
    assert (condensed.class_names, condensed.mean, condensed.source["data"]) == (NAMES, (0.1, 0.2, 0.3), "digits")


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


# Tiles and labels


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


# What the values mean


@pytest.mark.parametrize("name", CONSTANTS)
def test_normalised_values_are_turned_back(tmp_path: Path, name: str) -> None:
    mean, std = map(torch.tensor, CONSTANTS[name])
    images, labels = eight_bit(len(mean))
    file = public_files.experiments(tmp_path, (public_files.normalised(images.float() / 255, (mean, std)), labels))
    real = Real(class_names=NAMES, source={})
    condensed = imported(file, Pixels(reading=name), real=real)
    assert torch.equal(condensed.images, images)
    assert condensed.mean == pytest.approx(mean.tolist())
    told = Pixels(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    assert torch.equal(imported(file, told, real=real).images, images)


def test_values_that_may_mean_more_than_one_thing_are_asked_about(tmp_path: Path) -> None:
    images, labels = eight_bit()
    file = public_files.experiments(tmp_path, (public_files.normalised(images.float() / 255), labels))
    told = refused(file)
    for word in ("from -2.", "normalised=none", "normalised=mnist|fashion-mnist", "mean and std", "normalised=zca"):
        assert word in told
    assert "lie outside [0, 1]: they mean something else" in refused(file, Pixels(reading="none"))
    assert "1 means and 1 deviations for 3 channels" in refused(file, Pixels(reading="mnist"))


def test_values_that_left_the_range_are_clipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = eight_bit()
    levels = images.float() / 255
    levels[0, 0, 0] = torch.tensor([-0.25, 1.25, 0, 0, 0, 0, 0, 0])
    file = public_files.pair(tmp_path, levels, labels)
    assert "normalised=none" in refused(file, factor=1)
    condensed = imported(file, Pixels(reading="none"), factor=1)
    assert condensed.images[0, 0, 0, :3].tolist() == [0, 255, 0]
    assert "0.17% of its values lie outside [0, 1], and are clipped" in capsys.readouterr().err


def test_rounding_errors_are_no_question(tmp_path: Path) -> None:
    images, labels = eight_bit()
    assert torch.equal(imported(public_files.two_files(tmp_path, images.float() / 255 + 1e-4, labels)).images, images)


def test_eight_bit_images_are_not_normalised(tmp_path: Path) -> None:
    file = public_files.pair(tmp_path, *eight_bit())
    assert torch.equal(imported(file, factor=1).images, eight_bit()[0])
    assert "not normalised" in refused(file, CIFAR10, factor=1)


def whitened(images: Tensor, real: Tensor) -> Tensor:
    """Whiten images as MTT does, written in numpy: (x - μ)(Σ + 0.1)^(-1/2)."""
    x, y = (values.flatten(1).double().numpy() / 255 for values in (real, images))
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    result = (y - x.mean(0)) @ vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    return torch.from_numpy(result).float().view(images.shape)


def test_whitening_is_undone_by_the_real_images(tmp_path: Path) -> None:
    images, labels = eight_bit(side=6)
    real = torch.randint(256, (300, 3, 6, 6), generator=torch.Generator().manual_seed(1), dtype=torch.int32).byte()
    file = public_files.two_files(tmp_path, whitened(images, real), labels)
    told = Real(class_names=NAMES, mean=(0.5,) * 3, std=(0.3,) * 3, images=real, source={})
    assert "normalised=zca" in refused(file, real=told)
    condensed = imported(file, Pixels(reading="zca"), real=told)
    assert torch.equal(condensed.images, images)
    assert condensed.settings["pixels"] == "whitened by ZCA"
    assert "data=DATA says where" in refused(file, Pixels(reading="zca"))
    other = Real(class_names=NAMES, images=real[..., :5], source={})
    assert "at the size of the data" in refused(file, Pixels(reading="zca"), real=other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reading": "cifar"}, "normalised=cifar: one of none, zca"),
        ({"mean": (0.5,)}, "mean and std go together"),
        ({"mean": (0.5,), "std": (0.0,)}, "numbers above 0"),
        ({"mean": (0.5,), "std": (float("nan"),)}, "numbers above 0"),
        ({"reading": "mnist", "mean": (0.5,), "std": (1.0,)}, "either a name"),
    ],
)
def test_meanings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pixels(**settings)


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
        imported(damaged, Pixels(reading="none"), factor=1, labels=labels)
    except UserError as error:
        complaint = str(error)
    assert "\n" not in complaint
    assert len(complaint) < 1000
