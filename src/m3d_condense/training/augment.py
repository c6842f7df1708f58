"""Differentiable Siamese augmentation: parameters drawn first, applied to any images, all classes in one call.

A draw is made per group. In condensation a group is a class, whose real and synthetic images share the draw
("Siamese", Zhao and Bilen, DSA, ICML 2021); in training a group is one image. Images are normalised, so the
zeros that come in at the borders are the mean colour.

Shapes: G groups, N images per group, C×H×W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_condense.recipes.augmentation import ALWAYS, Augmentation
from m3d_condense.tools.errors import UserError
from m3d_condense.training import photographs

BRIGHTNESS, SATURATION, CONTRAST = 0.5, (0.0, 2.0), (0.5, 1.5)  # common to DSA and IDC
CROP, CUTOUT, SCALE, ROTATE = 0.125, 0.5, 1.2, 15.0
SLACK = 1e-3  # beyond [0, 1], of floats that were resized or rounded
SLICES = 32  # groups at most that are cropped one by one


class Normalisation:
    """Takes images …×C×H×W, uint8 or floats in [0, 1], to float32 less the mean, over the standard deviation.

    Args:
        mean, std: per channel, of values in [0, 1].
        device: where the images are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        centre, spread = (
            torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1) for values in (mean, std)
        )
        self.shift, self.scale = -centre / spread, 1 / spread

    def __call__(self, images: Tensor) -> Tensor:
        """Return the normalised images."""
        values = images.float().div_(255) if images.dtype == torch.uint8 else images
        return torch.addcmul(self.shift, values, self.scale)

    def undone(self, images: Tensor) -> Tensor:
        """Return normalised images as they were, floats in [0, 1]."""
        return (images - self.shift) / self.scale


def constants_problem(mean: Sequence[float], std: Sequence[float], channels: int) -> str | None:
    """Say what keeps constants from normalising images of so many channels; None where nothing does."""
    if not len(mean) == len(std) == channels:
        return f"{len(mean)} means and {len(std)} deviations (std) for {channels} channels"
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in std):
        return f"mean {tuple(mean)} and std {tuple(std)} cannot normalise: not finite, or a std not above 0"
    return None


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return images …×C×H×W, uint8 or floats in [0, 1], as float32 less the mean, over the standard deviation.

    Raises:
        UserError: as `check_images` does.
    """
    check_images(images, len(mean))
    values = images if images.dtype == torch.uint8 else images.float()
    return Normalisation(mean, std, images.device)(values)


def check_images(images: object, channels: int) -> None:
    """Raise `UserError` unless images are a tensor …×C×H×W of so many channels, uint8 or floats in [0, 1]."""
    if not isinstance(images, Tensor):
        raise UserError(f"images are a {type(images).__name__}; give a tensor …×C×H×W, uint8 or floats in [0, 1]")
    if images.ndim < 3 or images.shape[-3] != channels:
        raise UserError(f"images of {tuple(images.shape)} do not fit: C×H×W with {channels} channels is wanted")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"images are {images.dtype}; give uint8, or floats in [0, 1]")
    if images.is_floating_point() and not bool(((images >= -SLACK) & (images <= 1 + SLACK)).all()):
        least, most = (float(edge) for edge in torch.aminmax(images))
        raise UserError(f"floats range from {least:g} to {most:g}; give floats in [0, 1], or levels 0 to 255 as uint8")


@dataclass(frozen=True)
class Parameters:
    """One draw for G groups; an operation that no group applies is None.

    Attributes:
        color: G×3, the brightness added, and the factors of saturation and contrast.
        shift: G×2, pixels down and right, in place of `affine` where cropping is the only move and the groups are
            few: a slice each, and no sampling.
        affine: G×2×3, from output to input coordinates in [-1, 1]; all moves as one.
        cutout: G×4, the first and one past the last row, then column, of the pixels set to zero.
        window: G×2×3, as `affine`, of the part of an image that is enlarged to the whole.
        jitter: G×3, the factors of brightness, saturation and contrast.
        lighting: G×3, what is added to red, green and blue in [0, 1].
    """

    color: Tensor | None = None
    shift: Tensor | None = None
    affine: Tensor | None = None
    cutout: Tensor | None = None
    window: Tensor | None = None
    jitter: Tensor | None = None
    lighting: Tensor | None = None

    def of(self, groups: range, device: torch.device) -> Parameters:
        """Return the draw of these groups alone, on a device; shifts, which are numbers to slice by, on the CPU."""
        part = slice(groups.start, groups.stop, groups.step)
        found = {name: tensor[part] for name, tensor in vars(self).items() if tensor is not None}
        return Parameters(
            **{name: t if name == "shift" else t.to(device, non_blocking=True) for name, t in found.items()}
        )


def draw(augmentation: Augmentation, groups: int, size: tuple[int, int], *generators: torch.Generator) -> Parameters:
    """Draw the parameters of groups of images of H×W pixels.

    Args:
        augmentation: the operations, and how they are drawn.
        groups: how many independent draws each generator makes; G is those of all of them, in their order.
        size: H and W of the images.
        generators: CPU generators. Each draws what it would draw alone; all are worked out in one go.
    """
    names = augmentation.operations
    if not names:
        return Parameters()
    u = torch.cat([torch.rand(groups, 12, generator=one) for one in generators])
    one_of = names if augmentation.draw == "dsa" else tuple(name for name in names if name not in ALWAYS)
    chosen = (u[:, 0] * len(one_of)).long().clamp(max=len(one_of) - 1) if one_of else torch.zeros(len(u)).long()

    def applies(name: str) -> Tensor:
        if name in one_of:
            return chosen == one_of.index(name)
        return torch.full((len(u),), name in names)

    geometric = set(names) & {"crop", "flip", "scale", "rotate"}
    shift = _shift(u[:, 7:9], applies("crop"), size)
    sliced = geometric == {"crop"} and groups <= SLICES
    return Parameters(
        color=_color(u[:, 1:4], applies("color")) if "color" in names else None,
        shift=-shift.flip(1).long() if sliced else None,
        affine=_affine(u[:, 4:10], shift, applies, size) if geometric and not sliced else None,
        cutout=_cutout(u[:, 10:12], applies("cutout"), size) if "cutout" in names else None,
        **photographs.draw(names, applies, groups, size, generators),
    )


def apply(images: Tensor, parameters: Parameters, normalised: Normalisation | None = None) -> Tensor:
    """Augment images G×N×C×H×W with one draw per group; differentiable in the images.

    Args:
        images: normalised.
        parameters: the draw.
        normalised: how they are, for jitter and lighting, which change pixels in [0, 1]; None, if these are given.
    """
    _, _, _, height, width = images.shape
    if parameters.window is not None:
        images = _moved(images, parameters.window, "border")
    if parameters.jitter is not None or parameters.lighting is not None:
        pixels = images if normalised is None else normalised.undone(images)
        pixels = photographs.recoloured(pixels, parameters.jitter, parameters.lighting)
        images = pixels if normalised is None else normalised(pixels)
    if parameters.color is not None:
        images = _recolored(images, parameters.color.to(images.dtype))
    if parameters.shift is not None:
        moves = zip(images.unbind(), parameters.shift.tolist(), strict=True)
        images = torch.stack([F.pad(group, (right, -right, down, -down)) for group, (down, right) in moves])
    if parameters.affine is not None:
        images = _moved(images, parameters.affine, "zeros")
    if parameters.cutout is not None:
        images = images * _keep(parameters.cutout, height, width).to(images.dtype).view(-1, 1, 1, height, width)
    return images


def _moved(images: Tensor, affine: Tensor, beyond: str) -> Tensor:
    """Sample images G×N×C×H×W at the places of maps G×2×3; `beyond` the border are zeros, or the border goes on."""
    groups, n, channels, height, width = images.shape
    shape = [groups, n * channels, height, width]
    grid = F.affine_grid(affine.to(images.dtype), shape, align_corners=False)
    moved = F.grid_sample(images.reshape(shape), grid, padding_mode=beyond, align_corners=False)
    return moved.view(groups, n, channels, height, width)


def cutmix(images: Tensor, generator: torch.Generator, probability: float) -> tuple[Tensor, Tensor, float]:
    """Paste one box of every image of a batch N×C×H×W from another of the batch (Yun et al., ICCV 2019).

    The box covers 1-λ of the image before it is cut at the border, λ ~ Beta(1, 1), which is uniform.

    Returns:
        The images, the index (N) of the image each box came from, and the share in [0, 1] that each image keeps
        of itself. Where the draw says no mixing, the images as they are and a share of 1.
    """
    n, _, height, width = images.shape
    order = torch.randperm(n, generator=generator)
    u = torch.rand(4, generator=generator).tolist()
    if u[0] >= probability:
        return images, order, 1.0
    side = math.sqrt(u[3])
    top, bottom = _span(u[1], height, side)
    left, right = _span(u[2], width, side)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[order.to(images.device), :, top:bottom, left:right]
    return mixed, order, 1.0 - (bottom - top) * (right - left) / (height * width)


def _span(u: float, length: int, side: float) -> tuple[int, int]:
    centre, extent = int(u * length), int(length * side)
    return max(centre - extent // 2, 0), min(centre + extent // 2, length)


def _color(u: Tensor, applies: Tensor) -> Tensor:
    low = torch.tensor([-BRIGHTNESS, SATURATION[0], CONTRAST[0]])
    high = torch.tensor([BRIGHTNESS, SATURATION[1], CONTRAST[1]])
    return torch.where(applies.unsqueeze(1), low + u * (high - low), torch.tensor([0.0, 1.0, 1.0]))


def _shift(u: Tensor, applies: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where the first pixel of each output comes from, in pixels right and down, whole numbers, G×2."""
    reach = (torch.tensor([size[1], size[0]]) * CROP + 0.5).floor()
    return torch.where(applies.unsqueeze(1), ((2 * reach + 1) * u).floor() - reach, 0.0)


def _affine(u: Tensor, shift: Tensor, applies: Callable[[str], Tensor], size: tuple[int, int]) -> Tensor:
    height, width = size
    scale = torch.where(applies("scale").unsqueeze(1), 1 / SCALE + u[:, :2] * (SCALE - 1 / SCALE), 1.0)
    angle = torch.where(applies("rotate"), torch.deg2rad((2 * u[:, 2] - 1) * ROTATE), 0.0)
    shift = 2 * shift / torch.tensor([width, height])  # a pixel is 2/side of the coordinates
    mirror = torch.where(applies("flip") & (u[:, 5] < 0.5), -1.0, 1.0)
    cos, sin, aspect = angle.cos(), angle.sin(), height / width
    x = torch.stack((scale[:, 0] * cos * mirror, -sin * aspect, shift[:, 0]), 1)
    y = torch.stack((sin / aspect * mirror, scale[:, 1] * cos, shift[:, 1]), 1)
    return torch.stack((x, y), 1)


def _cutout(u: Tensor, applies: Tensor, size: tuple[int, int]) -> Tensor:
    bounds = []
    for column, length in enumerate(size):
        extent = int(length * CUTOUT + 0.5)
        start = (u[:, column] * (length + 1 - extent % 2)).floor() - extent // 2
        bounds += [start, torch.where(applies, start + extent, start)]
    return torch.stack(bounds, 1)


def _recolored(images: Tensor, color: Tensor) -> Tensor:
    """Add brightness, then move every pixel from its grey (saturation), then from the image's mean (contrast).

    All three are linear and leave the means alone but for the brightness, so that they are one multiplication and one
    addition of what needs a single channel.
    """
    brightness, saturation, contrast = color.view(-1, 3, 1, 1, 1, 1).unbind(1)
    grey = images.mean(2, keepdim=True)
    level = (1 - contrast) * grey.mean((3, 4), keepdim=True) + brightness
    if images.shape[2] == 1:
        return torch.addcmul(level, images, contrast)
    return torch.addcmul(contrast * (1 - saturation) * grey + level, images, contrast * saturation)


def _keep(cutout: Tensor, height: int, width: int) -> Tensor:
    rows = torch.arange(height, device=cutout.device)
    columns = torch.arange(width, device=cutout.device)
    top, bottom, left, right = cutout.unsqueeze(-1).unbind(1)
    inside_rows = (rows >= top) & (rows < bottom)
    inside_columns = (columns >= left) & (columns < right)
    return ~(inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1))
