"""How networks are trained when a set is scored, by name. Free of torch, so that help is quick."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from m3d_condense.recipes.recipe import check_count
from m3d_condense.tools.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Training from scratch with SGD on a small set.

    Attributes:
        name: of the protocol.
        epochs: passes over the training images, on a condensed or selected set.
        whole_epochs: the same on a whole data set, which has many more steps an epoch.
        batch: images per step.
        lr, momentum, weight_decay: of SGD; for one-cycle, `lr` is the peak.
        schedule: "steps" multiplies the rate by `decay` at each of `milestones` (shares of the run);
            "one-cycle" warms up and anneals (Smith and Topin, 2018).
        augmentation: operations, see `m3d_condense.training.augment`; each image has its own draw.
        augmentation_draw: "idc" or "dsa".
        cutmix: probability that a batch is mixed.
    """

    name: str
    epochs: int
    whole_epochs: int
    batch: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "steps"
    milestones: tuple[float, ...] = ()
    decay: float = 1.0
    augmentation: str
    augmentation_draw: str
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, least=1)

    def adapted(self, *, epochs: int | None, whole: bool, flip: bool) -> Protocol:
        """Return the protocol as run: so many epochs, and without mirroring where images do not stand it."""
        kept = [name for name in self.augmentation.split("_") if flip or name != "flip"]
        chosen = epochs if epochs is not None else self.whole_epochs if whole else self.epochs
        return dataclasses.replace(self, epochs=chosen, augmentation="_".join(kept))

    def steps(self, images: int) -> int:
        """How many steps the whole run takes on this many images."""
        return self.epochs * math.ceil(images / self.batch)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="quick",
            epochs=150,
            whole_epochs=10,
            batch=64,
            lr=0.05,
            schedule="one-cycle",
            augmentation="color_crop_flip_scale_rotate",
            augmentation_draw="idc",
            cutmix=0.5,
        ),
        Protocol(  # Kim et al., ICML 2022, the protocol behind M3D's figures
            name="idc",
            epochs=1000,
            whole_epochs=100,
            batch=64,
            lr=0.01,
            milestones=(2 / 3, 5 / 6),
            decay=0.2,
            augmentation="color_crop_flip_scale_rotate",
            augmentation_draw="idc",
            cutmix=0.5,
        ),
        Protocol(  # Zhao and Bilen, WACV 2023
            name="dm",
            epochs=1000,
            whole_epochs=100,
            batch=256,
            lr=0.01,
            milestones=(1 / 2,),
            decay=0.1,
            augmentation="color_crop_cutout_flip_scale_rotate",
            augmentation_draw="dsa",
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a protocol by name; raises `UserError` for an unknown one."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}: one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
