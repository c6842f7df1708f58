from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from m3d_condense.report.projection import principal_components


def test_components_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(40, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    synthetic = torch.randn(5, 6, generator=generator)
    found, reference = principal_components(real, synthetic), PCA(2).fit(real.numpy())
    for ours, points in ((found.real, real), (found.synthetic, synthetic)):
        expected = reference.transform(points.numpy())
        signs = np.sign((ours.numpy() * expected).sum(0))
        assert np.allclose(ours.numpy(), expected * signs, atol=1e-4)
    assert found.explained == pytest.approx(reference.explained_variance_ratio_.sum(), rel=1e-5)


def test_components_of_features_that_do_not_vary_are_points() -> None:
    found = principal_components(torch.ones(3, 4), torch.ones(2, 4))
    assert torch.equal(found.synthetic, torch.zeros(2, 2).double())
    assert principal_components(torch.ones(1, 1), torch.ones(2, 1)).real.shape == (1, 2)
