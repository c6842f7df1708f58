"""The gradient that images give a ConvNet's weights, and how it changes with them: a second derivative, natively.

What the product <G, V> of the gradient G with fixed directions V of the weights changes by with the images is, as mixed
derivatives may be taken in either order, what the images' own gradient changes by along V. That is one more pass of
derivatives, forward and backward, with no graph of a graph: exact (Pearlmutter, "Fast exact multiplication by the
Hessian", Neural Computation, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from m3d_condense.machine.matching import Distance, Matching
from m3d_condense.machine.matching import Weights as Gradients
from m3d_condense.machine.native.calls import Maps, Weights, backward, backward_dot, forward_dot, forward_kept, last

CLASSIFIER = "classifier.weight"


class _Pass(NamedTuple):
    """A block's, of some images: its convolution's weights by name, what went in, what it computes with and keeps."""

    name: str
    images: Tensor
    weights: Weights
    maps: Maps


class WeightGradient:
    """The gradient of the mean cross-entropy of images to the weights of a ConvNet whose blocks run natively.

    Args:
        network: a ConvNet on the CPU, in float32.
        images: N×C×H×W.
        labels: N.

    Attributes:
        weights: the gradients of the weights of convolutions and classifier, by their names in the network.
    """

    def __init__(self, network: Any, images: Tensor, labels: Tensor) -> None:
        self._passes: list[_Pass] = []
        seen = last(images.detach())
        for number, layers in enumerate(network.blocks):
            weights = Weights.of(list(layers), getattr(layers, "products", torch.float32))
            out, maps = forward_kept(seen, weights)
            self._passes.append(_Pass(f"blocks.{number}.0.weight", seen, weights, maps))
            seen = out
        with torch.enable_grad():
            self._seen, weight = seen.requires_grad_(), network.classifier.weight.detach().requires_grad_()
            logits = F.linear(network.pool(self._seen), weight, network.classifier.bias)
            self._head = torch.autograd.grad(F.cross_entropy(logits, labels), (self._seen, weight), create_graph=True)
        self.weights = {CLASSIFIER: self._head[1].detach()}
        self._gradients = [self._head[0].detach()]  # of what each block returns, the last one's first
        for name, images, weights, maps in reversed(self._passes):
            later = images is not self._passes[0].images
            gradient = self._gradients[-1]
            to_images, to_weight, *_ = backward(images.shape, images, weights, maps, gradient, of_images=later)
            self.weights[name] = cast(Tensor, to_weight)
            if to_images is not None:
                self._gradients.append(to_images)

    def along(self, directions: Mapping[str, Tensor]) -> Tensor:
        """Return the gradient to the images N×C×H×W of <G, V>, for directions V by the names in `weights`.

        Those of all convolutions must be there; the classifier's may be missing, and is then zero.
        """
        dot, maps_dots = None, []
        for name, images, weights, maps in self._passes:
            dot, maps_dot = forward_dot(images, dot, weights, directions[name], maps)
            maps_dots.append(maps_dot)
        dots = (dot, directions[CLASSIFIER]) if CLASSIFIER in directions else (dot,)
        # A Hessian is symmetric: what its rows pass back is what its columns change by.
        (gradient_dot,) = torch.autograd.grad(self._head[: len(dots)], self._seen, dots, retain_graph=True)
        back = zip(reversed(self._passes), reversed(maps_dots), self._gradients, strict=True)
        for (name, images, weights, maps), maps_dot, gradient in back:
            changes = directions[name], maps, maps_dot, gradient, gradient_dot
            gradient_dot = backward_dot(images.shape, weights, *changes)
        return gradient_dot


def native_matching(network: Any, distance: Distance) -> Matching:
    """Match gradients on native blocks: the pixels' gradient is that of <G, V>, for V the distance's gradient to G.

    The weights that count must hold those of all convolutions; the network is as `WeightGradient` takes it.
    """

    def gradients(images: Tensor, weights: Gradients, labels: Tensor) -> Gradients:
        found = WeightGradient(network, images, labels).weights
        return {name: found[name] for name in weights}

    def to_images(images: Tensor, weights: Gradients, labels: Tensor, real: Gradients) -> tuple[Tensor, Tensor]:
        found = WeightGradient(network, images, labels)
        with torch.enable_grad():
            synthetic = {name: found.weights[name].requires_grad_() for name in weights}
            value = distance(real, synthetic)
        slopes = torch.autograd.grad(value, list(synthetic.values()))
        return found.along(dict(zip(synthetic, slopes, strict=True))), value.detach()

    return Matching(gradients, to_images)
