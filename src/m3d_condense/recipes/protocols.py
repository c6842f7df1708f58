"""How networks are trained, and by which protocols sets are scored. Free of torch, so that help is quick."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import check_count
from m3d_condense.tools.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training from scratch with SGD.

    Attributes:
        batch: images per step, at most.
        even: whether the batches of a pass are of one size, give or take an image. Else all but the last are full, as
            in the field's loops: a last one of a few images then spoils the training at a high rate.
        lr, momentum, weight_decay: of SGD; for one-cycle, `lr` is the peak.
        schedule: "steps" multiplies the rate by `decay` at each of `milestones` (shares of the run);
            "one-cycle" warms up and anneals (Smith and Topin, 2018).
        augmentation: each image has its own draw.
        cutmix: probability that a batch is mixed.
    """

    batch: int
    even: bool = False
    lr: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "steps"
    milestones: tuple[float, ...] = ()
    decay: float = 1.0
    augmentation: Augmentation = Augmentation()
    cutmix: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a set is scored.

    Attributes:
        name: of the protocol.
        epochs: passes over the training images, on a condensed or selected set.
        whole_epochs: the same on a whole data set, which has many more steps an epoch.
        training: what an epoch is made of.
        resolve: what of this follows from the problem, and from the factor l of the set.
    """

    name: str
    epochs: int
    whole_epochs: int
    training: Training
    resolve: Callable[[Protocol, Problem, int], Protocol] = lambda protocol, problem, factor: protocol

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", check_count("epochs", self.epochs, least=1))

    def adapted(self, problem: Problem, *, epochs: int | None = None, whole: bool = False, factor: int = 1) -> Protocol:
        """Return the protocol as it is run.

        Args:
            problem: what networks are trained on. Mirroring is left out where it changes an image's class.
            epochs: in place of the protocol's.
            whole: whether they are trained on a whole data set.
            factor: l of the set.
        """
        resolved = self.resolve(self, problem, factor)
        chosen = epochs if epochs is not None else resolved.whole_epochs if whole else resolved.epochs
        kept = resolved.training.augmentation.where(mirrored=problem.mirrored)
        return dataclasses.replace(
            resolved, epochs=chosen, training=dataclasses.replace(resolved.training, augmentation=kept)
        )

    def at_most_whole(self, problem: Problem, epochs: int | None) -> int | None:
        """Return the epochs asked for, on a whole data set beside small ones: at most its own for that."""
        return None if epochs is None else min(epochs, self.resolve(self, problem, 1).whole_epochs)

    def steps(self, images: int) -> int:
        """Return how many steps the run takes on this many images."""
        return self.epochs * math.ceil(images / self.training.batch)


def _quick(protocol: Protocol, problem: Problem, factor: int) -> Protocol:
    """Give few images, of a set or a whole data set, as many more epochs as make enough steps of them."""
    enough = math.ceil(ENOUGH / math.ceil(problem.images * factor**2 / protocol.training.batch))
    epochs, whole = max(protocol.epochs, enough), max(protocol.whole_epochs, enough)
    return dataclasses.replace(protocol, epochs=epochs, whole_epochs=whole)


def _idc(protocol: Protocol, problem: Problem, factor: int) -> Protocol:
    """Resolve the protocol of IDC, whose values below 64 pixels are given.

    Subsets of ImageNet, that is, images from 64 pixels on, have the augmentation of photographs, CutMix at every step,
    and fewer epochs the more images there are. Sets of a hundred classes and more of them have another rate, weight
    decay and batch. Digits out of tiles are not mixed.
    """
    epochs, training = protocol.epochs, protocol.training
    if problem.high:
        epochs = _subset_epochs(problem.ipc * factor**2, problem.many_classes)
        training = dataclasses.replace(training, augmentation=PHOTOGRAPHS, cutmix=1.0)
        if problem.many_classes:
            training = dataclasses.replace(training, batch=128, lr=0.1, weight_decay=1e-4)
    if problem.digits and factor > 1:
        training = dataclasses.replace(training, cutmix=0.0)
    return dataclasses.replace(protocol, epochs=epochs, training=training)


def _subset_epochs(images_per_class: int, many_classes: bool) -> int:
    """Return IDC's epochs on subsets of ImageNet, by the decoded images of a class; at 100 classes two thirds."""
    steps = ((1, 3_000), (10, 2_000), (50, 1_500), (200, 1_000), (500, 500))
    epochs = next((epochs for most, epochs in steps if images_per_class <= most), 300)
    return epochs * 2 // 3 // 100 * 100 if many_classes else epochs


MOST_READINGS = 1_000  # of the test accuracy in one training
ENOUGH = 1_000
"""Steps that a network takes at least under `quick`: with fewer it is not trained, however few the images are."""
PHOTOGRAPHS = Augmentation.parse("resizedcrop_flip_jitter_lighting", "idc")
"""What networks are trained with on subsets of ImageNet (Kim et al., ICML 2022, in public code)."""

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="quick",
            epochs=150,
            whole_epochs=10,
            resolve=_quick,
            training=Training(
                batch=64,
                even=True,
                lr=0.05,
                schedule="one-cycle",
                augmentation=Augmentation.parse("color_crop_flip_scale_rotate", "idc"),
                cutmix=0.5,
            ),
        ),
        Protocol(  # Kim et al., ICML 2022, the protocol behind M3D's figures
            name="idc",
            epochs=1000,
            whole_epochs=100,
            resolve=_idc,
            training=Training(
                batch=64,
                lr=0.01,
                milestones=(2 / 3, 5 / 6),
                decay=0.2,
                augmentation=Augmentation.parse("color_crop_flip_scale_rotate", "idc"),
                cutmix=0.5,
            ),
        ),
        Protocol(  # Zhao and Bilen, WACV 2023
            name="dm",
            epochs=1000,
            whole_epochs=100,
            training=Training(
                batch=256,
                lr=0.01,
                milestones=(1 / 2,),
                decay=0.1,
                augmentation=Augmentation.parse("color_crop_cutout_flip_scale_rotate", "dsa"),
            ),
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a protocol by name; raises `UserError` for an unknown one."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}: one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def checked_epochs(name: str, epochs: int | None) -> int | None:
    """Return the epochs in place of a protocol's own, None for these, as Python's int.

    Raises:
        UserError: for an unknown protocol, or epochs that are none.
    """
    protocol(name)
    return None if epochs is None else check_count("epochs", epochs, least=1)
