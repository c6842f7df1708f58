from __future__ import annotations

import math

import pytest
import references
import torch
from torch import Tensor

from m3d_condense.condensing.objectives import kernels
from m3d_condense.condensing.objectives.distribution import mean_distance
from m3d_condense.recipes.recipe import KERNELS

CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # of float64, far above its rounding and far below any wrong term


def features(k: int, n: int, m: int, d: int = 6, seed: int = 0, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(k, n, d, generator=generator, dtype=torch.float64)
    synthetic = 0.5 + spread * torch.randn(k, m, d, generator=generator, dtype=torch.float64)
    return real, synthetic.requires_grad_()


def gradient(losses: Tensor, synthetic: Tensor) -> Tensor:
    return torch.autograd.grad(losses.sum(), synthetic, retain_graph=True)[0]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("n", "m"), [(5, 4), (7, 1), (1, 3), (1, 1), (2, 2)])
def test_mmd_equals_plain_loops(name: str, n: int, m: int) -> None:
    real, synthetic = features(3, n, m)
    expected = torch.stack([references.mmd(r, s, name) for r, s in zip(real, synthetic, strict=True)])
    got = kernels.mmd(real, synthetic, name)
    torch.testing.assert_close(got, expected, **CLOSE)
    torch.testing.assert_close(gradient(got, synthetic), gradient(expected, synthetic), **CLOSE)


@pytest.mark.parametrize(("n", "m"), [(5, 4), (1, 1), (3, 1)])
def test_bandwidth_is_the_mean_of_explicit_pairs(n: int, m: int) -> None:
    real, synthetic = features(2, n, m)
    expected = torch.stack([references.bandwidth(r, s) for r, s in zip(real, synthetic, strict=True)])
    got = kernels.mean_squared_distance(real, synthetic)
    torch.testing.assert_close(got, expected.detach(), **CLOSE)
    assert not got.requires_grad


def test_no_gradient_runs_through_the_bandwidth() -> None:
    real, synthetic = features(1, 5, 4)
    attached = references.mmd(real[0], synthetic[0], "gaussian", references.bandwidth(real[0], synthetic[0]))
    through = gradient(attached, synthetic)
    got = gradient(kernels.mmd(real, synthetic), synthetic)
    assert (got - through).norm() > 0.01 * through.norm()  # the plain loops above tell the two apart


@pytest.mark.parametrize("name", KERNELS)
def test_no_gradient_reaches_the_real_features(name: str) -> None:
    real, synthetic = features(1, 3, 2)
    real.requires_grad_()
    kernels.mmd(real, synthetic, name).sum().backward()
    assert real.grad is None


def test_the_linear_kernel_is_the_objective_of_dm() -> None:
    real, synthetic = features(4, 9, 5)
    mean, mmd = mean_distance(real, synthetic), kernels.mmd(real, synthetic, "linear")
    torch.testing.assert_close(mmd, mean, **CLOSE)
    torch.testing.assert_close(gradient(mmd, synthetic), gradient(mean, synthetic), **CLOSE)
    by_hand = [
        sum((r[:, d].mean() - s[:, d].mean()) ** 2 for d in range(6)) for r, s in zip(real, synthetic, strict=True)
    ]
    torch.testing.assert_close(mean, torch.stack(by_hand), **CLOSE)


@pytest.mark.parametrize("name", KERNELS)
def test_mmd_of_a_sample_with_itself_is_zero(name: str) -> None:
    real, _ = features(3, 6, 1)
    torch.testing.assert_close(kernels.mmd(real, real.clone(), name), torch.zeros(3, dtype=torch.float64), **CLOSE)
    twice = torch.cat((real, real), dim=1)  # the same distribution, from another number of images
    if name != "gaussian":  # whose bandwidth follows the union
        zero = torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(kernels.mmd(real, twice, name), zero, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_mmd_is_symmetric_and_not_negative(name: str) -> None:
    for seed in range(20):
        real, synthetic = features(2, 4, 3, seed=seed, spread=1 + seed / 4)
        one, other = kernels.mmd(real, synthetic, name), kernels.mmd(synthetic.detach(), real, name)
        torch.testing.assert_close(one, other, **CLOSE)
        assert (one > 0).all()


def test_the_gaussian_knows_neither_place_nor_order() -> None:
    real, synthetic = features(2, 6, 4)
    expected = kernels.mmd(real, synthetic)
    torch.testing.assert_close(kernels.mmd(real + 50, synthetic + 50), expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(kernels.mmd(real.flip(1), synthetic[:, [2, 0, 3, 1]]), expected, **CLOSE)
    torch.testing.assert_close(kernels.mmd(3 * real, 3 * synthetic), expected, **CLOSE)  # b grows with the scale


def test_two_points_have_a_closed_form() -> None:
    for d in (0.1, 1.0, 30.0):  # b = d² whatever d, so that only the multiples of the bandwidth are left
        real, synthetic = torch.zeros(1, 1, 3), torch.tensor([[[0.0, d, 0.0]]])
        closed = 2 * sum(1 - math.exp(-1 / m) for m in (0.25, 0.5, 1.0, 2.0, 4.0))
        assert float(kernels.mmd(real, synthetic)) == pytest.approx(closed, rel=1e-5)
        assert float(kernels.mmd(real, synthetic, "linear")) == pytest.approx(d * d, rel=1e-5)
        assert float(kernels.mmd(real, synthetic, "polynomial")) == pytest.approx((1 + d * d) ** 2 - 1, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_features_that_all_coincide_give_no_nan(dtype: torch.dtype, n: int, m: int, value: float) -> None:
    real = torch.full((2, n, 7), value, dtype=dtype)
    synthetic = torch.full((2, m, 7), value, dtype=dtype, requires_grad=True)
    losses = kernels.mmd(real, synthetic)
    torch.testing.assert_close(losses, torch.zeros(2, dtype=dtype), rtol=0, atol=1e-6)
    grad = gradient(losses, synthetic)
    assert torch.isfinite(grad).all(), grad
    assert (grad == 0).all()


@pytest.mark.parametrize(("n", "m"), [(3, 1), (7, 4), (64, 1), (64, 4)])
@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_features_that_coincide_but_for_rounding_are_at_the_minimum(n: int, m: int, apart: float) -> None:
    torch.manual_seed(0)
    point = torch.randn(2, 1, 2048).relu()
    real = point.repeat(1, n, 1) * (1 + apart * torch.randn(2, n, 2048))
    synthetic = point.repeat(1, m, 1).requires_grad_()
    losses = kernels.mmd(real, synthetic)
    assert losses.tolist() == [0.0, 0.0]
    assert (gradient(losses, synthetic) == 0).all()


def test_features_that_are_near_each_other_do_not_count_as_equal() -> None:
    real, synthetic = features(2, 5, 4)
    apart = kernels.mmd(real, synthetic)
    near = kernels.mmd(1 + 1e-4 * real, 1 + 1e-4 * synthetic)
    torch.testing.assert_close(near, apart, rtol=1e-2, atol=0)


def test_derivatives_against_finite_differences() -> None:
    real, synthetic = features(2, 3, 2, d=4)
    b = torch.tensor([3.0, 5.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: kernels.gaussian(real, s, b), synthetic)
    assert torch.autograd.gradcheck(lambda s: kernels.gaussian(s, s, b), synthetic)
    for name in ("linear", "polynomial"):
        assert torch.autograd.gradcheck(lambda s, name=name: kernels.mmd(real, s, name), synthetic)


@pytest.mark.parametrize("name", KERNELS)
def test_without_the_constant_the_gradient_is_the_same(name: str) -> None:
    real, synthetic = features(3, 5, 4)
    whole, part = kernels.mmd(real, synthetic, name), kernels.mmd(real, synthetic, name, constants=False)
    assert torch.equal(gradient(whole, synthetic), gradient(part, synthetic))
    for r, s, difference in zip(real, synthetic, whole - part, strict=True):
        k = references.kernel(name, references.bandwidth(r, s).detach())
        constant = sum(k(x, y) for x in r for y in r) / 25
        torch.testing.assert_close(difference, constant, **CLOSE)


@pytest.mark.parametrize("name", KERNELS)
def test_all_classes_at_once_equal_class_by_class(name: str) -> None:
    real, synthetic = features(4, 5, 3)
    together = kernels.mmd(real, synthetic, name)
    alone = torch.cat([kernels.mmd(real[k : k + 1], synthetic[k : k + 1], name) for k in range(4)])
    torch.testing.assert_close(together, alone, **CLOSE)
    assert len(set(together.tolist())) == 4


def test_float32_keeps_its_digits_far_from_the_origin() -> None:
    # ‖x‖² is 2·10⁶ and ‖x - y‖² 4·10³: uncentred float32 products would leave three digits.
    generator = torch.Generator().manual_seed(0)
    real = 30 + torch.randn(1, 12, 2048, generator=generator)
    synthetic = 30.02 + torch.randn(1, 6, 2048, generator=generator)
    expected = references.mmd(real[0].double(), synthetic[0].double(), "gaussian")
    assert float(kernels.mmd(real, synthetic)) == pytest.approx(float(expected), rel=1e-4)


def test_unknown_names_are_refused() -> None:
    real, synthetic = features(1, 2, 2)
    with pytest.raises(ValueError, match="unknown kernel 'laplace'"):
        kernels.mmd(real, synthetic, "laplace")
