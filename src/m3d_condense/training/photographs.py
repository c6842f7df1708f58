"""How networks see photographs in training: a window of each, enlarged; its colours jittered; its light changed.

The augmentation behind the figures on subsets of ImageNet, as IDC's public code has it (Kim et al., ICML 2022). Colours
are those of pixels in [0, 1], before normalisation.

Shapes: G groups, N images per group, C×H×W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

AREA, ASPECT = (0.5, 1.0), (3 / 4, 4 / 3)  # of a window: its share of the image, and its width over its height
TRIES = 10  # windows drawn at most until one lies within the image; else it is the whole image
JITTER = 0.4  # how far the factors of brightness, saturation and contrast are from 1 at most
GREY = (0.299, 0.587, 0.114)  # shares of red, green and blue in luminance (ITU-R BT.601)
LIGHT = 0.1  # standard deviation of the light's change along each principal component, in the component's own
EIGENVALUES = (0.2175, 0.0188, 0.0045)  # of ImageNet's colours in [0, 1] (Krizhevsky et al., NeurIPS 2012)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))  # by column


def draw(
    names: tuple[str, ...],
    applies: Callable[[str], Tensor],
    groups: int,
    size: tuple[int, int],
    generators: Sequence[torch.Generator],
) -> dict[str, Tensor]:
    """Draw the operations among `names` that are ours: "resizedcrop", "jitter" and "lighting".

    Args:
        names: of the operations.
        applies: tells which groups have an operation, G booleans.
        groups: how many draws each generator makes; G is those of all of them.
        size: H and W of the images.
        generators: CPU generators; nothing is drawn from them for operations that are not listed.

    Returns:
        window G×2×3, jitter G×3 and lighting G×3, of those that are listed; see `augment.Parameters`.
    """
    found = {}
    if "resizedcrop" in names:
        u = torch.cat([torch.rand(groups, TRIES, 4, generator=one) for one in generators])
        whole = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        found["window"] = torch.where(applies("resizedcrop").view(-1, 1, 1), _window(u, size), whole)
    if "jitter" in names:
        factors = 1 + JITTER * (2 * torch.cat([torch.rand(groups, 3, generator=one) for one in generators]) - 1)
        found["jitter"] = torch.where(applies("jitter").unsqueeze(1), factors, 1.0)
    if "lighting" in names:
        normal = torch.cat([torch.randn(groups, 3, generator=one) for one in generators])
        along = LIGHT * normal * torch.tensor(EIGENVALUES)
        found["lighting"] = torch.where(applies("lighting").unsqueeze(1), along @ torch.tensor(EIGENVECTORS).T, 0.0)
    return found


def _window(u: Tensor, size: tuple[int, int]) -> Tensor:
    """Return windows of whole pixels, as maps G×2×3 from output to input coordinates in [-1, 1].

    Area and logarithm of the aspect are uniform; of ten such windows the first that lies within the image is taken.
    """
    sides = torch.tensor([size[1], size[0]])
    area = (AREA[0] + u[..., 0] * (AREA[1] - AREA[0])) * sides.prod()
    low, high = map(math.log, ASPECT)
    aspect = (low + u[..., 1] * (high - low)).exp()
    extent = torch.stack((area * aspect, area / aspect), -1).sqrt().round()  # G×tries×2, width and height
    fits = (extent <= sides).all(-1)
    first = fits.int().argmax(1)
    rows = torch.arange(len(u))
    chosen = torch.where(fits.any(1, keepdim=True), extent[rows, first], sides)
    start = (u[rows, first, 2:] * (sides - chosen + 1)).floor()
    return torch.cat((torch.diag_embed(chosen / sides), ((2 * start + chosen) / sides - 1).unsqueeze(-1)), -1)


def recoloured(pixels: Tensor, jitter: Tensor | None, lighting: Tensor | None) -> Tensor:
    """Jitter the colours of images G×N×C×H×W in [0, 1], then add the light's change; nothing is cut off.

    Brightness b multiplies all, saturation s moves each pixel from its luminance, and contrast c from the image's mean
    luminance. None of these changes what the others start from, so that their order does not matter. Grey images get
    the luminance of the light's change.
    """
    colour = pixels.shape[2] == 3
    if jitter is not None:
        brightness, saturation, contrast = jitter.to(pixels.dtype).view(-1, 3, 1, 1, 1, 1).unbind(1)
        grey = _luminance(pixels) if colour else pixels
        level = brightness * (1 - contrast) * grey.mean((3, 4), keepdim=True)
        kept = brightness * contrast * saturation
        pixels = torch.addcmul(brightness * contrast * (1 - saturation) * grey + level, pixels, kept)
    if lighting is not None:
        light = lighting.to(pixels.dtype).view(-1, 1, 3, 1, 1)
        pixels = pixels + (light if colour else _luminance(light))
    return pixels


def _luminance(colours: Tensor) -> Tensor:
    """Return the luminance G×N×1×H×W of colours G×N×3×H×W."""
    shares = torch.tensor(GREY, dtype=colours.dtype, device=colours.device)
    return (colours * shares.view(3, 1, 1)).sum(2, keepdim=True)
