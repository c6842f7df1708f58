"""One network as the encoder of a step, and images as it sees them.

Shapes: K classes, N images per class, C×H×W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3d_condense.condensing.shards import Shard
from m3d_condense.machine.costs import at_rest
from m3d_condense.machine.engine import Placed, in_pieces
from m3d_condense.networks import initialise, mixes_images, set_encoding
from m3d_condense.tools.errors import UserError
from m3d_condense.training.augment import Normalisation

BLOCK = 1024  # images whose features are computed at once
NO_MAPS = "this objective compares the maps of a network's blocks, which this network does not show"


class Encoder:
    """One network whose parameters are refilled in place, and what it makes of normalised images.

    Its weights take no gradient; the images may.

    Attributes:
        placed: the network, and how it runs.
        trainable: those of its parameters that took gradients before: what training it may change.
        confidence: how far to trust its classifier, in [0, 1]: what the cross-entropy of a step is multiplied with.
        teacher: whose classifier the cross-entropy is of, where that is not its own.
    """

    def __init__(self, placed: Placed) -> None:
        self.placed = placed
        self.trainable = [parameter for parameter in placed.network.parameters() if parameter.requires_grad]
        self.network = cast(Any, placed.network.requires_grad_(False))
        set_encoding(placed.network)
        self.confidence = 1.0
        self.teacher: Encoder | None = None
        self._features = placed.of(self.network.features)
        self._logits = placed.of(self.network)
        self._maps = placed.of(self.network.maps) if hasattr(self.network, "maps") else None

    def refill(self, seed: int) -> None:
        """Make the network a new random one."""
        initialise(self.network, seed)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features K×N×D of normalised images K×N×C×H×W."""
        return self._each(self._features, images)[0]

    @torch.no_grad()
    def features_in_blocks(self, blocks: Iterable[Tensor], normalised: Normalisation) -> Tensor:
        """Return float32 features N×D of N images in blocks of …×C×H×W, uint8 or in [0, 1], on any device."""
        device = self.placed.engine.device
        seen = [self.features(normalised(block.to(device)).unsqueeze(0)).squeeze(0) for block in blocks]
        return torch.cat(seen)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the float32 maps K×N×C'×H'×W' of every block for normalised images K×N×C×H×W.

        Raises:
            UserError: for a network that shows no blocks.
        """
        if self._maps is None:
            raise UserError(NO_MAPS)
        return self._each(self._maps, images)

    def logits(self, images: Tensor, features: Tensor | None = None) -> Tensor:
        """Return float32 logits K×N×K of normalised images K×N×C×H×W, from their features where they are known."""
        if features is not None and hasattr(self.network, "classifier"):
            logits: Tensor = self.network.classifier(features)
            return logits
        return self._each(self._logits, images)[0]

    def _each(self, function: Callable[[Tensor], Any], images: Tensor) -> list[Tensor]:
        if mixes_images(self.network):  # batch statistics are those of one class's real, or synthetic, images
            parts = [function(of_one_class) for of_one_class in images]
            found = (
                torch.cat(parts) if isinstance(parts[0], Tensor) else [torch.cat(p) for p in zip(*parts, strict=True)]
            )
        else:
            found = in_pieces(function, images.flatten(0, 1), self.placed.piece(images))
        results = [found] if isinstance(found, Tensor) else found
        return [result.float().view(*images.shape[:2], *result.shape[1:]) for result in results]


class View:
    """Images of some classes as an encoder sees them; what is asked for is computed once.

    Args:
        encoder: sees them.
        images: K×N×C×H×W, normalised and augmented.
        classes: the K classes' numbers.
        graph: whether gradients reach the images.
        shard: where other processes have other classes, for objectives that need them; by default nobody has.
    """

    def __init__(
        self, encoder: Encoder, images: Tensor, classes: range, graph: bool, shard: Shard | None = None
    ) -> None:
        self.encoder, self.images, self.classes, self.graph = encoder, images, classes, graph
        self.shard = shard or Shard(num_classes=len(classes))

    def let_go(self) -> None:
        """Let go of the images, where their features alone are what is asked for."""
        if "features" in self.__dict__:
            self.images = self.images.new_empty(*self.images.shape[:2], 0)

    @cached_property
    def maps(self) -> list[Tensor]:
        """The maps of every block, K×N×C'×H'×W'."""
        with torch.set_grad_enabled(self.graph):
            return self.encoder.maps(self.images)

    @cached_property
    def features(self) -> Tensor:
        """Features K×N×D."""
        with torch.set_grad_enabled(self.graph):
            if "maps" in self.__dict__:
                found: Tensor = self.encoder.network.features_of(self.maps[-1].flatten(0, 1))
                return found.view(*self.images.shape[:2], -1)
            return self.encoder.features(self.images)

    @cached_property
    def labels(self) -> Tensor:
        """The classes' numbers, K×N."""
        numbers = torch.tensor(self.classes, device=self.images.device)
        return numbers.unsqueeze(1).expand(self.images.shape[:2])

    @property
    def cross_entropy(self) -> Tensor:
        """The mean cross-entropy of each class (K) under the encoder's classifier, or its teacher's."""
        with torch.set_grad_enabled(self.graph):
            if self.encoder.teacher is not None:
                logits = self.encoder.teacher.logits(self.images)
            else:
                known = self.__dict__.keys() & {"maps", "features"}
                logits = self.encoder.logits(self.images, self.features if known else None)
            return (
                F.cross_entropy(logits.flatten(0, 1), self.labels.flatten(), reduction="none")
                .view_as(self.labels)
                .mean(1)
            )


def seen_numbers(network: nn.Module, image: Tensor, layered: bool) -> int:
    """Count the numbers that are kept of one image 1×C×H×W as a network sees it: its features, or all its maps.

    Raises:
        UserError: where the maps are asked of a network that shows none.
    """
    if layered and not hasattr(network, "maps"):
        raise UserError(NO_MAPS)
    with at_rest(network):
        seen = network.maps(image) if layered else [network.features(image)]  # type: ignore[operator]
    return sum(part.numel() for part in seen)
