"""What the values of imported images mean: levels of [0, 1], or such normalised or whitened, told by them or asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from m3d_condense.sets.whitening import unwhiten
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

Constants = tuple[tuple[float, ...], tuple[float, ...]]  # the mean and deviation of each channel

IMAGENET: Constants = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONSTANTS: dict[str, Constants] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),  # of DC and DM; MTT has CIFAR-10's for both
    "imagenet": IMAGENET,
}
"""By which public code normalises: utils.py of VICO-UoE/DatasetCondensation and of mtt-distillation."""

NONE, ZCA = "none", "zca"
ROUNDING = 1e-3  # by which values may leave [0, 1]
BEYOND = 0.25  # the share of values outside [0, 1] from which the constants are taken to be others


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the values of a file mean.

    Attributes:
        reading: "none", values in [0, 1], those beyond it clipped; "zca", whitened; the name of `CONSTANTS` by which
            they are normalised; None to be told by the values.
        mean, std: constants by which they are normalised, a channel each, in place of a name.
    """

    reading: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        known = (NONE, ZCA, *CONSTANTS)
        if self.reading is not None and self.reading not in known:
            raise UserError(f"one of {', '.join(known)}", setting="normalised", value=self.reading)
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std go together, a number for each channel", setting="mean", value=self.mean)
        if self.mean is not None and self.reading is not None:
            raise UserError("either a name, or mean and std", setting="normalised", value=self.reading)
        if self.std is not None and not all(0 < value < 1e6 for value in self.std):
            raise UserError("numbers above 0", setting="std", value=self.std)

    @property
    def constants(self) -> Constants | None:
        """What the values are normalised by; None where they are not, or where nothing was told."""
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        return CONSTANTS.get(self.reading or NONE)


def eight_bit(
    images: Tensor, file: Path, pixels: Meaning, real: Callable[[], Tensor | None], levels: bool = False
) -> tuple[Tensor, str]:
    """Return images N×C×H×W, uint8 or float32, as uint8, and what their values were taken for.

    Args:
        images: of the file, which messages name.
        file: see above.
        pixels: what the values mean.
        real: returns the real images, uint8, by whose moments whitening is undone; None where they are not at hand.
        levels: whether the file says that they are levels. Else 0 and 1 alone are black and white, as in all data, and
            floats that are whole numbers up to 255 are levels.

    Raises:
        UserError: the values may mean more than one thing, or not what was said.
    """
    if images.dtype == torch.uint8:
        if pixels.reading not in (None, NONE) or pixels.constants:
            raise UserError(f"{file} holds 8-bit images, which are not normalised")
        if levels or int(images.max()) != 1:
            return images, "8 bits"
        notice(f"{file}: its numbers are 0 and 1 only: read as black and white")
        return images * 255, "black and white"
    constants = pixels.constants
    if pixels.reading == ZCA:
        known = real()
        if known is None:
            raise UserError(f"whitening is undone with the real images; {Setting('data', 'DATA')} says where they are")
        notice(f"The whitening is undone by the covariance of {len(known):,} real images, which takes a while")
        values, meaning = unwhiten(images, known), "whitened by ZCA"
    elif constants is not None:
        values, meaning = (
            _denormalised(images, file, constants),
            f"normalised by mean {constants[0]} and std {constants[1]}",
        )
    elif pixels.reading is None and _are_levels(images):
        notice(f"{file}: its floats are whole numbers from 0 to {int(images.max())}: read as levels of 8 bits")
        values, meaning = images / 255, "levels of 8 bits"
    else:
        if pixels.reading is None:
            _check_range(images, file)
        values, meaning = images, "in [0, 1]"
    _tell_clipped(values, file, meaning)
    return values.clamp(0, 1).mul(255).round().byte(), meaning


def _denormalised(images: Tensor, file: Path, constants: Constants) -> Tensor:
    mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in constants)
    if mean.shape[1] != images.shape[1] or std.shape[1] != images.shape[1]:
        raise UserError(f"{file}: {mean.shape[1]} means and {std.shape[1]} deviations for {images.shape[1]} channels")
    return images * std + mean


def _are_levels(images: Tensor) -> bool:
    """Whether floats are whole numbers from 0 to 255, and not all of them within [0, 1]."""
    low, high = (float(edge) for edge in torch.aminmax(images))
    return low >= 0 and 1 + ROUNDING < high <= 255 and bool((images == images.round()).all())


def _check_range(images: Tensor, file: Path) -> None:
    """Raise `UserError` where values lie outside [0, 1], and so may mean more than one thing."""
    low, high = float(images.min()), float(images.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    names = "|".join(CONSTANTS)
    raise UserError(
        f"{file} holds values from {low:.3g} to {high:.3g}, which may be levels of [0, 1] that left it "
        f"({Setting('normalised', NONE)}), normalised by a data set's constants, as DC's, DSA's, DM's and IDM's are "
        f"({Setting('normalised', names)}, or {Setting('mean')} and {Setting('std')}), or whitened, as most of MTT's "
        f"and DATM's are ({Setting('normalised', ZCA)})"
    )


def _tell_clipped(values: Tensor, file: Path, meaning: str) -> None:
    """Say how many values are clipped to [0, 1]; raise `UserError` where these are too many to be stray ones."""
    share = float(((values < -ROUNDING) | (values > 1 + ROUNDING)).float().mean())
    if share > BEYOND:
        raise UserError(
            f"{file}: read as {meaning}, {share:.0%} of its values lie outside [0, 1]: they mean something else; "
            f"{Setting('normalised')} says what"
        )
    if share > 0:
        notice(f"{file}: read as {meaning}; {share:.2%} of its values lie outside [0, 1], and are clipped")
