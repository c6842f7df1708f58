"""Networks that are not ours: a user's, by ``module:callable``, and timm's, by ``timm:NAME``.

Both are wrapped, so that they offer features and can be refilled from a seed. A refill makes the network anew and
copies what it holds, since only its own code knows how to initialise it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense.networks.trying import drawing, in_training
from m3d_condense.tools.errors import UserError


class Foreign(nn.Module):
    """Someone else's network, with features N×D: its own, or what its last linear layer is given.

    Its own are a method ``features(images)`` that returns N×D; a submodule of that name is not one.

    Args:
        name: what to call it in errors.
        make: makes the network; it must draw its weights from torch's global generator, and hold nothing else
            that is random.
        example: normalised images 2×C×H×W, to try it on.
        num_classes: K.
        features: takes the network and images to features, where there is a way of its own.

    Raises:
        UserError: where it does not take the images, one or several, or gives no logits N×K or no features N×D,
            at rest or in training, or no gradients; or where its weights do not follow from the seed, or
            its output at rest is drawn at random.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], object],
        example: Tensor,
        num_classes: int,
        features: Callable[[Any, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.name, self._make, self._example = name, make, example
        self._seen: Tensor | None = None
        self.network = self._drawn()
        own = getattr(self.network, "features", None)
        if features is None and callable(own) and not isinstance(own, nn.Module):
            features = _own_features
        self._features = features
        with torch.no_grad():
            last = self._last(num_classes)
            if features is None:
                last.register_forward_pre_hook(self._see)
            for images in (example, example[:1]):
                self.feature_size = self._tried(images, num_classes)
            self._check_repeatable()
        self._tried_in_training(num_classes)
        self.train()

    def features(self, images: Tensor) -> Tensor:
        """Return features N×D of normalised images N×C×H×W."""
        if self._features is not None:
            return self._features(self.network, images)
        self.network(images)
        seen, self._seen = self._seen, None
        assert seen is not None
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Return logits N×K for normalised images N×C×H×W."""
        logits: Tensor = self.network(images)
        self._seen = None
        return logits

    def refill(self) -> None:
        """Make the network anew, and copy its parameters and buffers into the tensors in place."""
        made = self._made()
        if made is self.network:
            raise self._refusal("it returned the same network twice; make a new one in each call")
        self.network.load_state_dict(made.state_dict())

    def code(self) -> str:
        """Return a digest of the text of the modules that the network is of, and of the shapes of what it holds."""
        modules = sorted({type(self.network).__module__, self.name.partition(":")[0]})
        shapes = [f"{name}: {tuple(value.shape)}" for name, value in self.network.state_dict().items()]
        text = "\n".join([*map(_text_of, modules), *shapes])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _made(self) -> nn.Module:
        network = self._guarded(lambda _: self._make())
        if not isinstance(network, nn.Module):
            raise self._refusal(f"it must return an nn.Module, not {type(network).__name__}")
        if any(torch.nn.parameter.is_lazy(parameter) for parameter in network.parameters()):
            with torch.no_grad():
                self._guarded(network.eval())
        return network

    def _last(self, num_classes: int) -> nn.Module:
        """Return the last linear layer that made the logits of the example."""
        called: list[nn.Module] = []
        linears = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        hooks = [module.register_forward_hook(lambda module, *_: called.append(module)) for module in linears]
        self._logits(self.network.eval(), self._example, num_classes)
        for hook in hooks:
            hook.remove()
        if self._features is None and not called:
            raise self._refusal(
                "it calls no nn.Linear whose input could be the features;"
                " give it a method features(images) that returns N×D"
            )
        return called[-1] if called else self.network

    def _tried(self, images: Tensor, num_classes: int, mode: str = "") -> int:
        """Check the logits and the features of images, and return D; errors say the mode."""
        self._logits(self, images, num_classes, mode)
        found = self._guarded(self.features, images, mode)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            raise self._refusal(
                f"{mode}features must be N×D, but for images {_shape(images)} they are {_shape(found)};"
                " give the network a method features(images) that returns N×D"
            )
        return found.shape[1]

    def _drawn(self) -> nn.Module:
        """Make the network from a seed; raise `UserError` where its weights do not follow from that."""

        def made() -> nn.Module:
            with drawing(self, 0):
                return self._made()

        network = made()
        first, second = network.state_dict(), made().state_dict()
        same = first.keys() == second.keys() and all(
            torch.equal(value.nan_to_num(), second[name].nan_to_num())
            for name, value in first.items()
            if isinstance(value, Tensor)
        )
        if not same:  # runs would differ, and so would processes
            raise self._refusal(
                "its weights are drawn by other means than torch's own, and do not follow from the seed"
            )
        return network

    def _check_repeatable(self) -> None:
        """Refuse a network that draws at random at rest: neither a step nor a score could be repeated."""

        def output(seed: int) -> Tensor:
            with drawing(self, seed):
                return torch.cat([self.features(self._example), self(self._example)], dim=1)

        if not torch.allclose(output(0), output(1), rtol=1e-3, atol=1e-5, equal_nan=True):
            said = (
                "at rest, after eval(), its output differs from call to call; have it draw at random in training alone"
            )
            raise self._refusal(f"{said}, as F.dropout does with training=self.training")

    def _tried_in_training(self, num_classes: int) -> None:
        """Check the example once more in training mode, with gradients."""
        images = self._example.clone().requires_grad_()
        with in_training(self), torch.enable_grad():
            self.train()
            self._tried(images, num_classes, "in training mode ")
            logits = self._logits(self, images, num_classes)
        if not logits.requires_grad:
            raise self._refusal("its forward cuts gradients off; take torch.no_grad and detach out of it")

    def _logits(self, network: nn.Module, images: Tensor, num_classes: int, mode: str = "") -> Tensor:
        """Return the logits of images, checked."""
        logits = self._guarded(network, images, mode)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), num_classes):
            wanted = f"logits of {len(images)}×{num_classes} for images {_shape(images)}"
            raise self._refusal(f"{mode}its forward must return {wanted}, not {_shape(logits)}")
        return logits

    def _refusal(self, said: str) -> UserError:
        return UserError(said, setting="network", value=self.name)

    def _see(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    def _guarded(self, function: Callable[[Tensor], object], images: Tensor | None = None, mode: str = "") -> object:
        """Apply someone else's code to images, by default the example; whatever it raises becomes one line."""
        images = self._example if images is None else images
        try:
            return function(images)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise self._refusal(f"{mode}on images {_shape(images)}: {_line(error)}") from error


def from_callable(name: str, *, channels: int, num_classes: int, size: tuple[int, int]) -> Foreign:
    """Wrap the network that ``module:callable`` makes when called with channels=, num_classes= and size=.

    The module is imported as any other; the working folder is looked in last.

    Raises:
        UserError: where the import fails, or what it makes is not a network for these images (see `Foreign`).
    """
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        function = attrgetter(attribute)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # importing runs the user's code
        raise UserError(
            f"cannot be imported as module:callable: {_line(error)}", setting="network", value=name
        ) from error
    if not callable(function):
        raise UserError(f"{attribute} is not callable, but {type(function).__name__}", setting="network", value=name)
    make = partial(function, channels=channels, num_classes=num_classes, size=size)
    return Foreign(name, make, _example(channels, size), num_classes)


def from_timm(name: str, *, channels: int, num_classes: int, size: tuple[int, int]) -> Foreign:
    """Wrap timm's network ``timm:NAME``, without trained weights; features are those before its classifier.

    Networks whose shape follows the images, such as vision transformers, are told their size.

    Raises:
        UserError: where timm is not installed, does not know the name, or its network cannot take these images.
    """
    try:
        timm = importlib.import_module("timm")
    except Exception as error:  # a torchvision that does not fit this torch raises a RuntimeError
        hint = "pip install timm, with a torchvision made for this torch"
        raise UserError(f"timm cannot be imported ({_line(error)}): {hint}", setting="network", value=name) from error
    architecture = name.removeprefix("timm:")
    if not timm.is_model(architecture):
        raise UserError(
            f"timm has no {architecture!r}{did_you_mean(architecture, timm.list_models())}",
            setting="network",
            value=name,
        )

    def make() -> object:
        try:
            return timm.create_model(architecture, in_chans=channels, num_classes=num_classes, img_size=size)
        except TypeError:  # most convolutional networks take any size, and no such argument
            return timm.create_model(architecture, in_chans=channels, num_classes=num_classes)

    return Foreign(name, make, _example(channels, size), num_classes, _timm_features)


def did_you_mean(name: str, names: list[str]) -> str:
    """Return what an error says after an unknown name: the nearest known ones in brackets, if any is near."""
    near = difflib.get_close_matches(name, names)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _own_features(network: Any, images: Tensor) -> Tensor:
    features: Tensor = network.features(images)
    return features


def _timm_features(network: Any, images: Tensor) -> Tensor:
    features: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)
    return features


def _example(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))


def _text_of(module: str) -> str:
    """Return the text of a module that is imported; nothing where that is not at hand."""
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return ""


def _shape(value: object) -> str:
    return "×".join(str(side) for side in value.shape) if isinstance(value, Tensor) else type(value).__name__


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
