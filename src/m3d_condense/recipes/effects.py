"""Which settings of a recipe do nothing beside its others, and what they go with. Free of torch: help is quick."""

from __future__ import annotations

from collections.abc import Mapping

from m3d_condense.recipes.names import EASY, ENCODERS, SELECTIONS
from m3d_condense.recipes.recipe import Recipe

TRAINED = tuple(name for name in ENCODERS if name != "fresh")
OF_ENCODERS: Mapping[str, tuple[str, ...]] = {
    "iterations_per_model": tuple(name for name in ENCODERS if name != "dynamic"),
    "encoder_steps": TRAINED,
    "encoder_batch": TRAINED,
    "encoder_lr": TRAINED,
    "encoder_weight_decay": ("real", "queue", "pool"),
    "encoder_cutmix": ("real", "pool"),
    "encoder_augmentation": ("pool",),
    "encoder_count": ("queue", "pool"),
    "encoder_points": ("pool",),
    "teacher_lead": ("pool",),
    "encoder_warmup": ("synthetic", "real"),
}
"""Settings that some sources of encoders alone have a use for."""

OF_THE_START = {"method", "preset", "ipc", "seed", "initialisation", "factor", "bits", "iterations", "flip"}
"""Settings that the initial images follow from, beside those of a selection and of tiles."""


def idle(recipe: Recipe) -> dict[str, str]:
    """Return the settings that change nothing about a run, and for each what it goes with, as words."""
    selecting, tiled = recipe.initialisation in SELECTIONS, recipe.factor > 1 and recipe.initialisation != "noise"
    found = {} if tiled else {"mosaic": "a factor above 1 and real images to start from"}
    if not selecting:
        found["selection_features"] = f"initialisation {_either(tuple(SELECTIONS))}"
    if recipe.iterations == 0:
        judged = recipe.initialisation == EASY or (selecting and recipe.selection_features != "pixels")
        compares = {"network"} if judged else set()
        start = OF_THE_START | {"mosaic", "selection_features"} | compares
        return found | dict.fromkeys(Recipe.__dataclass_fields__.keys() - start, "steps of the optimisation")
    if recipe.objective != "mmd":
        found["kernel"] = "objective mmd"
    if recipe.augmentation == "none":
        found["augmentation_draw"] = "an augmentation"
    if recipe.cross_entropy == 0:
        found["teacher_lead"] = "a cross_entropy above 0"
    for name, sources in OF_ENCODERS.items():
        if recipe.encoders not in sources:
            found[name] = f"{_either(sources)} encoders"
    return found


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
