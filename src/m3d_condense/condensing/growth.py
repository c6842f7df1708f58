"""What a run grows from: the images of an earlier set, laid over the initial ones, and which of them stay.

Shapes: K classes, M stored images per class, C×H×W pixels, factor l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.bits import on_levels, quantised
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed


@dataclass(frozen=True, kw_only=True, eq=False)
class Earlier:
    """An earlier set, matched with the classes of the data that are condensed now.

    Attributes:
        images: for each of K classes, its earlier images m×C×H×W, uint8, at most M; none for a new class.
        kept: whether they stay as they are, to the bit; else they are where the run starts from.
        fingerprint: of the earlier set.
    """

    images: Sequence[Tensor]
    kept: bool
    fingerprint: str

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(map(len, self.images))

    def explain(self, total: int, steps: int) -> str:
        """Say in one line what becomes of them in a run of so many images and so many steps."""
        fate = "are optimised further" if steps and not self.kept else "stay as they are"
        return f"{self.count} images of the earlier set {fate}, and {total - self.count} are added"

    def identity(self) -> dict[str, Any]:
        """Return what a run that grows from them is told by, JSON-able."""
        return {"fingerprint": self.fingerprint, "images": self.count, "kept": self.kept}

    def laid_over(self, images: Tensor, classes: range, recipe: Recipe) -> Tensor:
        """Return the initial images K'×M×C×H×W in [0, 1] of these classes with the earlier ones in the first places.

        Those that are added are none of the earlier ones, while there are others. Images that are selected come in
        their order; those that steps are to move keep their places, as the first were where the earlier ones began.
        """
        grown = images.clone()
        for place, number in enumerate(classes):
            earlier, initial = self.images[number], images[place]
            taken = {image.numpy().tobytes() for image in earlier}
            alike = [image.numpy().tobytes() in taken for image in quantised(initial, recipe.bits)]
            first = len(earlier) if recipe.iterations > 0 else 0
            order = [*range(first, len(initial)), *range(first)]
            added = sorted(order, key=alike.__getitem__)[: len(initial) - len(earlier)]
            grown[place] = torch.cat([earlier.float() / 255, initial[added]])
        return grown

    def frozen(self, count: int) -> Tensor:
        """Return which of `count` images a class, K×M, stay as they are."""
        lengths = torch.tensor([len(earlier) for earlier in self.images]).unsqueeze(1)
        return (torch.arange(count) < lengths) & self.kept

    def learning(self, count: int) -> tuple[bool, ...]:
        """Return whether each of K classes has one of `count` images that is optimised."""
        return tuple((~self.frozen(count).all(1)).tolist())


def earlier(
    given: CondensedSet | str | Path, dataset: ImageDataset, recipe: Recipe, keep: bool | None = None
) -> Earlier:
    """Match an earlier set with a run: classes by their names.

    Args:
        given: the set, or its folder.
        dataset: what is condensed; it has all classes of the set, and may have more.
        recipe: of the run.
        keep: whether the earlier images stay as they are; by default where the run adds images or classes to them.

    Raises:
        UserError: for a set that does not fit, or where nothing would be left to do.
    """
    if not isinstance(given, CondensedSet | str | Path):
        raise UserError("a condensed set, or its folder", setting="start_from", value=given)
    condensed = given if isinstance(given, CondensedSet) else CondensedSet.load(given)
    _check(condensed, dataset, recipe)
    if condensed.soft_labels is not None:
        notice("the soft labels of the set to start from do not go into the new one; m3d label makes them for that")
    labels = {name: label for label, name in enumerate(condensed.class_names)}
    images = [
        condensed.images[condensed.labels == labels[name]] if name in labels else condensed.images[:0]
        for name in dataset.class_names
    ]
    most = max(map(len, images))
    if most > recipe.ipc:
        name = dataset.class_names[[len(part) for part in images].index(most)]
        raise UserError(
            f"the set to start from has {most} images of {name}, more than that; give at least as many",
            setting="ipc",
            value=recipe.ipc,
        )
    added = len(images) * recipe.ipc - sum(map(len, images))
    if keep and not added:
        remedy = f"give a larger {Setting('ipc')}, data of more classes, or {Setting('keep_old', False)}"
        raise UserError(f"nothing is left to optimise: the set to start from has every image already; {remedy}")
    return Earlier(images=images, kept=added > 0 if keep is None else keep, fingerprint=condensed.fingerprint)


def _check(condensed: CondensedSet, dataset: ImageDataset, recipe: Recipe) -> None:
    """Raise `UserError` for a set whose images or classes cannot be those of the run."""
    shape, expected = tuple(condensed.images.shape[1:]), (dataset.channels, *dataset.size)
    if shape != expected:
        raise UserError(
            f"holds images of {shape}, but those of {dataset.name} are {expected}; {Setting('size')} resizes the data",
            setting="start_from",
        )
    if condensed.factor != recipe.factor:
        remedy = f"give {Setting('factor', condensed.factor)}"
        raise UserError(
            f"has the factor {condensed.factor}, but this run {recipe.factor}; {remedy}", setting="start_from"
        )
    if not on_levels(condensed.images, recipe.bits):
        remedy = f"give {Setting('bits', condensed.bits)}"
        raise UserError(
            f"has {condensed.bits} bits a channel, but this run {recipe.bits}; {remedy}", setting="start_from"
        )
    absent = [name for name in condensed.class_names if name not in dataset.class_names]
    if absent:
        raise UserError(
            f"has classes that {dataset.name} has not: {listed(absent)}; give data of all classes, old and new",
            setting="start_from",
        )
