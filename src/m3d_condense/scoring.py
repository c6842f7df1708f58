"""Scoring: networks trained from scratch on a condensed set, a random selection or the whole, tested on real images.

The last state of each network is what counts; nothing is chosen by test accuracy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense import methods, networks, protocols
from m3d_condense.condensation import condense
from m3d_condense.condensed import CondensedSet, Score
from m3d_condense.data import ImageDataset, load
from m3d_condense.engine import Engine, Execution
from m3d_condense.environment import describe_environment
from m3d_condense.errors import UserError
from m3d_condense.progress import notice, progress
from m3d_condense.seeds import derive
from m3d_condense.training import Trainer

TrainingSet = tuple[Tensor, Tensor]
"""Images N×C×H×W, uint8 or floats in [0, 1], and labels N."""


def evaluate(
    subject: CondensedSet | ImageDataset | str | Path,
    data: Any = None,
    *,
    network: str = "convnet",
    protocol: str = "quick",
    repeats: int = 3,
    seed: int = 0,
    epochs: int | None = None,
    flip: bool | None = None,
    execution: Execution | None = None,
) -> Score:
    """Train networks from scratch on a set and test them on the real test split.

    Args:
        subject: a condensed set, or the folder of one; or a data set, whose whole training split is used.
        data: where the test split comes from: anything `load` takes; by default the source that a condensed
            set names.
        network: architecture to train.
        protocol: a key of `m3d_condense.protocols.PROTOCOLS`.
        repeats: n, how many networks.
        seed: of all n; the r-th network starts the same on any set.
        epochs: in place of the protocol's.
        flip: whether a mirrored image keeps its class; by default not for digits.
        execution: device, precision, compilation.

    Returns:
        Accuracies in percent, their mean and sample standard deviation, and the settings. A condensed set
        is not changed: `CondensedSet.add_score` stores it.

    Raises:
        UserError: for settings that cannot be used, or test data of other classes or another size.
    """
    if isinstance(subject, (str, Path)):
        subject = CondensedSet.load(subject)
    whole = isinstance(subject, ImageDataset)
    dataset = subject if isinstance(subject, ImageDataset) else source_of(subject, data)
    training = _training_set(subject)
    return _score(
        dataset,
        lambda repeat: training,
        _Question(network, protocol, repeats, seed, epochs, flip, whole=whole),
        Engine(execution),
    )


def evaluate_random(
    dataset: ImageDataset,
    ipc: int,
    *,
    network: str = "convnet",
    protocol: str = "quick",
    repeats: int = 3,
    seed: int = 0,
    epochs: int | None = None,
    flip: bool | None = None,
    execution: Execution | None = None,
) -> Score:
    """Score random selections of `ipc` real images per class: each of the n networks has a selection of its own.

    The arguments are those of `evaluate`.
    """

    def training(repeat: int) -> TrainingSet:
        return condense(dataset, ipc=ipc, method="random", seed=derive(seed, "selection", repeat)).decode()

    question = _Question(network, protocol, repeats, seed, epochs, flip, whole=False)
    return _score(dataset, training, question, Engine(execution))


def source_of(condensed: CondensedSet, data: Any = None) -> ImageDataset:
    """Load the data set a condensed set is tested on: its source, or `data` at the same size.

    Raises:
        UserError: where the source is unknown or has changed, or classes or image shapes differ.
    """
    keys = ("data", "size", "image_column", "label_column", "seed")
    source = {key: condensed.source[key] for key in keys if key in condensed.source}
    if data is None and source.get("data") is None:
        raise UserError("this set was condensed from arrays; say what to test on (--data, or data= in Python)")
    dataset = load(**source) if data is None else load(data)
    expected = condensed.source.get("fingerprint")
    if data is None and dataset.fingerprint != expected:
        notice(f"{source['data']}: has changed since the set was condensed from it; the score is of what it holds now")
    if dataset.class_names != condensed.class_names:
        raise UserError(
            f"{dataset.name}: its classes ({', '.join(dataset.class_names[:3])}, …) are not those of the "
            f"condensed set ({', '.join(condensed.class_names[:3])}, …)"
        )
    if dataset.train.images.shape[1:] != condensed.images.shape[1:]:
        raise UserError(
            f"{dataset.name}: images of {tuple(dataset.train.images.shape[1:])} do not fit a condensed set of "
            f"{tuple(condensed.images.shape[1:])}; --size makes them fit"
        )
    return dataset


@dataclasses.dataclass(frozen=True)
class _Question:
    network: str
    protocol: str
    repeats: int
    seed: int
    epochs: int | None
    flip: bool | None
    whole: bool

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"--repeats {self.repeats}: at least 1")


def _training_set(subject: CondensedSet | ImageDataset) -> TrainingSet:
    if isinstance(subject, CondensedSet):
        return subject.decode()
    return subject.train.images, subject.train.labels


def _score(dataset: ImageDataset, training: Callable[[int], TrainingSet], question: _Question, engine: Engine) -> Score:
    flip = dataset.name not in methods.UNMIRRORED if question.flip is None else question.flip
    protocol = protocols.protocol(question.protocol).adapted(epochs=question.epochs, whole=question.whole, flip=flip)
    channels, num_classes, size = dataset.channels, dataset.num_classes, dataset.size
    network = networks.build(question.network, channels=channels, num_classes=num_classes, size=size)
    count = len(training(0)[0])
    steps = protocol.steps(count)
    images = question.repeats * (steps * min(protocol.batch, count) + len(dataset.test) / 3)
    compiled = engine.pays(network, torch.zeros(1, channels, *size), images)
    notice(f"{engine.describe()}; {engine.reason}")
    trainer = Trainer(network, engine, compiled, protocol, dataset.mean, dataset.std)
    test_images, test_labels = dataset.test.images.to(engine.device), dataset.test.labels.to(engine.device)
    accuracies: list[float] = []
    with progress(f"Scoring {question.network}", question.repeats * steps, unit="steps") as bar:
        for repeat in range(question.repeats):
            chosen, labels = (part.to(engine.device) for part in training(repeat))
            trainer.fit(chosen, labels, derive(question.seed, "repeat", repeat), bar)
            accuracies.append(trainer.accuracy(test_images, test_labels))
            bar.note = f"{accuracies[-1]:.1f} %"
    versions, hardware = describe_environment()
    settings = dataclasses.asdict(protocol) | {
        "seed": question.seed,
        "flip": flip,
        "fingerprint": dataset.fingerprint,
        "versions": versions,
        "hardware": hardware | {"used": engine.describe()},
        "compiled": compiled,
    }
    return Score.of(question.network, question.protocol, accuracies, settings)
