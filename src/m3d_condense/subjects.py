"""What networks are trained on, condensed sets and data sets, and what follows for their training and their test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes import protocols
from m3d_condense.recipes.given import several
from m3d_condense.recipes.protocols import Protocol
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.soft import HARD, SOFT, check_labels
from m3d_condense.sets.source import difference, source_of
from m3d_condense.tools.errors import UserError

Subject = CondensedSet | ImageDataset
"""What networks are trained on: a condensed set, or the training split of a data set."""


def subjects_of(given: Any) -> list[Subject]:
    """Return what networks are trained on, condensed sets read from their folders."""
    subjects = [CondensedSet.load(one) if isinstance(one, str | Path) else one for one in several(given)]
    wrong = [one for one in subjects if not isinstance(one, Subject)]
    if wrong or not subjects:
        found = f"a {type(wrong[0]).__name__}" if wrong else "nothing"
        raise UserError(
            f"networks are trained on a condensed set, its folder, or a data set from load(), not on {found}; "
            "load((images, labels)) makes a data set of arrays"
        )
    return subjects


def check_alike(subjects: Sequence[Subject], dataset: ImageDataset, flip: bool | None) -> None:
    """Raise `UserError` for a subject that cannot take turns with the first: all are trained and tested as that is."""

    def traits(one: Subject) -> dict[str, Any]:
        images, factor = (one.images, one.factor) if isinstance(one, CondensedSet) else (one.train.images, 1)
        return {
            "classes": one.class_names,
            "shape of the images": tuple(images.shape[1:]),
            "number of images": len(images),
            "factor": factor,
            "normalisation": (one.mean, one.std),
            "flip": mirrored(one, dataset) if flip is None else flip,
        }

    first = traits(subjects[0])
    for number, one in enumerate(subjects[1:], 2):
        own = traits(one)
        differs = next((name for name in first if own[name] != first[name]), None)
        if differs is None:
            continue
        said = f"{own[differs]} and not {first[differs]}"
        if differs == "classes":
            said = difference(own[differs], first[differs], f"number {number}", "the first")
        who = f"number {number} of those that are trained on ({called(one)})"
        raise UserError(f"{who} does not fit the first: its {differs}: {said}; score it by itself")


def mirrored(subject: Subject, dataset: ImageDataset) -> bool:
    """Return whether mirrored images keep their class: as a set's own settings say, or else its data set."""
    own = subject.settings.get("flip") if isinstance(subject, CondensedSet) else None
    return dataset.mirrored if own is None else bool(own)


def tested_on(subject: Subject, data: Any) -> ImageDataset:
    """Return the data set whose test split is used: a data set's own, or for a condensed set its source or `data`.

    Raises:
        UserError: as of `source_of`, and for a data set that is given other data.
    """
    if isinstance(subject, CondensedSet):
        return source_of(subject, data)
    if data is not None and data is not subject:
        raise UserError(f"a data set is tested on its own test split, so {subject.name} takes no other data")
    return subject


def labels_of(subjects: Sequence[Subject], asked: str | None) -> str:
    """Return what networks are trained on, "hard" or "soft" labels: as asked, else soft where all subjects have them.

    Raises:
        UserError: for another kind of labels, or soft ones that a subject has not.
    """
    having = [isinstance(one, CondensedSet) and one.soft_labels is not None for one in subjects]
    if asked is None:
        return SOFT if all(having) else HARD
    check_labels(asked)
    if asked == SOFT and not all(having):
        said = "what is trained on has no soft labels; m3d label adds them to a condensed set"
        raise UserError(said, setting="labels", value=asked)
    return asked


def told_of(subjects: Sequence[Subject], labels: str) -> dict[str, Any]:
    """Return what the settings of a training say of soft labels; nothing of hard ones, which are the usual.

    These are the fingerprint of the labels, or where several subjects have different ones, a list of them.
    """
    if labels == HARD:
        return {}
    soft = [one.soft_labels for one in subjects if isinstance(one, CondensedSet) and one.soft_labels is not None]
    found = list(dict.fromkeys(one.fingerprint for one in soft))
    return {"labels": labels, "soft_labels": found[0] if len(found) == 1 else found}


def training_set(subject: Subject, labels: str = HARD) -> tuple[Tensor, Tensor]:
    """Return images N×C×H×W, uint8 or floats in [0, 1], and their labels N, or probabilities N×K."""
    if isinstance(subject, CondensedSet):
        return subject.decode()[0], subject.decoded_labels(labels)
    return subject.train.images, subject.train.labels


def count_of(subject: Subject) -> int:
    """Return how many images `training_set` gives."""
    if isinstance(subject, CondensedSet):
        return len(subject.images) * subject.factor**2
    return len(subject.train.images)


def adapted(name: str, subject: Subject, epochs: int | None, flip: bool) -> Protocol:
    """Return the protocol of this name as it is run on a subject; raises `UserError` for an unknown one."""
    whole, factor = isinstance(subject, ImageDataset), subject.factor if isinstance(subject, CondensedSet) else 1
    problem = subject.problem(mirrored=flip)
    return protocols.protocol(name).adapted(problem, epochs=epochs, whole=whole, factor=factor)


def called(subject: Subject) -> str:
    """Say what networks are trained on, in a few words."""
    if isinstance(subject, CondensedSet):
        return f"{subject.source.get('name', 'unnamed')}, condensed by {subject.method}"
    return subject.name
