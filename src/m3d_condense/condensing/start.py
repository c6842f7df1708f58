"""What a run starts from: the synthetic images before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m3d_condense.condensing import coresets
from m3d_condense.condensing.easy import candidates, easiest
from m3d_condense.condensing.growth import Earlier
from m3d_condense.condensing.pixels import Pixels
from m3d_condense.condensing.shards import Shard
from m3d_condense.condensing.view import Encoder
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.group import current
from m3d_condense.recipes.names import EASY, SELECTIONS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.tiles import mosaic
from m3d_condense.tools.progress import notice
from m3d_condense.tools.seeds import generator
from m3d_condense.tools.stopwatch import Stopwatch


def start(
    dataset: ImageDataset,
    recipe: Recipe,
    engine: Engine,
    watch: Stopwatch,
    earlier: Earlier | None = None,
    judges: Sequence[Encoder] = (),
) -> Pixels:
    """Return the initial pixels of this process's classes, on the device.

    They are mosaics of l×l real images, or noise, and `earlier` images over them. Easy ones are chosen by the `judges`,
    or where there are none by a network that is trained for it. `watch` is credited with what the cache spares, where a
    trained network chooses the images.
    """
    shard = Shard(num_classes=dataset.num_classes, group=current())
    images, frozen = _images(dataset, recipe, engine, watch, shard, judges), None
    if earlier is not None:
        notice(earlier.explain(dataset.num_classes * recipe.ipc, recipe.iterations))
        images, frozen = earlier.laid_over(images, shard.classes, recipe), earlier.frozen(recipe.ipc)
    return Pixels(images.to(engine.device), recipe.factor, shard, frozen, recipe.bits)


def _images(
    dataset: ImageDataset, recipe: Recipe, engine: Engine, watch: Stopwatch, shard: Shard, judges: Sequence[Encoder]
) -> Tensor:
    """Return the images M×C×H×W in [0, 1] of each class of a shard."""
    stream, whole = generator(recipe.seed, "initialise"), dataset.whole
    own = slice(dataset.numbers.start, dataset.numbers.stop)  # each class starts the same whatever group it is in
    if recipe.initialisation == "noise":
        noise = torch.rand(whole.num_classes, recipe.ipc, dataset.channels, *dataset.size, generator=stream)
        return shard.of(noise[own])
    count = recipe.decoded
    coresets.notice_repeats(dataset, count)
    chosen: list[Tensor]
    if recipe.initialisation in SELECTIONS:
        real, chosen = dataset, list(coresets.select(dataset, recipe, count, shard.classes, engine, watch))
    else:
        sampler, easy = ClassSampler(whole.train.labels, whole.num_classes), recipe.initialisation == EASY
        counts = [candidates(count, has, recipe.factor) if easy else count for has in sampler.counts]
        drawn = [sampler.draw([k], counts[k], stream)[0] for k in range(whole.num_classes)][own]
        real, chosen = whole, [drawn[k] for k in shard.classes]
        if easy:
            judges = judges or [coresets.selector(dataset, recipe, engine, watch)]
            chosen = easiest(dataset, recipe, chosen, shard.classes, judges)
    images = (real.train.images[index].float() / 255 for index in chosen)
    mosaics = [mosaic(of_class, recipe.factor, recipe.mosaic) for of_class in images]
    return torch.stack(mosaics) if mosaics else torch.empty(0, recipe.ipc, dataset.channels, *dataset.size)
