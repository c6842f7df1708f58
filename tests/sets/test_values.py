from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import public_files
import pytest
import torch
from public_files import NAMES, eight_bit, imported, refused
from torch import Tensor

from m3d_condense.sets import values
from m3d_condense.sets.importing import Real
from m3d_condense.sets.values import CONSTANTS, Meaning
from m3d_condense.tools.errors import UserError

CIFAR10 = Meaning(reading="cifar10")


@pytest.mark.parametrize("name", CONSTANTS)
def test_normalised_values_are_turned_back(tmp_path: Path, name: str) -> None:
    mean, std = map(torch.tensor, CONSTANTS[name])
    images, labels = eight_bit(len(mean))
    file = public_files.experiments(tmp_path, (public_files.normalised(images.float() / 255, (mean, std)), labels))
    real = Real(class_names=NAMES, source={})
    condensed = imported(file, Meaning(reading=name), real=real)
    assert torch.equal(condensed.images, images)
    assert condensed.mean == pytest.approx(mean.tolist())
    told = Meaning(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    assert torch.equal(imported(file, told, real=real).images, images)


def test_values_that_may_mean_more_than_one_thing_are_asked_about(tmp_path: Path) -> None:
    images, labels = eight_bit()
    file = public_files.experiments(tmp_path, (public_files.normalised(images.float() / 255), labels))
    told = refused(file)
    for word in ("from -2.", "normalised=none", "normalised=mnist|fashion-mnist", "mean and std", "normalised=zca"):
        assert word in told
    assert "lie outside [0, 1]: they mean something else" in refused(file, Meaning(reading="none"))
    assert "1 means and 1 deviations for 3 channels" in refused(file, Meaning(reading="mnist"))


def test_values_that_left_the_range_are_clipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = eight_bit()
    levels = images.float() / 255
    levels[0, 0, 0] = torch.tensor([-0.25, 1.25, 0, 0, 0, 0, 0, 0])
    file = public_files.pair(tmp_path, levels, labels)
    assert "normalised=none" in refused(file, factor=1)
    condensed = imported(file, Meaning(reading="none"), factor=1)
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
    condensed = imported(file, Meaning(reading="zca"), real=told)
    assert torch.equal(condensed.images, images)
    assert condensed.settings["pixels"] == "whitened by ZCA"
    assert "data=DATA says where" in refused(file, Meaning(reading="zca"))
    other = Real(class_names=NAMES, images=real[..., :5], source={})
    assert "at the size of the data" in refused(file, Meaning(reading="zca"), real=other)


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
        Meaning(**settings)


def test_zeros_and_ones_are_black_and_white_unless_they_are_said_to_be_levels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).repeat(6).view(1, 3, 2, 2)
    found, meaning = values.eight_bit(images, Path("x.pt"), Meaning(), lambda: None)
    assert torch.equal(found, images * 255)
    assert meaning == "black and white"
    assert "x.pt: its numbers are 0 and 1 only: read as black and white" in capsys.readouterr().err
    assert torch.equal(values.eight_bit(images, Path("x.pt"), Meaning(), lambda: None, levels=True)[0], images)


def test_floats_that_are_whole_numbers_up_to_255_are_levels(capsys: pytest.CaptureFixture[str]) -> None:
    levels = torch.arange(12).view(1, 3, 2, 2) * 20
    found, meaning = values.eight_bit(levels.float(), Path("x.pt"), Meaning(), lambda: None)
    assert torch.equal(found, levels.byte())
    assert meaning == "levels of 8 bits"
    assert "whole numbers from 0 to 220: read as levels of 8 bits" in capsys.readouterr().err
    for other in (levels.float() + 0.5, levels.float() - 20, levels.float() * 2):
        with pytest.raises(UserError, match="holds values from"):
            values.eight_bit(other, Path("x.pt"), Meaning(), lambda: None)
