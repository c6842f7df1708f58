"""How networks are trained, and by which protocols sets are scored. Free of torch, so that help is quick."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.recipe import check_count
from m3d_condense.tools.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training from scratch with SGD.

    Attributes:
        batch: images per step.
        lr, momentum, weight_decay: of SGD; for one-cycle, `lr` is the peak.
        schedule: "steps" multiplies the rate by `decay` at each of `milestones` (shares of the run);
            "one-cycle" warms up and anneals (Smith and Topin, 2018).
        augmentation: each image has its own draw.
        cutmix: probability that a batch is mixed.
    """

    batch: int
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
        mixes_tiled_digits: whether CutMix serves grey images that are not to be mirrored, out of tiles, as any others.
    """

    name: str
    epochs: int
    whole_epochs: int
    training: Training
    mixes_tiled_digits: bool = True

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, least=1)

    def adapted(self, *, epochs: int | None, whole: bool, flip: bool, channels: int = 3, factor: int = 1) -> Protocol:
        """Return the protocol as it is run.

        Args:
            epochs: in place of the protocol's.
            whole: whether it trains on a whole data set.
            flip: whether a mirrored image keeps its class; mirroring is left out where it does not.
            channels: of the images.
            factor: l of the set.
        """
        chosen = epochs if epochs is not None else self.whole_epochs if whole else self.epochs
        augmentation = self.training.augmentation if flip else self.training.augmentation.without("flip")
        mixed = self.mixes_tiled_digits or flip or channels > 1 or factor == 1
        cutmix = self.training.cutmix if mixed else 0.0
        training = dataclasses.replace(self.training, augmentation=augmentation, cutmix=cutmix)
        return dataclasses.replace(self, epochs=chosen, training=training)

    def steps(self, images: int) -> int:
        """Return how many steps the run takes on this many images."""
        return self.epochs * math.ceil(images / self.training.batch)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="quick",
            epochs=150,
            whole_epochs=10,
            training=Training(
                batch=64,
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
            mixes_tiled_digits=False,
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
