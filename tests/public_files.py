"""Files as public code of the field stores its sets, made of any images and labels; and their import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from condensed_sets import make
from torch import Tensor

from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.importing import Real, import_set
from m3d_condense.sets.layouts import read_layout
from m3d_condense.sets.values import Meaning
from m3d_condense.tools.errors import UserError

NAMES = ("ant", "bee", "cat")

CIFAR = (torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010]))


def normalised(levels: Tensor, constants: tuple[Tensor, Tensor] = CIFAR) -> Tensor:
    """Images of [0, 1] normalised by the constants of a data set."""
    mean, std = (values.view(1, -1, 1, 1) for values in constants)
    return (levels - mean) / std


def experiments(folder: Path, *sets: tuple[Tensor, Tensor]) -> Path:
    """As DC, DSA, DM and IDM: one file for all experiments, with accuracies as numbers of numpy."""
    file = folder / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    pairs = [[images.detach().cpu(), labels.detach().cpu()] for images, labels in sets]
    torch.save({"data": pairs, "accs_all_exps": {"ConvNet": [np.float64(0.25), np.float32(0.5)]}}, file)
    return file


def pair(folder: Path, images: Tensor, labels: Tensor) -> Path:
    """As IDC, DREAM, DANCE and NCFM: a list of two."""
    torch.save([images.detach().cpu(), labels.cpu()], folder / "data_best.pt")
    return folder / "data_best.pt"


def two_files(folder: Path, images: Tensor, labels: Tensor) -> Path:
    """As MTT and DATM: labels beside images, and a learning rate; both may still ask for gradients."""
    torch.save(images.requires_grad_(), folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    torch.save(torch.tensor(0.01), folder / "lr_best.pt")
    return folder / "images_best.pt"


LAYOUTS: dict[str, Callable[[Path, Tensor, Tensor], Any]] = {
    "experiments": lambda folder, images, labels: experiments(folder, (images, labels)),
    "pair": pair,
    "two files": two_files,
}


def eight_bit(channels: int = 3, side: int = 8, ipc: int = 2) -> tuple[Tensor, Tensor]:
    """Images N×C×H×W uint8 and labels, such as a set of public code is made of."""
    condensed = make(ipc=ipc, shape=(channels, side, side))
    return condensed.images, condensed.labels


def imported(file: Path, pixels: Meaning | None = None, experiment: int | None = None, **options: Any) -> CondensedSet:
    """The set that is made of a file; of what the real data are, something is known."""
    content = read_layout(file, options.pop("labels", None), experiment)
    names, source = content.class_names or NAMES, {"data": "digits", "name": "d"}
    real = Real(class_names=names, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), source=source)
    known = options.pop("real", real)
    return import_set(content, file, lambda: known, pixels=pixels, **options)


def refused(file: Path, *parts: Any, **options: Any) -> str:
    """The one line of complaint about a file that is refused."""
    with pytest.raises(UserError) as caught:
        imported(file, *parts, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
