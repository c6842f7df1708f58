"""The plain loop of `benchmarks.reference` on real data, and the accuracy of its set after some minutes."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.reference import PlainLoop
from m3d_condense import CondensedSet, Execution, condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.studies.job import Scoring
from m3d_condense.studies.scores import score_of
from m3d_condense.studies.table import Row, Sample
from m3d_condense.tools.progress import notice

PLAIN = "plain loop"
BATCH_REAL = 128  # as published


def plain_rows(
    dataset: ImageDataset,
    ipc: int,
    budgets: Sequence[float],
    scoring: Scoring,
    execution: Execution,
    out: Path,
) -> Iterator[Row]:
    """Yield a row for each of several times of one run of the plain loop.

    Its rate of learning is constant, so that its set after some minutes is what a run of as many would end with. The
    sets and their scores are kept in `out`, a folder for each time; where one is missing, the run is made from its
    start.

    Args:
        dataset: square images of a power of two pixels.
        ipc: stored images per class.
        budgets: seconds of steps.
        scoring: by one network.
        execution: device of the loop; for the scores its precision and compilation too.
        out: folder for the sets.
    """
    folders = {seconds: out / f"{seconds:g}s" for seconds in sorted(set(budgets))}
    if not all(folder.exists() for folder in folders.values()):
        for seconds, made in zip(folders, _read_along(dataset, ipc, list(folders), execution.device), strict=True):
            made.save(folders[seconds])
    for folder in folders.values():
        made = CondensedSet.load(folder)
        score = score_of(made, dataset, scoring, *scoring.networks, folder=folder, execution=execution)
        sample = Sample(
            seed=made.seed,
            mean=score.mean,
            accuracies=score.accuracies,
            best=None,
            seconds=made.seconds,
            peak_bytes=None,
            peak_of="",
            size_bytes=made.nbytes,
            class_bytes=made.nbytes / made.num_classes,
            iterations=made.steps,
        )
        yield Row(
            data=dataset.name,
            method=PLAIN,
            preset="paper",
            ipc=ipc,
            network=score.network,
            mean=score.mean,
            std=score.std,
            n=score.n,
            seconds=made.seconds,
            peak_bytes=None,
            peak_of="",
            size_bytes=made.nbytes,
            iterations=made.steps,
            error="",
            seeds=[sample],
        )


def _read_along(dataset: ImageDataset, ipc: int, times: Sequence[float], device: str) -> Iterator[CondensedSet]:
    """Yield the set of one run after each of several rising times, in seconds of steps."""
    begun = condense(dataset, ipc=ipc, method="m3d", preset="paper", iterations=0)
    random.seed(0)
    torch.manual_seed(0)
    shown = dataset.train.images, dataset.train.labels
    loop = PlainLoop(*shown, ipc, begun.factor, BATCH_REAL, device, start=begun.images)
    taken = 0.0
    for seconds in times:
        while taken < seconds:
            start = time.perf_counter()
            loss = loop.step()  # the number of the loss waits for the device
            taken += time.perf_counter() - start
        notice(f"{PLAIN}: {loop.iteration} steps in {taken:.0f} s, loss {loss:.4f}")
        images = loop.synthetic.detach().mul(255).round().byte()
        yield dataclasses.replace(begun, images=images, method=PLAIN, seconds=taken, steps=loop.iteration)
