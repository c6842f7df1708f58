"""Random streams by name: every draw of a run has a generator of its own, derived from the run's seed.

Nothing hands one generator from step to step, so a resumed run, a shard of the classes and a run of all of them
see the same numbers, and a checkpoint need not hold any random state.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *words: str | int) -> int:
    """Mix a seed and the name of a stream into a seed of 63 bits, the same on every machine."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *words: str | int) -> torch.Generator:
    """Return a fresh CPU generator for the stream `words` of the run with this seed."""
    return torch.Generator().manual_seed(derive(seed, *words))
