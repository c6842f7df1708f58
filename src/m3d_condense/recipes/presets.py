"""The values of each method: what it is made of, in few steps for two cores (quick), and as published (paper).

Published values are those of a paper's public code where that is known, or of the paper. `tests/recipes/test_papers.py`
has them once more, as a table by data set and images per class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from m3d_condense.recipes.problem import Problem

DSA = "color_crop_cutout_flip_scale_rotate"
# Several papers move pixels normalised by about 0.25; a step of 1 on those is one of 0.25² on pixels in [0, 1].
NORMALISED = 0.25**2

FEW = 16  # decoded images a class, below which real ones are most of a step's work
LEAST_TILE = 8  # pixels

Values = dict[str, Any]
Preset = Callable[[Problem], Values]

# What every method shares unless it says otherwise; the quick values are ours, sized for two cores.
COMMON: Values = {
    "seed": 0,
    "initialisation": "random",
    "selection_features": "trained",
    "factor": 1,
    "bits": 8,
    "mosaic": "antialiased",
    "objective": "mmd",
    "kernel": "gaussian",
    "cross_entropy": 0.0,
    "encoders": "fresh",
    "iterations_per_model": 1,
    "encoder_steps": 0,
    "encoder_batch": 64,
    "encoder_lr": 0.01,
    "encoder_weight_decay": 5e-4,
    "encoder_cutmix": 0.5,
    "encoder_augmentation": "color_crop_scale_rotate_flip",
    "encoder_count": 1,
    "encoder_points": 2,
    "teacher_lead": 0.0,
    "encoder_warmup": 0,
    "network": "convnet",
    "share_real": False,
    "batch_synthetic": 200,
    "augmentation_draw": "dsa",
    "lr_schedule": "constant",
    "class_steps": "joint",
    "momentum": 0.5,
}


def quick(problem: Problem) -> Values:
    """Return what the quick presets share."""
    iterations = 200 if problem.high else 600
    return {"iterations": iterations, "batch_real": 64, "optimizer": "adam", "lr": 0.01, "lr_schedule": "cosine"}


def quick_of(values: Preset) -> Preset:
    """Return the quick preset of a method that adds nothing of its own."""
    return lambda problem: quick(problem) | values(problem)


def m3d(problem: Problem) -> Values:
    """Return what M3D is made of."""
    return {
        "factor": problem.factor,
        "iterations_per_model": 5,
        "augmentation": "color_crop_cutout",
        "augmentation_draw": "idc",
    }


def m3d_paper(problem: Problem) -> Values:
    """Return M3D as published."""
    return m3d(problem) | {
        "mosaic": "nearest",
        "iterations": 1_000 if problem.high else 10_000,
        "network": "resnetap10" if problem.high else "convnet",
        "batch_real": 128,
        "optimizer": "sgd",
        # The paper's nominal 1 and 0.1, scaled with ipc as its public configurations are: the
        # gradient of an image falls as 1/ipc.
        "lr": (0.1 if problem.high else 1.0) * problem.ipc,
    }


def pool(problem: Problem) -> Values:
    """Return a pool of trained encoders, and the cross-entropy that it makes useful.

    Its weight falls as one over the decoded images of a class, from forty on: the more there are, the better they match
    the real ones, and the smaller is the gradient of the match, which the cross-entropy is not to outweigh.
    """
    return {
        "encoders": "pool",
        "iterations_per_model": 1,
        "encoder_count": 5,
        "encoder_steps": 800,
        "encoder_batch": 128,
        "encoder_lr": 0.1,
        "encoder_cutmix": 0.0,
        "cross_entropy": min(0.05, 2 / problem.decoded),
    }


def pool_quick(problem: Problem) -> Values:
    """Return M3D on a small pool."""
    return quick(problem) | m3d(problem) | pool(problem)


def plus_quick(problem: Problem) -> Values:
    """Return M3D on a pool of few networks, trained long, with the cross-entropy under their trained ends.

    A class shows as many synthetic images a step as real ones, at most: of many, more steps of some are worth more. Of
    few, a step is nearly all real images, which ten steps then share: five times the steps. And of few stored images,
    more and smaller ones are worth more.
    """
    values = pool_quick(problem) | {"encoder_count": 4, "encoder_steps": 2_400, "teacher_lead": 1.0}
    values |= {"factor": _finer(problem)}
    values |= {"batch_synthetic": values["batch_real"]}
    if problem.decoded >= FEW:
        return values
    return values | {"iterations": 5 * values["iterations"], "iterations_per_model": 10, "share_real": True}


def _finer(problem: Problem) -> int:
    """Return an l that gives a class at least `FEW` decoded images, in tiles of no less than `LEAST_TILE` pixels.

    That is for small photographs, as of CIFAR: on digits, of strokes, larger tiles are ahead.
    """
    if not problem.small_photographs:
        return problem.factor
    enough = math.ceil(math.sqrt(FEW / problem.ipc))
    return max(problem.factor, min(enough, problem.side // LEAST_TILE))


def plus_paper(problem: Problem) -> Values:
    """Return the same on the large pool; no paper has this row."""
    return pool_paper(problem) | {"teacher_lead": 1.0}


def pool_paper(problem: Problem) -> Values:
    """Return M3D on a pool as large as DANCE's, 20 networks of 60 epochs on 50,000 images; no paper has this row."""
    return m3d_paper(problem) | pool(problem) | {"encoder_count": 20, "encoder_steps": 24_000}


def dm(problem: Problem) -> Values:
    """Return what DM is made of."""
    return {"objective": "mean", "augmentation": DSA}


def dm_paper(problem: Problem) -> Values:
    """Return DM as published."""
    return dm(problem) | {"iterations": 20_000, "batch_real": 256, "optimizer": "sgd", "lr": NORMALISED}


def cafe(problem: Problem) -> Values:
    """Return what CAFE is made of."""
    return {"objective": "layers", "encoders": "dynamic", "encoder_batch": 256, "augmentation": "none"}


def cafe_quick(problem: Problem) -> Values:
    """Return CAFE in few steps, as each trains and queries the network ten times or more."""
    return quick(problem) | cafe(problem) | {"iterations": 60 if problem.high else 200, "encoder_steps": 12}


def cafe_paper(problem: Problem) -> Values:
    """Return CAFE as published."""
    pixels = {"iterations": 20_000, "batch_real": 256, "optimizer": "sgd", "lr": 0.1 * NORMALISED}
    return cafe(problem) | pixels | {"encoder_steps": 100}


def datadam(problem: Problem) -> Values:
    """Return what DataDAM is made of."""
    return {"objective": "attention", "augmentation": DSA}


def datadam_paper(problem: Problem) -> Values:
    """Return DataDAM as published; its public code multiplies the loss by 100, here the rate is."""
    rate = 100 * NORMALISED * (10 if problem.ipc >= 100 else 1)
    return datadam(problem) | {"iterations": 8_000, "batch_real": 128, "optimizer": "sgd", "lr": rate}


def idm(problem: Problem) -> Values:
    """Return what IDM is made of."""
    # The public weights, 0.5 and 0.1, are multiplied with accuracies in percent, ours with shares.
    light = problem.ipc >= 50 or (problem.many_classes and problem.ipc >= 10)
    return {
        "objective": "mean",
        "factor": problem.factor,
        "encoders": "queue",
        "iterations_per_model": 30 if problem.ipc > 1 else 5,
        "cross_entropy": 10.0 if light else 50.0,
        "augmentation": DSA,
    }


def idm_quick(problem: Problem) -> Values:
    """Return IDM in few steps."""
    return quick(problem) | idm(problem) | {"encoder_count": 10, "encoder_steps": 5}


def idm_paper(problem: Problem) -> Values:
    """Return IDM as published."""
    long = problem.many_classes and problem.ipc == 10
    network = {"encoder_count": 100, "encoder_steps": 50 if long else 10, "encoder_batch": 256}
    # At one image a class as many as 5,000, which for CIFAR is all there are.
    batch = min(5_000, problem.images_per_class) if problem.ipc == 1 else 256
    pixels = {"iterations": 20_000, "batch_real": batch, "optimizer": "sgd", "lr": 0.2 * NORMALISED}
    return idm(problem) | network | pixels | {"mosaic": "bilinear"}


def dc(problem: Problem) -> Values:
    """Return what DC is made of."""
    loops = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
    outer, inner = loops[min(loops, key=lambda known: abs(known - problem.ipc))]
    batch = 256
    return {
        "objective": "gradient-cosine",
        "encoders": "synthetic",
        "iterations_per_model": outer,
        "encoder_steps": inner * math.ceil(problem.num_classes * problem.ipc / batch),  # passes over the synthetic set
        "encoder_batch": batch,
        "augmentation": "none",
    }


def dc_quick(problem: Problem) -> Values:
    """Return DC in few steps."""
    values = dc(problem)
    return quick(problem) | values | {"encoder_steps": min(values["encoder_steps"], 10)}


def dc_paper(problem: Problem) -> Values:
    """Return DC as published."""
    values = dc(problem)
    pixels = {"batch_real": 256, "optimizer": "sgd", "lr": 0.1 * NORMALISED, "initialisation": "noise"}
    return values | pixels | {"iterations": 1_000 * values["iterations_per_model"]}


def idc(problem: Problem) -> Values:
    """Return what IDC is made of."""
    plain = problem.digits and problem.factor > 1  # on MNIST in tiles, neither cutout nor CutMix
    return {
        "objective": "gradient-mse" if problem.side == 32 else "gradient-l1",  # CIFAR and SVHN; others
        "factor": problem.factor,
        "encoders": "real",
        "iterations_per_model": 100,
        "encoder_cutmix": 1.0 if problem.high else 0.0 if plain else 0.5,
        "batch_synthetic": 128,
        "augmentation": "color_crop" if plain else "color_crop_cutout",
        "augmentation_draw": "idc",
    }


def idc_quick(problem: Problem) -> Values:
    """Return IDC in few steps."""
    return quick(problem) | idc(problem) | {"encoder_steps": 10}


def idc_paper(problem: Problem) -> Values:
    """Return IDC as published."""
    values = idc(problem)
    # 2,000 images between two steps on CIFAR, 500 elsewhere, by 64.
    encoder: Values = {"encoder_steps": 32 if problem.small_photographs else 8}
    pixels: Values = {"mosaic": "nearest", "iterations": 200_000, "batch_real": 64, "optimizer": "sgd"}
    if problem.high:  # trained by 10 passes over the 12,800 images of ten classes before their first use
        encoder = {"encoder_steps": 8, "encoder_warmup": 2_000}
        pixels |= {"iterations": 50_000, "network": "resnetap10"}
    if problem.high and problem.many_classes:  # by 5 passes over 126,700 images
        encoder = {"encoder_steps": 4, "encoder_warmup": 4_950, "encoder_batch": 128}
        encoder |= {"encoder_lr": 0.1, "encoder_weight_decay": 1e-4}
        pixels |= {"batch_real": 128}
    return values | pixels | encoder | {"lr": _idc_rate(problem, values["objective"])}


def _idc_rate(problem: Problem, objective: str) -> float:
    """Return IDC's rate, which grows with the images per class and with the pixels of an image."""
    if problem.high:
        rate, base = 1e-3 if problem.many_classes else 3e-3, 224
    elif objective == "gradient-mse":
        rate, base = 5e-3, 32
    else:
        rate, base = 1e-4, 28 if problem.digits else 32  # for Fashion-MNIST too the base is 32
    return rate * (problem.ipc / 10) * (problem.side / base) ** 2
