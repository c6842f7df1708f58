"""A pool of networks trained beforehand, kept on disk; each step's encoder lies between a start and its trained end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from m3d_condense.encoder import Encoder
from m3d_condense.encoders.learner import Learner
from m3d_condense.files import read_tensors, write_file_atomic
from m3d_condense.networks import initialise
from m3d_condense.progress import notice, progress
from m3d_condense.recipe import Recipe
from m3d_condense.seeds import derive, generator
from m3d_condense.synthetic import Pixels

Weights = dict[str, Tensor]


class PoolEncoders:
    """Networks at a random point between their initialisation and their trained end (DANCE, Zhang et al., IJCAI 2024).

    The pool, `encoder_count` networks of `encoder_steps` training steps each on real images, is trained once and kept
    in files, one a network, that any run on the same data with the same settings of the encoders finds again; an
    interrupted pool goes on with the network it stopped at.
    """

    def __init__(self, learner: Learner, recipe: Recipe, fingerprint: str) -> None:
        self.learner, self.recipe = learner, recipe
        self.spared = 0.0
        self._current = -1
        self._folder = cache_folder() / "pools" / self._key(fingerprint)
        self._ends = [self._member(number) for number in range(recipe.encoder_count)]

    def at(self, step: int) -> Encoder:
        """Return the encoder of this step: a new random point every `iterations_per_model` steps."""
        index = step // self.recipe.iterations_per_model
        if index != self._current:
            self._current = index
            stream = generator(self.recipe.seed, "point", index)
            number = int(torch.randint(len(self._ends), (1,), generator=stream))
            share = float(torch.rand((), generator=stream))
            self._fill(*self._ends[number], share)
        return self.learner.encoder

    def advance(self, step: int, pixels: Pixels) -> None:
        """Do nothing: the pool was trained beforehand."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing: the points follow from the seed, and the pool has files of its own."""
        return {}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Do nothing."""

    @torch.no_grad()
    def _fill(self, start: Weights, end: Weights, share: float) -> None:
        for name, tensor in self.learner.encoder.network.state_dict().items():
            point = start[name].lerp(end[name], share) if tensor.is_floating_point() else end[name]
            tensor.copy_(point)

    def _member(self, number: int) -> tuple[Weights, Weights]:
        """Return a network's tensors at the start and the end of its training, trained now where it has not been."""
        file = self._folder / f"{number}.safetensors"
        if file.exists():
            tensors, metadata = read_tensors(file)
            self.spared += float(metadata["seconds"])
        else:
            tensors = self._train(number, file)
        device = self.learner.encoder.engine.device
        ends: dict[str, Weights] = {"start": {}, "end": {}}
        for key, value in tensors.items():
            end, _, name = key.partition(".")
            ends[end][name] = value.to(device)
        return ends["start"], ends["end"]

    def _train(self, number: int, file: Path) -> Weights:
        network, recipe = self.learner.encoder.network, self.recipe
        begun, seed = time.monotonic(), derive(recipe.seed, "pool", number)
        if number == 0:
            notice(f"training a pool of {recipe.encoder_count} networks once; it is kept in {self._folder}")
        with progress(f"Training network {number + 1} of {recipe.encoder_count}", recipe.encoder_steps) as bar:
            self.learner.from_scratch(seed, recipe.encoder_steps, bar)
        tensors = {f"end.{name}": value.clone() for name, value in network.state_dict().items()}
        initialise(network, derive(seed, "network"))  # where the trainer began
        tensors |= {f"start.{name}": value.clone() for name, value in network.state_dict().items()}
        tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
        metadata = {"seconds": str(time.monotonic() - begun)}
        write_file_atomic(file, safetensors.torch.save(tensors, metadata))
        return tensors

    def _key(self, fingerprint: str) -> str:
        recipe, protocol = self.recipe, self.learner.protocol
        what = {
            "fingerprint": fingerprint,
            "network": recipe.network,
            "steps": recipe.encoder_steps,
            "seed": recipe.seed,
            "protocol": dataclasses.asdict(protocol),
            "dtype": str(self.learner.encoder.engine.dtype),
        }
        return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()


def cache_folder() -> Path:
    """Return where pools are kept: $M3D_CACHE, or m3d-condense in the user's cache folder."""
    if "M3D_CACHE" in os.environ:
        return Path(os.environ["M3D_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "m3d-condense"
