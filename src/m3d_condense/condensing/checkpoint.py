"""A run's state in one file, written completely or not at all; a resumed run ends in the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from m3d_condense.condensing.pixels import Pixels
from m3d_condense.machine.execution import ROUNDING
from m3d_condense.recipes.recipe import completed
from m3d_condense.tools.digests import digest_of
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import read_tensors, write_file_atomic

FORMAT_VERSION = 2  # goes up when a later version of the loop would go on to other pixels
HEADER = 2**26  # bytes, more than the names of any run's tensors, and its history, take


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: steps taken, seconds they took, and its history as `Run` keeps it."""

    step: Annotated[int, msgspec.Meta(ge=0)]
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    history: list[dict[str, int | float]] = field(default_factory=list)


class _Header(msgspec.Struct):
    """What a safetensors file begins with, as far as it matters here."""

    texts: dict[str, str] = msgspec.field(name="__metadata__")


def save(
    path: Path,
    identity: dict[str, Any],
    pixels: Pixels,
    optimizer: torch.optim.Optimizer,
    encoders: dict[str, Tensor],
    progress: Progress,
) -> None:
    """Write the pixels, the optimiser's buffers, what the encoders have learnt and where the run stands.

    Of processes that work together the first one writes, the pixels of all classes: the file is the same, however many
    they are.

    Args:
        path: the file; it is replaced in one step.
        identity: the run's settings, data and arithmetic, compared by `restore`; JSON-able.
        pixels: the synthetic images.
        optimizer: theirs, with one parameter.
        encoders: the state of their source.
        progress: where the run stands.
    """
    buffers = {name: value for name, value in optimizer.state[pixels.values].items() if value is not None}
    of_classes = {"pixels": pixels.values.detach()} | {f"optimizer.{name}": value for name, value in buffers.items()}
    # A counter, which has no axes, is the same for every class.
    found = {name: pixels.shard.collect(value) if value.dim() else value for name, value in of_classes.items()}
    found |= {f"encoder.{name}": value for name, value in encoders.items()}
    texts = {"identity": json.dumps(identity, sort_keys=True), "progress": json.dumps(asdict(progress))}
    texts["format_version"] = str(FORMAT_VERSION)

    def write() -> None:
        tensors = {name: value.contiguous().cpu() for name, value in found.items() if value is not None}
        write_file_atomic(path, safetensors.torch.save(tensors, {**texts, "digest": digest_of(tensors, texts)}))

    pixels.shard.group.by_first(write)


def read(path: Path, identity: dict[str, Any]) -> tuple[Progress, dict[str, Tensor]] | None:
    """Return the progress and the tensors of a file; None where there is none.

    Raises:
        UserError: where the file cannot be read, or belongs to a run with other settings, data or arithmetic.
    """
    if not path.exists():
        return None
    try:
        tensors, texts = read_tensors(path)
        digest = texts.pop("digest", None)
        stored = _identity(texts["identity"])
        if texts.get("format_version") != str(FORMAT_VERSION):
            raise UserError(f"of the format version {texts.get('format_version')}, not {FORMAT_VERSION}")
        if digest != digest_of(tensors, texts):
            raise UserError("its digest is another")
        progress = msgspec.json.decode(texts["progress"], type=Progress)
    except (UserError, KeyError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    if stored != json.loads(json.dumps(identity)):
        raise UserError(f"{path}: {_difference(stored, identity)}")
    return progress, tensors


def restore(
    path: Path, identity: dict[str, Any], pixels: Pixels, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Put a saved state back in place; return its progress and the encoders' state, None where there is no file.

    Of processes that work together the first one reads, and hands the others their classes.

    Raises:
        UserError: where the file cannot be read, or belongs to a run with other settings, data or arithmetic.
    """
    shard, held = pixels.shard, dict[str, Tensor]()

    def read_whole() -> tuple[Progress, dict[str, Tensor | None]] | None:
        """Keep what there is for every class, and return the names of it and what all processes need."""
        found = read(path, identity)
        if found is None:
            return None
        progress, tensors = found
        _check(path, progress, tensors, optimizer, torch.Size((shard.num_classes, *pixels.values.shape[1:])))
        held.update({name: x for name, x in tensors.items() if x.dim() and not name.startswith("encoder.")})
        return progress, {name: None if name in held else x for name, x in tensors.items()}

    found = shard.group.by_first(read_whole)
    if found is None:
        return None
    progress, shared = found
    own = pixels.values.detach()
    tensors = {name: shard.hand_out(held.get(name), own) if x is None else x for name, x in shared.items()}
    with torch.no_grad():
        pixels.values.copy_(tensors["pixels"]).clamp_(0, 1)
    # Counters stay on the CPU, as torch's optimisers keep them; buffers of the pixels' shape go beside them.
    device, state = pixels.values.device, _named(tensors, "optimizer.")
    optimizer.state[pixels.values] = {k: v.to(device) if v.dim() else v for k, v in state.items()}
    return progress, _named(tensors, "encoder.")


def _named(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return the tensors of a kind, by their names without it."""
    return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}


def _check(
    path: Path,
    progress: Progress,
    tensors: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    shape: torch.Size,
) -> None:
    """Raise `UserError` unless a file's tensors are those of pixels of a shape, and what an optimiser keeps of them."""
    expected = _buffers(optimizer, shape) if progress.step else {}
    problem = _problem(_named(tensors, "optimizer."), expected)
    problem = problem or _problem({"pixels": tensors.get("pixels")}, {"pixels": shape})
    if problem:
        raise unreadable(path, problem)


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file, whole or cut short, begins as one that `save` wrote."""
    return {"identity", "progress"} <= _texts(path).keys()


def belongs(path: Path, identity: Mapping[str, Any]) -> bool:
    """Tell whether a file is of a run with these settings and data, in whatever arithmetic."""
    try:
        stored = _identity(_texts(path).get("identity", "{}"))
    except (ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and stored | {"arithmetic": None} == {**identity, "arithmetic": None}


def _identity(text: str) -> Any:
    """Return an identity that is stored as JSON, its recipe with the settings that are younger."""
    found = json.loads(text)
    if isinstance(found, dict) and isinstance(found.get("recipe"), dict):
        found["recipe"] = completed(found["recipe"])
    return found


def _texts(path: Path) -> dict[str, str]:
    """Return the texts that a file begins with; none where it is not of tensors, or is not there."""
    try:
        with path.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = opened.read(length) if length < HEADER else b""
        return msgspec.json.decode(header, type=_Header).texts
    except (OSError, ValueError):
        return {}


def unreadable(path: Path, reason: object) -> UserError:
    """Return what is said of a file that a run cannot go on from."""
    advice = f"{Setting('overwrite', True)} starts anew" if is_checkpoint(path) else "move it elsewhere to start anew"
    return UserError(f"{path}: not a readable checkpoint ({reason}); {advice}")


def _buffers(optimizer: torch.optim.Optimizer, shape: torch.Size) -> dict[str, torch.Size]:
    """Return the names and shapes of what an optimiser keeps of one parameter once it has taken a step."""
    if isinstance(optimizer, torch.optim.Adam):
        return {"step": torch.Size(()), "exp_avg": shape, "exp_avg_sq": shape}
    return {"momentum_buffer": shape} if optimizer.param_groups[0]["momentum"] else {}


def _problem(found: Mapping[str, Tensor | None], expected: Mapping[str, torch.Size]) -> str:
    """Say what keeps tensors from being finite float32 of these names and shapes; nothing where nothing does."""
    if found.keys() != expected.keys():
        return f"it has {sorted(found)}, not {sorted(expected)}"
    for name, tensor in found.items():
        if tensor is None or (tensor.dtype, tensor.shape) != (torch.float32, expected[name]):
            return f"its {name} is not of this run"
        if not bool(tensor.isfinite().all()):
            return f"its {name} has values that are not finite"
    return ""


def _difference(stored: Any, identity: Mapping[str, Any]) -> str:
    """Say what a stored identity has other than this run's, and what to do."""
    other = {name for name in identity if not isinstance(stored, dict) or stored.get(name) != identity[name]}
    if other == {"arithmetic"}:
        settings = ", ".join(str(Setting(name)) for name in ROUNDING)
        advice = f"with the same {settings} it goes on, and {Setting('overwrite', True)} discards it"
        return f"left by a run in {stored['arithmetic']}, where this one is in {identity['arithmetic']}; {advice}"
    what = "code of its network" if other == {"code"} else "settings or data"
    return left_by(what)


def left_by(what: str = "settings or data") -> str:
    """Say that a file is of a run with other settings, or what else is other, and what to do."""
    return f"left by a run with other {what}; {Setting('overwrite', True)} discards it and starts anew"
