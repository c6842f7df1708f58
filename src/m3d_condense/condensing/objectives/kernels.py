"""Kernels and the maximum mean discrepancy between real and synthetic features, for all classes at once.

Shapes: K classes, N real and M synthetic images per class, D features. Everything is float32 (or float64):
squared distances of D in the thousands lose too much in 16 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from m3d_condense.recipes.recipe import KERNELS

BANDWIDTHS = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Multiples of the bandwidth whose Gaussians are summed; each is half the one before."""
ROUNDING = 64
"""How many rounding errors of their size features may be apart on average, and count as equal."""


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return ‖x_i - y_j‖² as K×N×M for x K×N×D and y K×M×D, as norms and one batched matrix product.

    Centre the features first where they are far from the origin: the products cancel.
    """
    products = torch.baddbmm(x.square().sum(-1, keepdim=True), x, y.mT, alpha=-2.0)
    return (products + y.square().sum(-1).unsqueeze(-2)).clamp_min(0.0)


def mean_squared_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the mean of ‖u_i - u_j‖², i ≠ j, over the union u of both sets, one number per class (K).

    The sum over all pairs of n points is 2n·Σ‖u‖² - 2·‖Σu‖², so no pair is formed. This is the bandwidth of
    `gaussian`; it is detached, as the gradient does not run through it.
    """
    real, synthetic = real.detach(), synthetic.detach()
    n = real.shape[1] + synthetic.shape[1]
    squares = real.square().sum((1, 2)) + synthetic.square().sum((1, 2))
    total = 2 * n * squares - 2 * (real.sum(1) + synthetic.sum(1)).square().sum(-1)
    return total / (n * n - n)


def linear(x: Tensor, y: Tensor) -> Tensor:
    """Return x·y as K×N×M for x K×N×D and y K×M×D."""
    return x @ y.mT


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    """Return (x·y + 1)² as K×N×M for x K×N×D and y K×M×D."""
    return (x @ y.mT + 1.0).square()


def gaussian(x: Tensor, y: Tensor, bandwidth: Tensor) -> Tensor:
    """Return Σ_m exp(-‖x - y‖² / (m·b)), m = 1/4 … 4, as K×N×M in [0, 5], for a bandwidth b per class (K).

    The smallest exponent is raised once; every further term is the square of the one before.
    """
    term = torch.exp(squared_distances(x, y) / (-BANDWIDTHS[0] * bandwidth.view(-1, 1, 1)))
    total = term
    for _ in BANDWIDTHS[1:]:
        term = term.square()
        total = total + term
    return total


def mmd(real: Tensor, synthetic: Tensor, kernel: str = "gaussian", *, constants: bool = True) -> Tensor:
    """Return the biased squared MMD per class (K): Eq. (9) of M3D, the mean over all pairs, diagonals included.

    Args:
        real: features K×N×D; no gradient flows to them.
        synthetic: features K×M×D.
        kernel: one of `m3d_condense.recipes.recipe.KERNELS`.
        constants: without it the term between real images is left out. That term is constant in the synthetic
            images, so the gradient is the same, and the value is lower by it.

    Raises:
        ValueError: for a kernel of another name.
    """
    real = real.detach()
    if kernel == "gaussian":
        centre = real.mean(1, keepdim=True)
        real, synthetic = real - centre, synthetic - centre
        bandwidth = mean_squared_distance(real, synthetic)
        # Where features all coincide, their distances are noise. Under an infinite bandwidth they do not matter.
        noise = (ROUNDING * torch.finfo(real.dtype).eps) ** 2 * centre.square().sum((1, 2))
        bandwidth = torch.where(bandwidth <= noise, torch.inf, bandwidth)
        between, within = gaussian(real, synthetic, bandwidth), gaussian(synthetic, synthetic, bandwidth)
        constant = gaussian(real, real, bandwidth) if constants else None
    elif kernel in ("linear", "polynomial"):
        function = linear if kernel == "linear" else polynomial
        between, within = function(real, synthetic), function(synthetic, synthetic)
        constant = function(real, real) if constants else None
    else:
        raise ValueError(f"unknown kernel {kernel!r}: one of {', '.join(KERNELS)}")
    loss = within.mean((1, 2)) - 2 * between.mean((1, 2))
    return loss if constant is None else loss + constant.mean((1, 2))
