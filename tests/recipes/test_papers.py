"""Every setting of every paper preset, by data set and images per class, typed once from where it was published.

A row of `PUBLISHED` is a method's settings on CIFAR-10 at 10 images per class, and what changes elsewhere. Rates are
those of pixels in [0, 1]: a public rate on pixels normalised by 0.25 is multiplied with 0.25². What is ours is said.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from m3d_condense.recipes.methods import METHODS, recipe
from m3d_condense.recipes.problem import Problem

# The data: side, channels, classes, training images of the largest class, whether mirrored images keep their class.
DATA: dict[str, tuple[int, int, int, int, bool]] = {
    "mnist": (28, 1, 10, 6_742, False),
    "fashion-mnist": (28, 1, 10, 6_000, True),
    "svhn": (32, 3, 10, 13_861, False),
    "cifar10": (32, 3, 10, 5_000, True),
    "cifar100": (32, 3, 100, 500, True),
    "imagenet-10": (224, 3, 10, 1_300, True),
    "imagenet-100": (224, 3, 100, 1_300, True),
}
DSA = "color_crop_cutout_flip_scale_rotate"

# What the settings are that a method makes no use of; the recipe's own.
UNUSED: dict[str, Any] = {
    "seed": 0,
    "initialisation": "random",
    "selection_features": "trained",
    "factor": 1,
    "bits": 8,
    "mosaic": "antialiased",
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
    "share_real": False,
    "encoder_warmup": 0,
    "network": "convnet",
    "batch_synthetic": 200,
    "augmentation_draw": "dsa",
    "lr_schedule": "constant",
    "class_steps": "joint",  # ours throughout; public M3D, IDC and IDM are sequential
}
SGD = {"optimizer": "sgd", "momentum": 0.5}

M3D = SGD | {  # the paper's Algorithm 1 and "Implementation details"; its public configurations for what they leave out
    "objective": "mmd",
    "factor": 2,
    "mosaic": "nearest",
    "iterations": 10_000,
    "iterations_per_model": 5,
    "batch_real": 128,
    "augmentation": "color_crop_cutout",
    "augmentation_draw": "idc",
    "lr": 10.0,
}
M3D_ELSEWHERE = {
    ("cifar10", 1): {"lr": 1.0},
    ("cifar10", 50): {"lr": 50.0},
    ("mnist", 1): {"lr": 1.0},
    ("fashion-mnist", 10): {},
    ("svhn", 50): {"lr": 50.0},
    ("cifar100", 10): {},
    ("imagenet-10", 10): {"lr": 1.0, "factor": 3, "iterations": 1_000, "network": "resnetap10"},
    ("imagenet-100", 20): {"lr": 2.0, "factor": 3, "iterations": 1_000, "network": "resnetap10"},
}
DM = SGD | {  # github.com/VICO-UoE/DatasetCondensation, main_DM.py: rate 1
    "objective": "mean",
    "iterations": 20_000,
    "batch_real": 256,
    "augmentation": DSA,
    "lr": 1 / 16,
}
DM_ELSEWHERE: dict[tuple[str, int], dict[str, Any]] = {(name, ipc): {} for name in DATA for ipc in (1, 50)}
CAFE = SGD | {  # github.com/kaiwang960112/CAFE, distill.py: rate 0.1, 2,000 networks, ten steps each at least
    "objective": "layers",
    "iterations": 20_000,
    "encoders": "dynamic",
    "encoder_batch": 256,
    "encoder_steps": 100,  # ours: the public passes have no end
    "batch_real": 256,
    "augmentation": "none",
    "lr": 0.1 / 16,
}
DC = SGD | {  # github.com/VICO-UoE/DatasetCondensation, main.py and get_loops: rate 0.1, 1,000 outer repetitions
    "initialisation": "noise",
    "objective": "gradient-cosine",
    "iterations": 10_000,
    "encoders": "synthetic",
    "iterations_per_model": 10,
    "encoder_steps": 50,  # passes over the synthetic images, of one batch here
    "encoder_batch": 256,
    "batch_real": 256,
    "augmentation": "none",
    "lr": 0.1 / 16,
}
DC_ELSEWHERE = {
    ("cifar10", 1): {"iterations": 1_000, "iterations_per_model": 1, "encoder_steps": 1},
    ("mnist", 1): {"iterations": 1_000, "iterations_per_model": 1, "encoder_steps": 1},
    ("cifar10", 50): {"iterations": 50_000, "iterations_per_model": 50, "encoder_steps": 10 * 2},
    ("svhn", 10): {},
    ("cifar100", 1): {"iterations": 1_000, "iterations_per_model": 1, "encoder_steps": 1},
    ("cifar100", 10): {"encoder_steps": 50 * 4},
}
IDM = SGD | {  # github.com/uitrbn/IDM, command.txt: rate 0.2; cross-entropy 0.5 times percent is 50 times a share
    "objective": "mean",
    "factor": 2,
    "mosaic": "bilinear",
    "iterations": 20_000,
    "encoders": "queue",
    "iterations_per_model": 30,
    "encoder_count": 100,
    "encoder_batch": 256,
    "encoder_steps": 10,
    "cross_entropy": 50.0,
    "batch_real": 256,
    "augmentation": DSA,
    "lr": 0.2 / 16,
}
IDM_ELSEWHERE = {
    ("cifar10", 1): {"iterations_per_model": 5, "batch_real": 5_000},
    ("cifar10", 50): {"cross_entropy": 10.0},
    ("cifar100", 1): {"iterations_per_model": 5, "batch_real": 500},  # 5,000 asked for, of 500 there are
    ("cifar100", 10): {"cross_entropy": 10.0, "encoder_steps": 50},
    ("cifar100", 50): {"cross_entropy": 10.0},
}
M3D_IN_IDM = {"objective": "mmd", "cross_entropy": 0.05}  # the weight is ours
IDC = SGD | {  # github.com/snu-mllab/Efficient-Dataset-Condensation, argument.py and misc/reproduce.py
    "objective": "gradient-mse",
    "factor": 2,
    "mosaic": "nearest",
    "iterations": 200_000,
    "encoders": "real",
    "iterations_per_model": 100,
    "encoder_steps": 32,
    "batch_real": 64,
    "batch_synthetic": 128,
    "augmentation": "color_crop_cutout",
    "augmentation_draw": "idc",
    "lr": 5e-3,
}
L1 = {"objective": "gradient-l1", "encoder_steps": 8}
MNIST = L1 | {"augmentation": "color_crop", "encoder_cutmix": 0.0}
IMAGENET = L1 | {"factor": 3, "iterations": 50_000, "network": "resnetap10", "encoder_cutmix": 1.0}
IMAGENET_10 = IMAGENET | {"encoder_warmup": 2_000}
IMAGENET_100 = IMAGENET | {  # 500 images by 128; five epochs beforehand
    "encoder_steps": 4,
    "encoder_warmup": 4_950,
    "encoder_batch": 128,
    "encoder_lr": 0.1,
    "encoder_weight_decay": 1e-4,
    "batch_real": 128,
}
IDC_ELSEWHERE = {
    ("cifar10", 1): {"lr": 5e-4},
    ("cifar10", 50): {"lr": 2.5e-2},
    ("cifar100", 10): {},
    ("svhn", 1): {"encoder_steps": 8, "lr": 5e-4},
    ("svhn", 10): {"encoder_steps": 8},
    ("svhn", 50): {"encoder_steps": 8, "lr": 2.5e-2},
    ("mnist", 1): MNIST | {"lr": 1e-5},
    ("mnist", 10): MNIST | {"lr": 1e-4},
    ("mnist", 50): MNIST | {"lr": 5e-4},
    ("fashion-mnist", 1): L1 | {"lr": 1e-5 * (28 / 32) ** 2},  # its base is 32
    ("fashion-mnist", 10): L1 | {"lr": 1e-4 * (28 / 32) ** 2},
    ("fashion-mnist", 50): L1 | {"lr": 5e-4 * (28 / 32) ** 2},
    ("imagenet-10", 10): IMAGENET_10 | {"lr": 3e-3},
    ("imagenet-10", 20): IMAGENET_10 | {"lr": 6e-3},
    ("imagenet-100", 10): IMAGENET_100 | {"lr": 1e-3},
    ("imagenet-100", 20): IMAGENET_100 | {"lr": 2e-3},
}
DATADAM = SGD | {  # the paper's 8,000 iterations, batch 128 and rate 1; public code multiplies the loss by 100
    "objective": "attention",
    "iterations": 8_000,
    "batch_real": 128,
    "augmentation": DSA,
    "lr": 100 / 16,
}
POOL = {  # ours, with as many networks as DANCE (IJCAI 2024), trained as long
    "encoders": "pool",
    "encoder_cutmix": 0.0,
    "iterations_per_model": 1,
    "encoder_count": 20,
    "encoder_steps": 24_000,
    "encoder_batch": 128,
    "encoder_lr": 0.1,
    "cross_entropy": 0.05,
}
CORESET = SGD | {"objective": "mmd", "iterations": 0, "batch_real": 1, "augmentation": "none", "lr": 1.0}

PUBLISHED: dict[str, tuple[dict[str, Any], dict[tuple[str, int], dict[str, Any]]]] = {
    "m3d": (M3D, M3D_ELSEWHERE),
    "m3d-linear": (M3D | {"kernel": "linear"}, M3D_ELSEWHERE),
    "m3d-polynomial": (M3D | {"kernel": "polynomial"}, M3D_ELSEWHERE),
    "m3d-no-factor": (M3D | {"factor": 1}, {}),
    "m3d-pool": (M3D | POOL, {("cifar10", 1): {"lr": 1.0}}),
    "m3d-plus": (M3D | POOL | {"teacher_lead": 1.0}, {}),
    "dm": (DM, DM_ELSEWHERE),
    "dm-2nd": (DM | {"objective": "moments2"}, DM_ELSEWHERE),
    "dm-3rd": (DM | {"objective": "moments3"}, DM_ELSEWHERE),
    "dm-m3d": (DM | {"objective": "mmd"}, DM_ELSEWHERE),
    "cafe": (CAFE, {("cifar10", 1): {}, ("mnist", 50): {}}),
    "cafe-dsa": (CAFE | {"augmentation": DSA}, {("svhn", 1): {}}),
    "datadam": (DATADAM, {("cifar10", 1): {}, ("cifar100", 50): {}, ("cifar10", 100): {"lr": 1_000 / 16}}),
    "idm": (IDM, IDM_ELSEWHERE),
    "idm-m3d": (IDM | M3D_IN_IDM, {cell: changes | M3D_IN_IDM for cell, changes in IDM_ELSEWHERE.items()}),
    "dc": (DC, DC_ELSEWHERE),
    "dsa": (DC | {"augmentation": DSA, "initialisation": "random"}, DC_ELSEWHERE),
    "idc": (IDC, IDC_ELSEWHERE),
    "random": (CORESET, {("imagenet-100", 20): {}}),
    "herding": (CORESET | {"initialisation": "herding"}, {}),
    "k-center": (CORESET | {"initialisation": "k-center"}, {}),
}
CELLS = [(method, *cell) for method, (_, elsewhere) in PUBLISHED.items() for cell in [("cifar10", 10), *elsewhere]]


@pytest.mark.parametrize(("method", "data", "ipc"), CELLS)
def test_every_setting_of_a_paper_preset_is_the_published_one(method: str, data: str, ipc: int) -> None:
    side, channels, num_classes, images, mirrored = DATA[data]
    made = recipe(
        method,
        "paper",
        Problem(
            ipc=ipc, side=side, channels=channels, num_classes=num_classes, images_per_class=images, mirrored=mirrored
        ),
        {},
    )
    settings, elsewhere = PUBLISHED[method]
    named = {"method": method, "preset": "paper", "ipc": ipc, "flip": mirrored}
    expected = UNUSED | settings | elsewhere.get((data, ipc), {}) | named
    assert dataclasses.asdict(made) == {
        name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for name, value in expected.items()
    }


def test_every_method_is_in_the_table() -> None:
    assert PUBLISHED.keys() == METHODS.keys()


def test_a_flip_that_is_given_says_what_kind_of_data_it_is() -> None:
    made = recipe("idc", "paper", Problem(ipc=10, side=28, channels=1), {"flip": False})
    assert (made.augmentation, made.encoder_cutmix, made.flip) == ("color_crop", 0.0, False)
