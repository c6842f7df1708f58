"""Coresets: which real images of a class to take, by their features. They also serve as an initialisation.

Shapes: N images of one class, D features, M chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.view import BLOCK, Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.group import current
from m3d_condense.recipes import protocols
from m3d_condense.recipes.names import SELECTIONS, find
from m3d_condense.recipes.protocols import Training
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.cache import Tensors, kept
from m3d_condense.tools.progress import notice, progress
from m3d_condense.tools.seeds import derive
from m3d_condense.tools.stopwatch import Stopwatch
from m3d_condense.tools.text import listed
from m3d_condense.training.augment import Normalisation
from m3d_condense.training.trainer import Trainer

SELECTOR_STEPS = 2_000  # at most, of the network whose features are compared: minutes on two cores


def herding(features: Tensor, count: int) -> Tensor:
    """Choose images whose running mean stays closest to the mean of all (Welling, ICML 2009).

    Greedy: the t-th choice is the image that brings the mean of the t chosen closest to that of all N.

    Args:
        features: N×D.
        count: M, at most N.

    Returns:
        Indices M, int64, in the order of choice; none twice.
    """
    features = features - features.mean(0)  # far from the origin the products cancel
    mean, squares = features.mean(0), features.square().sum(1)
    total = torch.zeros_like(mean)
    taken = torch.zeros(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for turn in range(1, count + 1):
        # ‖t·μ - Σ - f‖² without what is the same for every f.
        distance = squares - 2 * features @ (turn * mean - total)
        best = distance.masked_fill(taken, torch.inf).argmin()
        taken[best] = True
        total = total + features[best]
        chosen.append(best)
    return torch.stack(chosen)


def k_center(features: Tensor, count: int) -> Tensor:
    """Choose centres so that no image is far from one, greedily (Sener and Savarese, ICLR 2018).

    The first is the image nearest the mean of all; each next one is the farthest from those chosen. Only
    distances to one centre are held at a time.

    Args:
        features: N×D.
        count: M, at most N.

    Returns:
        Indices M, int64, in the order of choice; none twice.
    """
    best = (features - features.mean(0)).square().sum(1).argmin()
    nearest = torch.full((len(features),), torch.inf, device=features.device)
    chosen = []
    for _ in range(count):
        chosen.append(best)
        nearest = torch.minimum(nearest, (features - features[best]).square().sum(1))
        nearest[best] = -1.0  # never again, though others may coincide with it
        best = nearest.argmax()
    return torch.stack(chosen)


def select(
    dataset: ImageDataset, recipe: Recipe, count: int, classes: range, engine: Engine, watch: Stopwatch
) -> Tensor:
    """Choose `count` training images of each of these classes, as the recipe's initialisation says.

    A class of fewer images gives them all, again and again until the row is full. The network that is trained for it
    is kept on disk, for every selection from the same data with the same seed; `watch` is credited with what
    that spares.

    Returns:
        Indices len(classes)×M into the split.
    """
    encode, choose = _encode(dataset, recipe, engine, watch), find(SELECTIONS[recipe.initialisation].function)
    rows = []
    with progress(f"Selecting by {recipe.initialisation}", len(classes), unit="classes") as bar:
        for number in classes:
            members = torch.nonzero(dataset.train.labels == number).flatten()
            features = encode(dataset.train.images[part] for part in torch.split(members, BLOCK))
            chosen = choose(features, min(count, len(members))).cpu()
            repeats = math.ceil(count / len(chosen))
            rows.append(members[chosen].repeat(repeats)[:count])
            bar.advance()
    return torch.stack(rows) if rows else torch.empty(0, count, dtype=torch.int64)


def notice_repeats(dataset: ImageDataset, count: int) -> None:
    """Say so where classes have fewer than `count` images, so that some are taken more than once."""
    counts = torch.bincount(dataset.train.labels, minlength=dataset.num_classes).tolist()
    few = [f"{name} ({has})" for name, has in zip(dataset.class_names, counts, strict=True) if has < count]
    if few:
        notice(
            f"{len(few)} of {dataset.num_classes} classes have fewer than the {count} training images a class that are "
            f"asked for, and repeat them: {listed(few)}"
        )


def _encode(
    dataset: ImageDataset, recipe: Recipe, engine: Engine, watch: Stopwatch
) -> Callable[[Iterable[Tensor]], Tensor]:
    """Return what takes blocks of uint8 images to features N×D: a trained network, a random one, or none."""
    if recipe.selection_features == "pixels":
        return lambda blocks: torch.cat([block.to(engine.device).flatten(1).float() / 255 for block in blocks])
    encoder = selector(dataset, recipe, engine, watch, trained=recipe.selection_features == "trained")
    normalised = Normalisation(dataset.mean, dataset.std, engine.device)
    return lambda blocks: encoder.features_in_blocks(blocks, normalised)


def selector(
    dataset: ImageDataset, recipe: Recipe, engine: Engine, watch: Stopwatch, *, trained: bool = True
) -> Encoder:
    """Return a network that chooses real images, for evaluation: trained on the data, or a random one."""
    network = networks.build(recipe.network, **dataset.shape)
    training, steps = selector_training(dataset, recipe)
    trainer = Trainer(
        engine.place(network, dataset.example, steps * training.batch if trained else 0),
        training,
        dataset.mean,
        dataset.std,
    )
    seed = derive(recipe.seed, "selection")
    networks.initialise(network, seed)
    if trained:
        _train(trainer, dataset, recipe.network, steps, seed, watch)
    encoder = Encoder(trainer.placed.eager())
    encoder.network.eval()
    return encoder


def selector_training(dataset: ImageDataset, recipe: Recipe) -> tuple[Training, int]:
    """Return how the network that chooses real images is trained, and by how many steps."""
    protocol = protocols.protocol("quick").adapted(dataset.problem(mirrored=recipe.flip), whole=True)
    steps = min(protocol.steps(len(dataset.train)), SELECTOR_STEPS)
    return dataclasses.replace(protocol.training, cutmix=0.0), steps


def _train(trainer: Trainer, dataset: ImageDataset, network: str, steps: int, seed: int, watch: Stopwatch) -> None:
    """Train the network whose features are compared, or take it from the cache."""

    def train() -> Tensors:
        notice(trainer.placed.explain())
        images = trainer.placed.engine.resident(dataset.train.images)
        split = images, dataset.train.labels.to(images.device)
        with progress("Training the selector", steps, unit="steps") as bar:
            trainer.fit([split], [seed], steps, bar)
        return trainer.network.state_dict()

    made_from = {
        "fingerprint": dataset.fingerprint,
        "network": network,
        "seed": seed,
        "training": dataclasses.asdict(trainer.training),
        "steps": steps,
        "arithmetic": trainer.placed.arithmetic,
        **networks.code_of(trainer.network),
    }
    trainer.network.load_state_dict(current().by_first(lambda: kept("selectors", made_from, 0, train, watch)))
