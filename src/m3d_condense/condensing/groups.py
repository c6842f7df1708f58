"""Classes condensed in groups, one group after the other, and the one set that their sets make.

Shapes: K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.recipes.recipe import check_count
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError

LEAST = 2  # classes of a group: with one there is nothing to tell apart


def check_groups(count: int, num_classes: int, unused: dict[str, Any]) -> None:
    """Raise `UserError` for a number of groups that K classes cannot make, or settings that need all classes in one.

    Args:
        count: of the groups.
        num_classes: K.
        unused: settings that go with one group only, and what was given for them: None, 0 or nothing else.
    """
    check_count("class_groups", count, least=1)
    if count > 1 and count > num_classes // LEAST:
        said = f"at most {num_classes // LEAST}, so that each of {num_classes} classes has another in its group"
        raise UserError(said, setting="class_groups", value=count)
    given = next((name for name, value in unused.items() if value), None)
    if count > 1 and given is not None:
        raise UserError("needs all classes in one group", setting=given, value=unused[given])


def joined_sets(sets: Sequence[CondensedSet], dataset: ImageDataset, changes: dict[str, Any]) -> CondensedSet:
    """Return one set of all the classes of the groups.

    Args:
        sets: of the groups, in their order.
        dataset: of all classes.
        changes: settings of the whole that are not those of a group.
    """
    first = sets[0]
    starts = [sum(one.num_classes for one in sets[:number]) for number in range(len(sets))]
    return dataclasses.replace(
        first,
        images=torch.cat([one.images for one in sets]),
        labels=torch.cat([one.labels + start for one, start in zip(sets, starts, strict=True)]),
        class_names=dataset.class_names,
        settings=first.settings | changes,
        source=dataset.known_source,
        seconds=round(sum(one.seconds for one in sets), 3),
        steps=min(one.steps for one in sets),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        history=_history(sets),
        scores=[],
    )


def _history(sets: Sequence[CondensedSet]) -> list[dict[str, float]]:
    """Return the steps that every group has logged: the mean loss of all classes, and the seconds of all groups."""
    logged = [{entry["step"]: entry for entry in one.history} for one in sets]
    sizes = [one.num_classes for one in sets]
    steps = sorted(set.intersection(*(set(entries) for entries in logged)))
    return [
        {
            "step": step,
            "loss": sum(size * own[step]["loss"] for size, own in zip(sizes, logged, strict=True)) / sum(sizes),
            "seconds": round(sum(own[step]["seconds"] for own in logged), 3),
        }
        for step in steps
    ]
