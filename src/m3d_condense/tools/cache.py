"""Networks that were trained once, kept in files for other runs on the same data with the same settings."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from m3d_condense.tools.files import read_tensors, write_file_atomic

Tensors = dict[str, Tensor]


def cache_folder() -> Path:
    """Return where trained networks are kept: $M3D_CACHE, or m3d-condense in the user's cache folder."""
    if "M3D_CACHE" in os.environ:
        return Path(os.environ["M3D_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "m3d-condense"


def kept(kind: str, made_from: Mapping[str, Any], number: int, train: Callable[[], Tensors]) -> tuple[Tensors, float]:
    """Return the tensors that `train` makes, from a file where it has run before.

    Args:
        kind: of network, a folder's name.
        made_from: all that determines the tensors but the number; JSON-able.
        number: tells apart networks that are made of the same.
        train: makes the tensors.

    Returns:
        The tensors, on the CPU, and the seconds that were spared by finding them.

    Raises:
        UserError: for a file that cannot be read.
        OSError: where it cannot be written.
    """
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=8).hexdigest()
    file = cache_folder() / kind / key / f"{number}.safetensors"
    if file.exists():
        tensors, metadata = read_tensors(file)
        return tensors, float(metadata["seconds"])
    begun = time.monotonic()
    tensors = {name: value.detach().contiguous().cpu() for name, value in train().items()}
    write_file_atomic(file, safetensors.torch.save(tensors, {"seconds": str(time.monotonic() - begun)}))
    return tensors, 0.0
