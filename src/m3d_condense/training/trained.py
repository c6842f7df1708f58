"""A trained network and all that is known of it, in one safetensors file.

Shapes: N images of C×H×W pixels, K classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from m3d_condense import networks
from m3d_condense.machine.engine import at_once
from m3d_condense.recipes.given import Architecture, checked
from m3d_condense.recipes.names import imports_code
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.files import check_file, open_tensors, plain_json, read_tensors, write_file_atomic
from m3d_condense.tools.locks import check_writable
from m3d_condense.training.augment import constants_problem, normalised
from m3d_condense.training.trainer import check_converged, classes_of

FORMAT_VERSION = 1
KEY = "m3d_condense"  # of the metadata of a safetensors file
AGAIN = "train the network again"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A network that was trained on a condensed set or a data set.

    Attributes:
        network: on the CPU, for evaluation: takes normalised images N×C×H×W to logits N×K.
        architecture: its name, as `networks.build` takes it.
        channels, size: C, and (H, W) in pixels, of the images that it takes.
        class_names: K names in the order of the logits.
        mean, std: of the normalisation, per channel, of values in [0, 1].
        accuracy: on the test images, percent.
        protocol: name of how it was trained.
        settings: all of the training's settings, seed and versions.
        trained_on: "name", "images" and "fingerprint" of the training images.
        tested_on: the same of the test images.
        seconds: that the training and the test took.
        created: ISO 8601 time, UTC.

    Raises:
        UserError: the mean and std cannot normalise images of so many channels.
    """

    network: nn.Module
    architecture: str
    channels: int
    size: tuple[int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    accuracy: float
    protocol: str
    settings: dict[str, Any]
    trained_on: dict[str, Any]
    tested_on: dict[str, Any]
    seconds: float
    created: str

    def __post_init__(self) -> None:
        for name in ("settings", "trained_on", "tested_on"):
            object.__setattr__(self, name, plain_json(name, getattr(self, name)))
        problem = constants_problem(self.mean, self.std, self.channels)
        if problem:
            raise UserError(problem)

    def __repr__(self) -> str:
        trained, tested = self.trained_on.get("name"), self.tested_on.get("name")
        return f"TrainedNetwork({self.architecture}, trained on {trained}: {self.accuracy:.1f} % on {tested})"

    def normalise(self, images: Tensor) -> Tensor:
        """Return images …×C×H×W, uint8 or floats in [0, 1], as the network is to see them.

        Raises:
            UserError: for images of another shape or type.
        """
        shape = (self.channels, *self.size)
        if isinstance(images, Tensor) and tuple(images.shape[-3:]) != shape:
            raise UserError(f"images of {tuple(images.shape)} do not fit: the network takes (N, *{shape})")
        return normalised(images, self.mean, self.std)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return the labels N, int64, of images N×C×H×W, uint8 or floats in [0, 1].

        Raises:
            UserError: for images of another shape or type; where the network's logits are no numbers.
        """
        device = next(self.network.parameters()).device
        inputs = self.normalise(images.to(device) if isinstance(images, Tensor) else images)
        if inputs.ndim != 4:
            raise UserError(f"images of {tuple(inputs.shape)} do not fit: a batch of N×C×H×W is wanted")
        parts = (inputs,) if self.network.training else torch.split(inputs, at_once(inputs, device))
        labels = torch.cat([classes_of(self.network(part)) for part in parts])
        check_converged(labels)
        return labels

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the weights, and as the file's metadata all else; a file at `path` is replaced.

        Raises:
            UserError: the network holds what is no tensor.
            OSError: the system cannot write; what was at `path` is still there.
        """
        state = self.network.state_dict()
        wrong = [name for name, value in state.items() if not isinstance(value, Tensor)]
        if wrong:
            raise UserError(f"the network's {wrong[0]} is no tensor, which cannot be stored; leave it out of its state")
        tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
        known = {name: getattr(self, name) for name in STORED_TYPES}
        text = json.dumps({"format_version": FORMAT_VERSION} | known)
        write_file_atomic(Path(path), safetensors.torch.save(tensors, {KEY: text}))
        return Path(path)


STORED_TYPES: dict[str, Any] = {
    name: hint
    for name, hint in get_type_hints(TrainedNetwork).items()
    if name in {field.name for field in fields(TrainedNetwork)} - {"network"}
}
"""What the metadata holds beside the format version, and the type of each."""


@checked
def load_network(path: str | Path, *, network: Architecture | None = None) -> TrainedNetwork:
    """Read the file that `TrainedNetwork.save` wrote; nothing in it is executed or unpickled.

    Args:
        path: the file.
        network: the architecture, for a file whose network is a ``module:callable``, which no file may import.

    Raises:
        UserError: the file holds no such network, is of a newer format, or damaged.
    """
    assert network is None or isinstance(network, str)  # `checked` has named it
    file = Path(path)
    tensors, metadata = read_tensors(file)
    known = _known(file, metadata)
    name = network or known["architecture"]
    if network is None and imports_code(name):
        raise UserError(
            f"{file}: its network is code, which no file may import; give {Setting('network', name)} yourself"
        )
    made = networks.build(name, channels=known["channels"], num_classes=len(known["class_names"]), size=known["size"])
    try:
        made.load_state_dict(tensors)
    except RuntimeError:
        raise UserError(f"{file}: its weights are not those of {name} for its images and classes; {AGAIN}") from None
    return TrainedNetwork(network=made.eval(), **known | {"architecture": name})


def is_trained_network(path: Path) -> bool:
    """Tell whether a file is one that `TrainedNetwork.save` wrote; its weights are not read."""
    try:
        with open_tensors(path) as stored:
            return KEY in (stored.metadata() or {})
    except (OSError, SafetensorError):
        return False


def check_target(path: Path, overwrite: bool) -> None:
    """Raise `UserError` unless a trained network may be written to `path`: call it before the training."""
    check_free(path, overwrite)
    check_writable(path)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise `UserError` as `check_target` does, but for a path that this process holds."""
    check_file(path, "trained network", is_trained_network, overwrite=overwrite)


def _refuse(constant: str) -> None:
    """Raise `ValueError` for NaN and Infinity, which Python reads, and which are no JSON."""
    raise ValueError(f"JSON is malformed: {constant}")


def _known(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Return what the metadata say, checked against `STORED_TYPES`."""
    if KEY not in metadata:
        raise UserError(f"{file} holds no network that m3d train wrote; give one of those")
    try:
        content = msgspec.convert(json.loads(metadata[KEY], parse_constant=_refuse), dict[str, Any])
        version = content.pop("format_version", None)
        if version != FORMAT_VERSION:
            remedy = "update with pip install -U m3d-condense" if isinstance(version, int) else AGAIN
            raise UserError(f"{file} has the format version {version!r}, not {FORMAT_VERSION}; {remedy}")
        known = {name: msgspec.convert(content[name], hint) for name, hint in STORED_TYPES.items()}
    except KeyError as error:
        raise UserError(f"{file} is damaged: it has no {error.args[0]!r}; {AGAIN}") from None
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: {error}; {AGAIN}") from None
    problem = constants_problem(known["mean"], known["std"], known["channels"])
    if problem is None and min(known["channels"], *known["size"]) < 1:
        problem = f"it takes images of {known['channels']} channels and {known['size']} pixels"
    if problem:
        raise UserError(f"{file} is damaged: {problem}; {AGAIN}")
    return known
