"""Whether there is memory for a run, reckoned from its settings before anything is made."""

from __future__ import annotations

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.memory import check_room
from m3d_condense.recipes.effects import OF_ENCODERS
from m3d_condense.recipes.recipe import Recipe

FLOAT, INDEX = 4, 8  # bytes
LEARNT = 4  # numbers of each pixel: its value, its gradient and what the optimiser keeps


def check_memory(dataset: ImageDataset, recipe: Recipe) -> None:
    """Refuse counts that no memory here could hold, each by what it needs at the very least.

    Raises:
        UserError: one of them does not fit; it names the setting.
    """
    image = FLOAT * dataset.train.images[0].numel()
    needs = {
        "ipc": dataset.num_classes * recipe.ipc * image * (LEARNT if recipe.iterations else 1),
        "batch_real": recipe.batch_real * (INDEX + image),
        "encoder_batch": min(recipe.encoder_batch, len(dataset.train)) * image,
        "encoder_count": recipe.encoder_count * image if recipe.encoders in OF_ENCODERS["encoder_count"] else 0,
    }
    for name, nbytes in needs.items():
        check_room(nbytes, name, getattr(recipe, name))
