"""A digest of stored tensors and the text beside them, by which damage is seen when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHECKED = 2**30  # bytes of tensors up to which their digest is of all of them; beyond, of their names and shapes


def digest_of(tensors: Mapping[str, Tensor], texts: Mapping[str, str], most: float | None = None) -> str:
    """Return the hexadecimal digest of contiguous tensors on the CPU, and of text, both by name.

    Of tensors of more than `most` bytes, by default `CHECKED`, it is that of their names, types and shapes.
    """
    import torch

    digest = hashlib.sha256(json.dumps(dict(texts), sort_keys=True).encode())
    checked = sum(tensor.nbytes for tensor in tensors.values()) <= (CHECKED if most is None else most)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if checked:
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
