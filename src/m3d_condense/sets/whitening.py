"""ZCA whitening undone: the images of MTT and DATM are made and stored in whitened coordinates.

With μ the mean and Σ = U S Uᵀ the covariance of the real images, D = C·H·W values each, an image x is whitened to
(x - μ) U (S + ε)^(-1/2) Uᵀ (kornia's ZCAWhitening, with ε = 0.1 in both codes; Cazenavette et al., CVPR 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_condense.tools.errors import UserError

EPSILON = 0.1
LARGEST = 8192  # values of an image: the covariance takes the square of it, and its eigenvectors the cube
CHUNK = 2048  # real images at a time


def unwhiten(images: Tensor, real: Tensor) -> Tensor:
    """Return images N×C×H×W, whitened by the statistics of `real`, M×C×H×W uint8, in values of [0, 1].

    Raises:
        UserError: the shapes differ, the images are too large, or there are fewer than two real ones.
    """
    if images.shape[1:] != real.shape[1:]:
        shapes = f"{tuple(images.shape[1:])} in the file, {tuple(real.shape[1:])} in the data"
        raise UserError(f"whitened images can only be turned back at the size of the data: {shapes}")
    size = images[0].numel()
    if size > LARGEST:
        raise UserError(f"whitening of {size} values an image cannot be undone here; at most {LARGEST}")
    if len(real) < 2:
        raise UserError("whitening is undone by the statistics of the real images, of which two at least must be given")
    mean, covariance = _moments(real)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * (values.clamp(min=0) + EPSILON).sqrt()) @ vectors.T
    plain: Tensor = images.flatten(1).double() @ root + mean
    return plain.float().view_as(images)


def _moments(real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, D, and the covariance, D×D, over the images, in double precision."""
    count, size = len(real), real[0].numel()
    mean = torch.zeros(size, dtype=torch.float64)
    for chunk in torch.split(real, CHUNK):
        mean += chunk.flatten(1).double().sum(dim=0) / (255 * count)
    covariance = torch.zeros(size, size, dtype=torch.float64)
    for chunk in torch.split(real, CHUNK):
        centred = (chunk.flatten(1).double() / 255 - mean).float()  # products in single precision take half the time
        covariance += centred.T @ centred
    return mean, covariance / (count - 1)
