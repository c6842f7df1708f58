"""A run's state in one file, written completely or not at all; a resumed run ends in the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import read_tensors, write_file_atomic


def save(
    path: Path,
    identity: dict[str, Any],
    pixels: Pixels,
    optimizer: torch.optim.Optimizer,
    encoders: dict[str, torch.Tensor],
    progress: dict[str, Any],
) -> None:
    """Write the pixels, the optimiser's buffers, what the encoders have learnt and where the run stands.

    Of processes that work together the first one writes, the pixels of all classes: the file is the same, however many
    they are.

    Args:
        path: the file; it is replaced in one step.
        identity: the run's settings and data, compared by `restore`; JSON-able.
        pixels: the synthetic images.
        optimizer: theirs, with one parameter.
        encoders: the state of their source.
        progress: what the loop needs to go on: step, seconds, history; JSON-able.
    """
    buffers = {name: value for name, value in optimizer.state[pixels.values].items() if value is not None}
    of_classes = {"pixels": pixels.values.detach()} | {f"optimizer.{name}": value for name, value in buffers.items()}
    # A counter, which has no axes, is the same for every class.
    found = {name: pixels.shard.collect(value) if value.dim() else value for name, value in of_classes.items()}
    found |= {f"encoder.{name}": value for name, value in encoders.items()}
    metadata = {"identity": _canonical(identity), "progress": json.dumps(progress)}

    def write() -> None:
        tensors = {name: value.contiguous().cpu() for name, value in found.items() if value is not None}
        write_file_atomic(path, safetensors.torch.save(tensors, metadata))

    pixels.shard.group.by_first(write)


def read(path: Path, identity: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Return the progress and the tensors of a file; None where there is none.

    Raises:
        UserError: where the file cannot be read, or belongs to a run with other settings or data.
    """
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path)
        progress: dict[str, Any] = json.loads(metadata["progress"])
        tensors["pixels"]
    except (UserError, KeyError, ValueError) as error:
        advice = f"{Setting('overwrite', True)} starts anew"
        raise UserError(f"{path}: not a readable checkpoint ({error}); {advice}") from None
    if metadata.get("identity") != _canonical(identity):
        advice = f"{Setting('overwrite', True)} discards it and starts anew"
        raise UserError(f"{path}: left by a run with other settings or data; {advice}")
    return progress, tensors


def restore(
    path: Path, identity: dict[str, Any], pixels: Pixels, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Put a saved state back in place; return its progress and the encoders' state, None where there is no file.

    Of processes that work together the first one reads, and hands the others their classes.

    Raises:
        UserError: where the file cannot be read, or belongs to a run with other settings or data.
    """
    group, held = pixels.shard.group, dict[str, torch.Tensor]()

    def read_here() -> tuple[dict[str, Any], dict[str, torch.Tensor | None]] | None:
        found = read(path, identity)
        if found is None:
            return None
        held.update({name: value for name, value in found[1].items() if _is_of_classes(name, value)})
        return found[0], {name: None if name in held else value for name, value in found[1].items()}

    found = group.by_first(read_here)
    if found is None:
        return None
    progress, shared = found
    own = pixels.values.detach()
    tensors = {
        name: pixels.shard.hand_out(held.get(name), own) if value is None else value for name, value in shared.items()
    }
    with torch.no_grad():
        pixels.values.copy_(tensors.pop("pixels"))
    state, encoders = (
        {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
        for kind in ("optimizer.", "encoder.")
    )
    # Counters stay on the CPU, as torch's optimisers keep them; buffers of the pixels' shape go beside them.
    device = pixels.values.device
    optimizer.state[pixels.values] = {k: v.to(device) if v.dim() else v for k, v in state.items()}
    return progress, encoders


def _is_of_classes(name: str, value: torch.Tensor) -> bool:
    """Whether a tensor holds something for every class, and not what all processes need."""
    return not name.startswith("encoder.") and value.dim() > 0


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file is one that `save` wrote; its tensors are not read."""
    try:
        with safe_open(path, framework="pt") as stored:
            return {"identity", "progress"} <= (stored.metadata() or {}).keys()
    except (OSError, SafetensorError):
        return False


def _canonical(identity: dict[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)
