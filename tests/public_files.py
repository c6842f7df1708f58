"""Files as public code of the field stores its sets, to import: made of any images and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
