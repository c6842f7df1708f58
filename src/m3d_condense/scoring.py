"""Scoring: networks trained from scratch on a condensed set, a random selection or all data, tested on real images.

The last state of each network is what counts; nothing is chosen by test accuracy. The best of several readings, which
public code reports, may stand beside it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.costs import FORWARD, activations
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import current
from m3d_condense.recipes.given import Architecture, checked
from m3d_condense.recipes.protocols import MOST_READINGS, Protocol
from m3d_condense.recipes.recipe import MOST_NETWORKS, check_count
from m3d_condense.sets.condensed import Score
from m3d_condense.sets.soft import HARD
from m3d_condense.subjects import (
    Subject,
    adapted,
    check_alike,
    count_of,
    labels_of,
    mirrored,
    subjects_of,
    tested_on,
    told_of,
    training_set,
)
from m3d_condense.tools.progress import Reporter, notice, progress
from m3d_condense.tools.seeds import derive
from m3d_condense.training.trainer import Trainer, TrainingSet


@checked
@torch.inference_mode(False)
@torch.enable_grad()
def evaluate(
    subject: Subject | str | Path | Sequence[Subject],
    data: Any = None,
    *,
    network: Architecture = "convnet",
    protocol: str = "quick",
    repeats: int = 3,
    seed: int = 0,
    epochs: int | None = None,
    readings: int = 1,
    flip: bool | None = None,
    labels: str | None = None,
    execution: Execution | None = None,
) -> Score:
    """Train networks from scratch on a set and test them on the real test split.

    Processes that work together (see `m3d_condense.machine.joining`) are dealt the networks, and all return the score.

    Args:
        subject: a condensed set, or the folder of one; or a data set, whose whole training split is used; or
            several of these, one for each network, such as n random selections: of the same classes, size, and number
            of images, as the networks are trained alike.
        data: where the test split comes from, for a condensed set: anything `load` takes, ``((x, y), (x, y))`` for
            arrays of training and of test; by default its own source.
        network: architecture to train: a name, or a class or function of a module, see `networks.build`.
        protocol: a key of `m3d_condense.recipes.protocols.PROTOCOLS`.
        repeats: n, how many networks; several subjects take turns.
        seed: of all n; the r-th network starts the same on any set.
        epochs: in place of the protocol's.
        readings: how often the test accuracy is read in each training, at even distances, the last time at its end,
            which is the accuracy. The best reading, which is chosen by test images, is told apart: `Score.best`.
        flip: whether a mirrored image keeps its class; by default as the set was condensed, or as the data set says.
        labels: what the networks are trained on, "hard" or "soft" labels; by default soft ones where every subject has
            them, and else hard ones. The score says which.
        execution: device, precision, compilation.

    Returns:
        Accuracies in percent, their mean and sample standard deviation, and the settings. A condensed set
        is not changed: `CondensedSet.add_score` stores it.

    Raises:
        UserError: for settings that cannot be used, or test data of other classes or another size.
    """
    repeats = check_count("repeats", repeats, least=1, most=MOST_NETWORKS)
    readings = check_count("readings", readings, least=1, most=MOST_READINGS)
    subjects = subjects_of(subject)
    first = subjects[0]
    dataset = tested_on(first, data)
    check_alike(subjects, dataset, flip)
    if flip is None:
        flip = mirrored(first, dataset)
    scored_by = adapted(protocol, first, epochs, flip)
    labels = labels_of(subjects, labels)
    asked = [network, training_settings(scored_by), repeats, seed, flip, readings, labels]
    engine = Engine(execution)

    def described() -> dict[str, Any]:
        what = {"data": dataset.fingerprint, "sets": [one.fingerprint for one in subjects], "settings": asked}
        return what | engine.execution.arithmetic()

    current().check_same(described)
    assert isinstance(network, str)  # `checked` has named it
    trainer = trainer_for(network, scored_by, dataset, first, repeats, engine)
    seeds = [repeat_seed(seed, r) for r in range(repeats)]
    read = accuracies_of(trainer, scored_by, subjects, dataset, seeds, f"Scoring {network}", labels, readings)
    settings = settings_of(scored_by, trainer, dataset, seed, flip) | told_of(subjects, labels)
    settings |= networks.code_of(trainer.network)
    if readings > 1:
        settings |= {"readings": len(read[0]), "best": [max(one) for one in read]}
    return Score.of(network, protocol, [one[-1] for one in read], settings)


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of one of the networks that are scored with a seed, counted from 0."""
    return derive(seed, "repeat", repeat)


def settings_of(protocol: Protocol, trainer: Trainer, dataset: ImageDataset, seed: int, flip: bool) -> dict[str, Any]:
    """Return all it takes to train and test again: the protocol's settings, seed, data fingerprint, versions."""
    versions, hardware = describe_environment()
    return training_settings(protocol) | {
        "seed": seed,
        "flip": flip,
        "data": dataset.name,
        "fingerprint": dataset.fingerprint,
        "versions": versions,
        "hardware": hardware | {"used": trainer.placed.describe()},
        "arithmetic": trainer.placed.arithmetic,
        "compiled": trainer.placed.compiled,
    }


def training_settings(protocol: Protocol) -> dict[str, Any]:
    """Return what a score says of its protocol: what it came to for the set."""
    training = protocol.training
    augmentation = {"augmentation": str(training.augmentation), "augmentation_draw": training.augmentation.draw}
    return dataclasses.asdict(training) | augmentation | {"epochs": protocol.epochs}


def trainer_for(
    name: str, protocol: Protocol, dataset: ImageDataset, first: Subject, repeats: int, engine: Engine
) -> Trainer:
    """Build the network once for all repeats, compiled where that pays back over them."""
    network = networks.build(name, **dataset.shape)
    count = count_of(first)
    images = repeats * (protocol.steps(count) * min(protocol.training.batch, count) + len(dataset.test) * FORWARD)
    together, example = 1, dataset.example
    if engine.stacks and not networks.mixes_images(network) and not networks.draws(network):
        kept = protocol.training.batch * torch.float32.itemsize * activations(network, example)
        together = min(math.ceil(repeats / current().size), max(engine.budget // kept, 1))
    placed = engine.place(network, example, images, stacked=together > 1)
    notice(placed.explain())
    return Trainer(placed, protocol.training, first.mean, first.std, together=together)


def accuracies_of(
    trainer: Trainer,
    protocol: Protocol,
    subjects: Sequence[Subject],
    dataset: ImageDataset,
    seeds: Sequence[int],
    title: str,
    labels: str = HARD,
    readings: int = 1,
) -> list[list[float]]:
    """Train a network for each seed, the subjects taking turns, and return the readings of each one's test accuracy.

    These are in percent, at even distances; the last, or only, one is of the network's last state. Progress is
    reported under `title`; the trainer is left with the last networks. Processes that work together are
    dealt the networks, and each is told all accuracies.
    """
    engine = trainer.placed.engine
    test = engine.resident(dataset.test.images), dataset.test.labels
    sets = [_resident(engine, *training_set(subject, labels)) for subject in subjects]
    steps, group = protocol.steps(len(sets[0][0])), current()
    starts, own = range(0, len(seeds), trainer.together), dict[int, list[list[float]]]()
    with progress(title, math.ceil(len(seeds) / group.size) * steps, unit="steps") as bar:
        for start in (starts[number] for number in group.deal(len(starts))):
            some = range(start, min(start + trainer.together, len(seeds)))
            given = [sets[r % len(sets)] for r in some], [seeds[r] for r in some], steps
            own[start] = _read(trainer, *given, bar, test, readings)
            bar.note = f"{own[start][-1][-1]:.1f} %"
    found = {start: accuracies for part in group.objects(own) for start, accuracies in part.items()}
    return [accuracy for start in starts for accuracy in found[start]]


def _read(
    trainer: Trainer,
    sets: Sequence[TrainingSet],
    seeds: Sequence[int],
    steps: int,
    bar: Reporter,
    test: TrainingSet,
    readings: int,
) -> list[list[float]]:
    """Train a network for each seed, together, and return the readings of each one's test accuracy, in percent."""
    read_at = {steps * number // readings for number in range(1, readings + 1)} - {0}
    read: list[list[float]] = []

    def test_at(step: int) -> None:
        if step in read_at:
            read.append(trainer.accuracies(*test))

    trainer.fit(sets, seeds, steps, bar, test_at)
    return [list(of_one) for of_one in zip(*read, strict=True)]


def _resident(engine: Engine, images: Tensor, labels: Tensor) -> TrainingSet:
    images = engine.resident(images)
    return images, labels.to(images.device)
