"""The pure functions that find what a report tells: each against values worked out by hand or a plain loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from m3d_condense.report.confusion import accuracy, class_accuracies, confusion, worst
from m3d_condense.report.intervals import interval
from m3d_condense.report.nearest import nearest
from m3d_condense.report.projection import principal_components
from m3d_condense.report.words import duration, share, verdict


def test_a_confusion_counts_images_by_class_and_by_what_they_are_named() -> None:
    labels, named = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0, 2])
    counts = confusion(labels, named, 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert accuracy(counts) == pytest.approx(50.0)
    assert class_accuracies(counts) == [pytest.approx(100 / 3), 50.0, 100.0, None]


def test_the_worst_classes_come_first_with_what_they_are_taken_for_most() -> None:
    counts = torch.tensor([[5, 3, 2], [0, 10, 0], [1, 6, 3]])
    found = worst(counts, 2, 1)
    assert [(one.number, one.accuracy) for one in found] == [(2, 30.0), (0, 50.0)]
    assert [one.taken_for for one in found] == [[(1, 60.0)], [(1, 30.0)]]
    assert worst(counts, 9, 9)[-1].taken_for == []


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


def test_a_copy_is_found_at_distance_zero_and_another_class_is_not_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.int32).byte()
    real_labels = torch.arange(20) % 2
    tiles = real[[4, 5]].float() / 255
    found = nearest(tiles, torch.tensor([0, 0]), real, real_labels)
    assert found.index[0] == 4
    assert found.distance[0] == 0
    others = [n for n in range(20) if n % 2 == 0]
    distances = [float((real[5].float() - real[n].float()).square().mean().sqrt()) for n in others]
    assert found.index[1] == others[int(np.argmin(distances))]
    assert float(found.distance[1]) == pytest.approx(min(distances), rel=1e-5)
    assert found.usual is not None
    assert found.usual > 20


def test_a_smaller_copy_is_found_too() -> None:
    real = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    real[1, :, :4] = 200
    tile = torch.zeros(1, 1, 4, 4)
    tile[:, :, :2] = 200 / 255
    found = nearest(tile, torch.tensor([0]), real, torch.tensor([0, 0]))
    assert found.index.tolist() == [1]
    assert float(found.distance) < 20


def test_one_image_a_class_says_nothing_of_what_is_near() -> None:
    real = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    found = nearest(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), real, torch.tensor([0, 1]))
    assert found.usual is None


def test_an_interval_is_that_of_student() -> None:
    low, high = interval(60.0, 2.0, 5) or (0.0, 0.0)
    half = 2.7764451 * 2.0 / math.sqrt(5)  # the 97.5 % point of t with four degrees of freedom
    assert (low, high) == (pytest.approx(60 - half, abs=1e-5), pytest.approx(60 + half, abs=1e-5))
    assert interval(60.0, 0.0, 1) is None
    assert interval(99.0, 5.0, 2) == (pytest.approx(99 - 12.7062 * 5 / math.sqrt(2), abs=1e-3), 100.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (330, "5 min 30 s"), (7500, "2 h 5 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_keep_two_digits() -> None:
    assert [share(value) for value in (0.0, 0.534, 0.028, 0.00039)] == ["0 %", "53 %", "2.8 %", "0.039 %"]


Accuracies = tuple[float | None, float | None, float | None]
COST: dict[str, Any] = {"ipc": 10, "nbytes": 307_200, "whole_bytes": 153_600_000, "seconds": 330.0, "steps": 1000}


def test_the_verdict_says_how_much_of_the_way_for_how_much() -> None:
    said = verdict(**COST, random=31.1, condensed=57.9, whole=82.0)
    assert said == (
        "10 images a class, 300 KiB, 0.2 % of the data, condensed in 5 min 30 s: a network trained on nothing else "
        "reaches 57.9 %, where random images of the same number give 31.1 % and the whole data set gives 82.0 %. That "
        "is 53 % of the way from random selection to all the data."
    )


@pytest.mark.parametrize(
    ("known", "end"),
    [
        ((31.1, 57.9, None), "reaches 57.9 %, where random images of the same number give 31.1 %."),
        ((None, 57.9, 82.0), "reaches 57.9 %, where the whole data set gives 82.0 %."),
        ((None, 57.9, None), "reaches 57.9 %."),
        ((31.1, 25.0, 82.0), "That is worse than random images."),
        ((None, None, None), "How good it is has not been measured yet."),
    ],
)
def test_the_verdict_says_no_more_than_is_known(
    known: tuple[float | None, float | None, float | None], end: str
) -> None:
    random, condensed, whole = known
    assert verdict(**COST, random=random, condensed=condensed, whole=whole).endswith(end)
