"""Every setting of a condensation run, in one frozen record. Free of torch, so that help is quick."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, get_args, get_type_hints

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.names import EASY, ENCODERS, INITIALISATIONS, OBJECTIVES, SELECTIONS
from m3d_condense.tools.errors import UserError

KERNELS = ("gaussian", "polynomial", "linear")
SELECTION_FEATURES = ("trained", "random", "pixels")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine")
MOSAICS = ("antialiased", "bilinear", "nearest")
CLASS_STEPS = ("joint", "sequential")
BITS = (8, 4, 2, 1)  # of a channel of a stored pixel: those that fill a byte
FULL = BITS[0]
MOST = 2**31 - 1  # of a count
SEED_LEAST, SEED_MOST = -(2**63), 2**63 - 1
MOST_TRAINING = 10**7  # steps that a network is trained at once: days
MOST_NETWORKS = 10**5  # that are trained, or sets that are made, one like the other
LARGEST = 1e6  # of a learning rate or a weight: more than any run uses, and far from what float32 overflows at

CHOICES: Mapping[str, Collection[str]] = {
    "initialisation": INITIALISATIONS,
    "selection_features": SELECTION_FEATURES,
    "mosaic": MOSAICS,
    "objective": OBJECTIVES,
    "kernel": KERNELS,
    "encoders": ENCODERS,
    "optimizer": OPTIMIZERS,
    "lr_schedule": SCHEDULES,
    "class_steps": CLASS_STEPS,
}
"""What a setting may be, where that is one of a few names."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does; a named method is a set of values for these.

    What a setting means stands beside its type, where Python keeps it under every version and option: the command
    line's help is made of it, see `meanings`. A setting with a default is younger than sets that are stored, which
    were made by that value.
    """

    method: Annotated[str, "name of the method; with the preset it decides every setting that is not given"]
    preset: Annotated[str, "quick, sized for minutes on two CPU cores, or paper, the values of the method's paper"]
    ipc: Annotated[int, "stored images per class"]
    seed: Annotated[int, "seed of every random draw"]
    initialisation: Annotated[
        str,
        "real images that the synthetic ones start from: chosen at random; easy, those of five times as many that "
        "trained networks, a pool's where there is one, name with the least cross-entropy; by herding or by k-center; "
        "noise starts from random pixels",
    ]
    selection_features: Annotated[
        str,
        "what herding and k-center compare: features of a network trained on the data (trained), features of an "
        "untrained one (random), or pixels",
    ]
    factor: Annotated[int, "l; each stored image holds l×l smaller images (M3D, Eq. 10)"]
    bits: Annotated[
        int,
        "bits that a channel of a stored pixel takes: 8, or 4, 2 or 1, which the steps round to, so that two, four or "
        "eight times the images take the same bytes",
    ] = FULL
    mosaic: Annotated[
        str,
        "how real images are down-scaled into the l×l tiles that a run starts from: antialiased; bilinear, without "
        "that; or nearest, which keeps every l-th pixel",
    ]
    iterations: Annotated[int, "steps of the optimisation; 0 stores the initial images, which makes a coreset"]
    objective: Annotated[
        str,
        "what real and synthetic images are compared by: mmd (M3D, Eq. 9), mean (DM, Eq. 3), moments2 (means and "
        "variances), moments3 (third moments as well), layers (CAFE), attention (DataDAM), gradient-cosine (DC, "
        "DSA), gradient-mse or gradient-l1 (IDC)",
    ]
    kernel: Annotated[str, "kernel of the mmd objective: gaussian, polynomial or linear"]
    cross_entropy: Annotated[
        float,
        "weight of the synthetic images' cross-entropy under the encoder's classifier, which is added to the "
        "objective of each class; 0 leaves it out",
    ]
    encoders: Annotated[
        str,
        "where the encoder comes from: fresh (random networks); synthetic, or dynamic as in CAFE (networks trained "
        "on the synthetic images between the steps); real (networks trained on real images between the steps); "
        "queue (one of several networks in training); pool (networks trained beforehand, each at a random point of "
        "its training)",
    ]
    iterations_per_model: Annotated[
        int,
        "steps that one network serves; for pool, steps that one point of its training serves; for queue, steps "
        "between two new networks",
    ]
    encoder_steps: Annotated[
        int,
        "training steps of an encoder between two steps; for pool, training steps of each network; for dynamic, "
        "passes between two steps at most",
    ]
    encoder_batch: Annotated[int, "images per training step of an encoder"]
    encoder_lr: Annotated[float, "learning rate of the encoders; for pool, the peak of its schedule"]
    encoder_weight_decay: Annotated[
        float, "weight decay of the encoders, for real, queue and pool; those trained on the synthetic images have none"
    ]
    encoder_cutmix: Annotated[float, "for real and pool: probability that CutMix mixes a training batch of the encoder"]
    encoder_augmentation: Annotated[
        str, "for pool: augmentation of the networks' training, of the same operations, drawn as in idc"
    ] = "color_crop_scale_rotate_flip"
    encoder_count: Annotated[int, "networks in a queue or pool"]
    encoder_points: Annotated[
        int,
        "for pool: states kept of each network, at even steps of its training; an encoder lies between two neighbours, "
        "so that 2 is the straight line from its start to its end",
    ]
    teacher_lead: Annotated[
        float,
        "for pool: how far ahead of the encoder the network is whose classifier the cross-entropy is of, as a share of "
        "the whole training; 0 is the encoder itself, 1 the trained end",
    ]
    encoder_warmup: Annotated[
        int,
        "for synthetic and real: training steps on real images before a new network is first used",
    ]
    network: Annotated[
        str,
        "architecture of the encoder: convnet (its depth follows from the images' size), convnetD with depth D, "
        "resnet10, resnet18, resnetap10 or densenet121, with -widthN (a DenseNet with -growthN) for another width and "
        "-batch or -group for another norm; "
        "module:callable; or timm:NAME",
    ]
    batch_real: Annotated[int, "real images per class and step"]
    share_real: Annotated[
        bool,
        "for fresh and pool: whether the steps of one encoder compare with the same real images, augmented "
        "alike, whose features are computed once",
    ] = False
    batch_synthetic: Annotated[int, "decoded synthetic images per class and step, at most"]
    augmentation: Annotated[
        str,
        "operations joined by _, of color, crop, cutout, flip, scale and rotate, and of resizedcrop, jitter and "
        "lighting, which are for photographs; or none",
    ]
    augmentation_draw: Annotated[
        str,
        "how operations are drawn: idc (one of crop, scale and rotate, and all the others) or dsa (one of all)",
    ]
    flip: Annotated[bool, "whether a mirrored image keeps its class; false removes flip from the augmentation"]
    optimizer: Annotated[str, "optimiser of the pixels: sgd, or adam, whose step adapts to the scale of the gradient"]
    lr: Annotated[float, "learning rate of the pixels, which lie in [0, 1]"]
    lr_schedule: Annotated[str, "schedule of that rate: constant, or cosine, which falls to 0 over the iterations"]
    class_steps: Annotated[
        str,
        "whether all classes take a step together (joint), or one after the other (sequential), so that the momentum "
        "of a class acts in the steps of the others",
    ]
    momentum: Annotated[float, "momentum of sgd; for adam, its first beta"]

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"one of {', '.join(allowed)}", setting=name, value=getattr(self, name))
        counts = ("ipc", "factor", "iterations_per_model", "batch_real", "batch_synthetic")
        for name in (*counts, "encoder_batch", "encoder_count"):
            check_count(name, getattr(self, name), least=1)
        check_count("encoder_points", self.encoder_points, least=2)
        check_bits(self.bits)
        check_count("iterations", self.iterations, least=0)
        for name in ("encoder_steps", "encoder_warmup"):
            check_count(name, getattr(self, name), least=0, most=MOST_TRAINING)
        for name in ("lr", "encoder_lr"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise UserError(f"a number above 0, at most {LARGEST:.0f}", setting=name, value=getattr(self, name))
        for name in ("cross_entropy", "encoder_weight_decay"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise UserError(f"a number from 0 to {LARGEST:.0f}", setting=name, value=getattr(self, name))
        for name in ("encoder_cutmix", "teacher_lead"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError("a number from 0 to 1", setting=name, value=getattr(self, name))
        if self.share_real and self.encoders not in ("fresh", "pool"):
            said = f"{self.encoders} encoders are trained between the steps, and see real images anew"
            raise UserError(said, setting="share_real", value=True)
        Augmentation.parse(self.augmentation, self.augmentation_draw)
        Augmentation.parse(self.encoder_augmentation, setting="encoder_augmentation")
        if not 0 <= self.momentum < 1:
            raise UserError("at least 0 and below 1", setting="momentum", value=self.momentum)

    @property
    def siamese(self) -> Augmentation:
        """The augmentation that real and synthetic images share, of operations that leave an image in its class."""
        return Augmentation.parse(self.augmentation, self.augmentation_draw).where(mirrored=self.flip)

    @property
    def decoded(self) -> int:
        """Images that a class decodes to: l² from each that is stored."""
        return self.ipc * self.factor**2

    @property
    def has_pool(self) -> bool:
        """Whether its encoders are a pool of networks, which are trained whole on real images."""
        return self.encoders == "pool" and self.iterations > 0

    @property
    def has_selector(self) -> bool:
        """Whether a network is trained on the data for nothing but to choose the initial images."""
        if self.initialisation == EASY:
            return not self.has_pool
        return self.initialisation in SELECTIONS and self.selection_features == "trained"

    @property
    def taught(self) -> bool:
        """Whether the cross-entropy is under another network than the encoder."""
        return self.encoders == "pool" and self.teacher_lead > 0 and self.cross_entropy > 0

    @property
    def real_steps(self) -> int:
        """Steps that compare with the same real images."""
        return self.iterations_per_model if self.share_real else 1

    def rate(self, step: int) -> float:
        """Return the pixels' step size at a step, counted from 0."""
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * (1 + math.cos(math.pi * step / self.iterations)) / 2


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's settings as they were stored, and for those that are younger, their defaults."""
    return {one.name: one.default for one in fields(Recipe) if one.default is not MISSING} | dict(stored)


def meanings() -> dict[str, tuple[type[Any], str]]:
    """Return, for each setting of a recipe, its type and what it means, as one line."""
    found = {}
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        kind, text = get_args(hint)
        untold = [choice for choice in CHOICES.get(name, ()) if choice not in text]
        found[name] = kind, "; or ".join((text, *untold))
    return found


def check_bits(bits: object) -> None:
    """Raise `UserError` where pixels cannot be stored in so many bits a channel."""
    if isinstance(bits, bool) or not isinstance(bits, int) or bits not in BITS:
        raise UserError(f"one of {', '.join(map(str, BITS))}", setting="bits", value=bits)


def check_count(name: str, value: int, *, least: int, most: int = MOST) -> int:
    """Return a setting as Python's int; raise `UserError` unless it is whole, from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise UserError("a whole number", setting=name, value=value)
    if value < least:
        raise UserError(f"at least {least}", setting=name, value=value)
    if value > most:
        raise UserError(f"at most {most}", setting=name, value=value)
    return int(value)
