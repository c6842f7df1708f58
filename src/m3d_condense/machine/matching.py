"""The gradients that images give a network's weights, and the gradient to the images of a distance between two of them.

Shapes: N images of one class, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Weights, or their gradients, by their names in the network."""
Distance = Callable[[Weights, Weights], Tensor]
"""Of real and synthetic gradients, a number."""


class Matching(NamedTuple):
    """Two functions of the gradients of the mean cross-entropy to a network's weights.

    Attributes:
        gradients: of images N×C×H×W, the weights that count, and labels N: the gradients to those weights.
        to_images: of synthetic images, weights, labels, and the real images' gradients: the gradient of the distance
            to the images, and the distance.
    """

    gradients: Callable[[Tensor, Weights, Tensor], Weights]
    to_images: Callable[[Tensor, Weights, Tensor, Weights], tuple[Tensor, Tensor]]


def derived_matching(network: nn.Module, distance: Distance) -> Matching:
    """Derive both by torch.func, to be compiled or not.

    Weights are inputs, so that none is compiled twice when they are refilled. The distance and its gradient to the
    pixels are one function with no autograd around it: the compiler takes no derivative of a derivative, but traces
    both of torch.func's. Reverse over reverse computes the gradient of the weights once, for value and pixels; forward
    mode saves nothing here, and fails in group norm on channels-last maps.
    """

    def loss(weights: Weights, images: Tensor, labels: Tensor) -> Tensor:
        # Batch norm changes its running statistics in place, which torch.func allows with copies only.
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        logits = torch.func.functional_call(network, weights | buffers, (images,))
        return F.cross_entropy(logits.to(images.dtype), labels)

    def gradients(images: Tensor, weights: Weights, labels: Tensor) -> Weights:
        found: Weights = torch.func.grad(loss)(weights, images, labels)
        return found

    def distances(images: Tensor, weights: Weights, labels: Tensor, real: Weights) -> Tensor:
        return distance(real, gradients(images, weights, labels))

    return Matching(gradients, torch.func.grad_and_value(distances))
