"""Networks by name, their random initialisation, and what one must offer to be used as an encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from m3d_condense.machine.memory import check_room
from m3d_condense.networks.convnet import ConvNet
from m3d_condense.networks.densenet import DenseNet
from m3d_condense.networks.foreign import Foreign, did_you_mean, from_callable, from_timm
from m3d_condense.networks.layers import NORMS
from m3d_condense.networks.resnet import ResNet
from m3d_condense.networks.trying import drawing, state_kept
from m3d_condense.recipes.names import imports_code
from m3d_condense.tools.errors import UserError

NAMES = ("convnet", "resnet10", "resnet18", "resnetap10", "densenet121")


def build(name: str, *, channels: int, num_classes: int, size: tuple[int, int]) -> nn.Module:
    """Build a network for images C×H×W by name.

    Of normalised images it gives `features` N×D, D being its `feature_size`, and, when called, logits N×K. Those of
    this package also have `maps`, of every block before its pooling, `features_of`, which takes the last of them to
    the features, and a `classifier` that takes the features to the logits.

    - ``convnet`` (its depth follows the side), ``convnetD`` with the depth D, ``resnet10``, ``resnet18``,
      ``resnetap10``, ``densenet121``; a width may follow, the maps of the first stage, or for a DenseNet the growth,
      and then a norm, else instance norm: ``convnet3-batch``, ``convnet-width64``, ``resnet10-width32-batch``,
      ``densenet121-growth12-batch``. The last two are what public code of this field calls "resnet10" on CIFAR and
      "densenet";
    - ``timm:NAME``, where timm is installed;
    - ``module:callable``, a user's: called with channels=, num_classes= and size=, it returns an nn.Module.

    Raises:
        UserError: for an unknown name, images too small for the network, or a user's network that is none.
    """
    if not isinstance(name, str):
        raise UserError("a name", setting="network", value=name)
    shape = {"channels": channels, "num_classes": num_classes, "size": size}
    with state_kept(), torch.inference_mode(False):  # the weights are drawn by `initialise`
        if name.startswith("timm:"):
            return from_timm(name, **shape)  # type: ignore[arg-type]
        if ":" in name:
            return from_callable(name, **shape)  # type: ignore[arg-type]
        return _ours(name, channels, num_classes, size)


def _ours(name: str, channels: int, num_classes: int, size: tuple[int, int]) -> nn.Module:
    kind, *options = name.lower().split("-")
    convnet = re.fullmatch(r"convnet(\d*)", kind)
    if convnet is None and kind not in NAMES:
        known = f"{', '.join(NAMES)}, convnetD with the depth D, module:callable or timm:NAME"
        raise UserError(f"unknown network {name!r}{did_you_mean(kind, list(NAMES))}: it may be {known}")
    wide = "growth" if kind == "densenet121" else "width"
    number = re.fullmatch(rf"{wide}([1-9]\d*)", options[0]) if options else None
    width = int(number[1]) if number else None
    norm = "-".join(options[1:] if number else options) or "instance"
    if norm not in NORMS or name.endswith("-"):
        may = f"its norm may be {', '.join(NORMS)}, as in {kind}-batch, and before it may stand -{wide}N"
        raise UserError(f"unknown network {name!r}: {may}")
    if width is not None:  # the least of the networks that wide: two layers, and their gradients and momentum
        check_room(3 * 4 * 9 * 2 * width**2, "network", name)
    try:
        if convnet is not None:
            depth = int(convnet[1]) if convnet[1] else natural_depth(size)
            return ConvNet(channels, num_classes, size, depth=depth, width=width or 128, norm=norm)
        if kind == "densenet121":
            return DenseNet(channels, num_classes, size, growth=width or 32, norm=norm)
        layers = (2, 2, 2, 2) if kind == "resnet18" else (1, 1, 1, 1)
        pooled = kind == "resnetap10"
        return ResNet(channels, num_classes, size, layers=layers, width=width or 64, norm=norm, pooled=pooled)
    except ValueError as error:
        raise UserError(f"{error}", setting="network", value=name) from None


def code_of(network: nn.Module) -> dict[str, str]:
    """Return what tells a network from another of its name in the cache: its code's digest, where it is not ours."""
    return {"code": network.code()} if isinstance(network, Foreign) else {}


def code_named(name: str, *, channels: int, num_classes: int, size: tuple[int, int]) -> dict[str, str]:
    """Return the digest of the code that a user's ``module:callable`` is of, as "code"; nothing of other networks.

    Raises:
        UserError: as `build`.
    """
    shape = {"channels": channels, "num_classes": num_classes, "size": size}
    return code_of(build(name, **shape)) if imports_code(name) else {}  # type: ignore[arg-type]


def natural_depth(size: tuple[int, int]) -> int:
    """Return the depth that ends in maps of about 4×4: 3 at 28 and 32, 4 at 64, 5 at 128, at least 1."""
    return max((min(size) + 4).bit_length() - 3, 1)


def initialise(network: nn.Module, seed: int) -> None:
    """Refill every parameter and buffer in place from the network's own initialisation, a function of the seed alone.

    That is PyTorch's default for ConvNet, He-normal convolutions for ResNet and DenseNet, and for others whatever they
    do when they are made. Modules draw from torch's global generator, whose state is put back afterwards; those of
    this package draw on the CPU, so that a seed makes the same network on every device.
    """
    with drawing(network, seed):
        if isinstance(network, Foreign):
            network.refill()
            return
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is None:
                assert not [*module.parameters(recurse=False)], f"{type(module).__name__} draws its weights but once"
            else:
                with _on_cpu(module):
                    reset()


@contextmanager
def _on_cpu(module: nn.Module) -> Iterator[None]:
    """Hold a module's own parameters on the CPU, and copy what they have become to where they were."""
    placed = [(parameter, parameter.data) for parameter in module.parameters(recurse=False)]
    for parameter, there in placed:
        parameter.data = torch.empty(there.shape, dtype=there.dtype)
    try:
        yield
    finally:
        for parameter, there in placed:
            parameter.data = there.copy_(parameter.data)


def mixes_images(network: nn.Module) -> bool:
    """Whether the features of an image depend on the other images of its batch, now: through batch statistics.

    So does batch norm while it is training, or always where it keeps no running statistics. Batches of such a network
    must not be split into pieces or filled up. It is looked for as a module; what else a user's network may do
    with a batch is not seen.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return any(norm.training or norm.running_mean is None for norm in norms)


def draws(network: nn.Module) -> bool:
    """Whether a network may draw at random while it is trained, as by dropout: any that is not ours."""
    return isinstance(network, Foreign)


def set_encoding(network: nn.Module) -> None:
    """Put a network in the mode in which it encodes: batch norm by the statistics of its batch, all else at rest.

    So the features follow from the weights and the batch alone: nothing is dropped at random.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
