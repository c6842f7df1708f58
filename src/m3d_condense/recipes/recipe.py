"""Every setting of a condensation run, in one frozen record. Free of torch, so that help is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.recipes.names import ENCODERS, INITIALISATIONS, OBJECTIVES
from m3d_condense.tools.errors import UserError

KERNELS = ("gaussian", "polynomial", "linear")
SELECTION_FEATURES = ("trained", "random", "pixels")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine")
MOSAICS = ("antialiased", "bilinear", "nearest")
CLASS_STEPS = ("joint", "sequential")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does; a named method is a set of values for these.

    Args:
        method: name of the row in the table of methods that the values came from.
        preset: quick or paper.
        ipc: stored images per class.
        seed: of every random draw.
        initialisation: real images the synthetic ones start from, chosen at random, by herding or by
            k-center; or noise for none.
        selection_features: what herding and k-center compare: features of a network trained on the data, of a
            random one, or pixels.
        factor: l; each stored image holds l×l small ones (M3D, Eq. 10).
        mosaic: how real images are down-scaled into the l×l tiles that a run starts from: antialiased; bilinear without
            that; or nearest, which keeps every l-th pixel.
        iterations: steps of the loop; 0 stores the initialisation, which makes a coreset.
        objective: mmd (M3D, Eq. 9), mean (DM, Eq. 3), moments2 or moments3 (means, variances, third moments), layers
            (CAFE), attention (DataDAM), gradient-cosine (DC, DSA), gradient-mse or gradient-l1 (IDC).
        kernel: of the mmd objective: gaussian, polynomial or linear.
        cross_entropy: weight, a class, of the synthetic images' cross-entropy under the encoder's classifier, added to
            the objective; 0 for none.
        encoders: where the encoder comes from: fresh random networks; networks trained between the steps on the
            synthetic set (synthetic, dynamic as in CAFE) or on real images; a queue of networks in training; or a
            pool of networks trained beforehand, at a random point of their way.
        iterations_per_model: steps that one network, or point of the pool, serves; of a queue, between two new ones.
        encoder_steps: training steps of an encoder: between two steps of the pixels, of each network of a pool;
            passes at most for dynamic.
        encoder_batch: images in each of them.
        encoder_lr: their step size; the peak for a pool.
        encoder_weight_decay: theirs, for real, queue and pool; those trained on the synthetic set have none.
        encoder_cutmix: for real: the probability that CutMix mixes a batch they are trained on.
        encoder_count: networks in a queue or pool.
        encoder_warmup: training steps on real images before a new network's first use, for synthetic and real.
        network: architecture of the encoder: convnet or convnetD with its depth, resnet10, resnet18,
            resnetap10, densenet121, any with -widthN (a DenseNet -growthN) and with -batch or -group for its norm;
            module:callable; or timm:NAME.
        batch_real: real images per class and step.
        batch_synthetic: at most this many decoded synthetic images per class and step.
        augmentation: operations joined by _ out of color, crop, cutout, flip, scale, rotate; or none.
        augmentation_draw: idc (colour, flip and cutout always, one of the rest) or dsa (one of all).
        flip: whether a mirrored image is still of its class; off takes flip out of the augmentation.
        optimizer: of the pixels: sgd, or adam, whose step adapts to the gradient's scale.
        lr: step size of the pixels, which lie in [0, 1].
        lr_schedule: constant, or cosine, which falls to nothing over the iterations.
        class_steps: whether all classes take a step together (joint), or one after the other, so that the momentum of a
            class acts in the steps of the others (sequential).
        momentum: of sgd; the first beta of adam.
    """

    method: str
    preset: str
    ipc: int
    seed: int
    initialisation: str
    selection_features: str
    factor: int
    mosaic: str
    iterations: int
    objective: str
    kernel: str
    cross_entropy: float
    encoders: str
    iterations_per_model: int
    encoder_steps: int
    encoder_batch: int
    encoder_lr: float
    encoder_weight_decay: float
    encoder_cutmix: float
    encoder_count: int
    encoder_warmup: int
    network: str
    batch_real: int
    batch_synthetic: int
    augmentation: str
    augmentation_draw: str
    flip: bool
    optimizer: str
    lr: float
    lr_schedule: str
    class_steps: str
    momentum: float

    def __post_init__(self) -> None:
        choices = {
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
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"one of {', '.join(allowed)}", setting=name, value=getattr(self, name))
        counts = ("ipc", "factor", "iterations_per_model", "batch_real", "batch_synthetic")
        for name in (*counts, "encoder_batch", "encoder_count"):
            if getattr(self, name) < 1:
                raise UserError("at least 1", setting=name, value=getattr(self, name))
        for name in ("iterations", "encoder_steps", "encoder_warmup"):
            if getattr(self, name) < 0:
                raise UserError("at least 0", setting=name, value=getattr(self, name))
        for name in ("lr", "encoder_lr"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise UserError("a finite number above 0", setting=name, value=getattr(self, name))
        for name in ("cross_entropy", "encoder_weight_decay"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise UserError("a finite number, at least 0", setting=name, value=getattr(self, name))
        if not 0 <= self.encoder_cutmix <= 1:
            raise UserError("a number from 0 to 1", setting="encoder_cutmix", value=self.encoder_cutmix)
        Augmentation.parse(self.augmentation, self.augmentation_draw)
        if not 0 <= self.momentum < 1:
            raise UserError("at least 0 and below 1", setting="momentum", value=self.momentum)

    @property
    def siamese(self) -> Augmentation:
        """The augmentation that real and synthetic images share, of operations that leave an image in its class."""
        given = Augmentation.parse(self.augmentation, self.augmentation_draw)
        return given if self.flip else given.without("flip")

    def rate(self, step: int) -> float:
        """Return the pixels' step size at a step, counted from 0."""
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * (1 + math.cos(math.pi * step / self.iterations)) / 2
