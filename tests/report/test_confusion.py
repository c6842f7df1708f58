from __future__ import annotations

import pytest
import torch

from m3d_condense.report.confusion import accuracy, class_accuracies, confusion, worst


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
