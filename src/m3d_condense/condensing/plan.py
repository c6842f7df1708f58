"""How a run's network runs, and how many classes go through it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.condensing import encoders
from m3d_condense.condensing.growth import Earlier
from m3d_condense.condensing.objectives.objective import Objective
from m3d_condense.condensing.shards import Shard
from m3d_condense.condensing.view import seen_numbers
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.costs import activations, widest_activation
from m3d_condense.machine.engine import Engine, Placed
from m3d_condense.machine.group import current
from m3d_condense.machine.memory import check_room
from m3d_condense.networks.trying import fewest_images
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How a run goes.

    Attributes:
        placed: the network.
        chunks: the classes of each chunk: this process's. Where classes step one after the other, they are one each,
            and all there are: the momentum of a class moves the others' pixels too.
        compared: of all K classes, which are compared: not those whose images all stay as they are, unless the
            objective needs all at once.
    """

    placed: Placed
    chunks: tuple[range, ...]
    compared: tuple[bool, ...]


def plan(
    dataset: ImageDataset, recipe: Recipe, engine: Engine, objective: Objective, earlier: Earlier | None = None
) -> Plan:
    """Build the recipe's network, place it, and split this process's classes so that a chunk fits the memory budget.

    How the network runs follows from the images of all classes, so that it does not depend on who else works on them.

    Raises:
        UserError: for a network that cannot be built, shows no maps where the objective compares them, or takes no
            image alone where it is to see one of a class; or where the objective needs all classes at once, but they
            are to step one after the other, or are fewer than the processes; or for more images of a class than the
            memory holds.
    """
    num_classes, example = dataset.num_classes, dataset.example
    shard = Shard(num_classes=num_classes, group=current())
    network = networks.build(recipe.network, **dataset.shape)
    per_class = min(recipe.decoded, recipe.batch_synthetic)
    seen = seen_numbers(network, example, objective.layered)
    if networks.mixes_images(network) or objective.twice:
        _check_alone(network, example, recipe)
    learning = (True,) * num_classes if earlier is None else earlier.learning(recipe.ipc)
    compared = (True,) * num_classes if objective.joint else learning
    # How the network runs follows from the images of all groups of classes, so that it does not depend on these.
    groups = dataset.whole.num_classes / num_classes
    images = _images(recipe, objective, sum(compared) * groups, per_class)
    placed = engine.place(network, example, images, twice=objective.twice)
    # Real images are held as floats a few times over while they are augmented, and then as seen.
    real = torch.float32.itemsize * (4 * example.numel() + seen)
    synthetic = real + activations(network, example) * placed.kept.itemsize * (2 if recipe.taught else 1)
    bytes_per_class = recipe.batch_real * real + per_class * synthetic
    if engine.device.type == "cpu":  # a GPU says itself what it has no room for
        forward = real + torch.float32.itemsize * widest_activation(network, example)
        check_room(recipe.batch_real * forward, "batch_real", recipe.batch_real)
        check_room(per_class * synthetic, "batch_synthetic", recipe.batch_synthetic)
        if recipe.share_real:  # of all classes, from the first of the steps that share them to the last
            held = torch.float32.itemsize * (example.numel() if objective.twice else seen)
            check_room(len(shard.classes) * recipe.batch_real * held, "batch_real", recipe.batch_real)
    if recipe.class_steps == "sequential":
        if objective.joint:
            raise UserError("this objective needs all classes at once", setting="class_steps", value="sequential")
        chunks = [range(k, k + 1) for k in range(num_classes) if compared[k]]
        return Plan(placed=placed, chunks=tuple(chunks), compared=compared)
    if objective.joint:
        if shard.group.size > num_classes:
            said = f"{shard.group.size} processes for {num_classes} classes: this objective, which needs all "
            raise UserError(said + "classes at once, takes at most one process for each")
        return Plan(placed=placed, chunks=(shard.classes,), compared=compared)
    runs = _runs(shard.classes, compared)
    chunks = [run[part.start : part.stop] for run in runs for part in engine.chunks(len(run), bytes_per_class)]
    return Plan(placed=placed, chunks=tuple(chunks), compared=compared)


def _check_alone(network: nn.Module, example: Tensor, recipe: Recipe) -> None:
    """Raise `UserError` for a network that fails on an image alone, where it is to see single images of a class."""
    seen = {
        "ipc": recipe.decoded,
        "batch_synthetic": recipe.batch_synthetic,
        "batch_real": recipe.batch_real,
    }
    few = next((name for name, count in seen.items() if count == 1), None)
    if few is not None and fewest_images(network, example) > 1:
        said = "in training it takes no image of a class alone, as batch norm may not"
        raise UserError(f"{said}; give {Setting(few, 2)} or more", setting="network", value=recipe.network)


def _runs(classes: range, compared: Sequence[bool]) -> list[range]:
    """Return the classes that are compared, as runs of classes that follow one another."""
    learns = [False, *(compared[k] for k in classes), False]
    edges = [place for place in range(len(learns) - 1) if learns[place] != learns[place + 1]]
    return [classes[first:end] for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _images(recipe: Recipe, objective: Objective, num_classes: float, per_class: int) -> float:
    """Count the images that go through the network in all steps, forward and backward."""
    real_passes, synthetic_passes = objective.passes
    synthetic_passes += recipe.taught
    per_step = num_classes * (per_class * synthetic_passes + recipe.batch_real * real_passes)
    return recipe.iterations * per_step + encoders.training_images(recipe)
