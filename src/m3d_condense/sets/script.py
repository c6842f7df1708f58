"""A condensed set's training as plain code: one file that needs PyTorch and not this package."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from safetensors import SafetensorError
from safetensors.torch import save

from m3d_condense import networks
from m3d_condense.data.dataset import Split
from m3d_condense.networks.convnet import ConvNet
from m3d_condense.recipes.augmentation import ALWAYS
from m3d_condense.recipes.protocols import PHOTOGRAPHS, Protocol, Training
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.tiles import tile_size
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import check_file, open_tensors, write_file_atomic
from m3d_condense.tools.locks import check_writable
from m3d_condense.training.augment import CROP, CUTOUT
from m3d_condense.training.photographs import EIGENVALUES, EIGENVECTORS, GREY, JITTER, LIGHT

TEMPLATE = "train.py.jinja"
MARK = "written by m3d export"  # in the first line of a script, and among the metadata of its images
LONGEST = 1000  # characters of a first line that are looked at


def write_script(
    condensed: CondensedSet,
    path: str | Path,
    *,
    folder: Path,
    test: Split,
    protocol: Protocol,
    network: str = "convnet",
    overwrite: bool = False,
) -> Path:
    """Write a script that trains a ConvNet on a set and tests it, and beside it the test images that it reads.

    It trains on soft labels where the set has them.

    The script reads the set from its folder, by the way there from its own, and imports torch and safetensors alone.
    The images are in NAME-test.safetensors for a script NAME.py: images, N×C×H×W uint8, and labels, N.

    Args:
        condensed: the set.
        path: of the script.
        folder: where the set is stored.
        test: the images that the network is tested on.
        protocol: how it is trained, as it is run on the set.
        network: a ConvNet of the usual width and norm; in place of any other, the script has the one for the size.
        overwrite: write over an older script of this kind and its images; over nothing else.

    Raises:
        UserError: for a `path` that is taken.
        OSError: the system cannot write.
    """
    script = Path(path)
    check_script(script, overwrite=overwrite)
    images = _images_of(script)
    text = _template().render(
        title=_plain(f"{condensed.source.get('name', 'unnamed')}, condensed by {condensed.method}"),
        folder=repr(_way(folder, script.parent)),
        test=repr(images.name),
        protocol=protocol,
        training=protocol.training,
        rates=_rates(protocol.training),
        soft=condensed.soft_labels is not None,
        mark=MARK,
        **_pictures(condensed),
        **_convnet(condensed, network),
        **_drawn(protocol.training),
    )
    tensors = {"images": test.images.contiguous(), "labels": test.labels.contiguous()}
    write_file_atomic(images, save(tensors, {MARK: script.name}))
    write_file_atomic(script, text)
    return script


def check_script(script: Path, *, overwrite: bool) -> None:
    """Raise `UserError` if `write_script` would refuse `script`: call it before anything that takes long."""
    for file, is_ours in ((script, _is_script), (_images_of(script), _is_images)):
        check_file(file, "script export", is_ours, overwrite=overwrite)
    check_writable(script)


def _images_of(script: Path) -> Path:
    return script.with_name(f"{script.stem}-test.safetensors")


def _is_script(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as text:
            return MARK in text.readline(LONGEST)
    except (OSError, UnicodeError):
        return False


def _is_images(file: Path) -> bool:
    try:
        with open_tensors(file) as stored:
            return MARK in (stored.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template(TEMPLATE)


def _pictures(condensed: CondensedSet) -> dict[str, Any]:
    """Return the numbers of the images: their sides, how they decode, how far they are shifted and cut out."""
    height, width = condensed.images.shape[2:]
    tile = tile_size((height, width), condensed.factor)
    hole = [int(side * CUTOUT + 0.5) for side in (height, width)]
    lows = [
        (side, -(size // 2), side + 1 - size % 2 - size // 2) for side, size in zip((height, width), hole, strict=True)
    ]
    return {
        "height": height,
        "width": width,
        "mean": list(condensed.mean),
        "std": list(condensed.std),
        "factor": condensed.factor,
        "bits": condensed.bits,
        "numbers": condensed.images[0].numel(),
        "tile": tile,
        "padding": [tile[0] * condensed.factor - height, tile[1] * condensed.factor - width],
        "reach": tuple(int(side * CROP + 0.5) for side in (width, height)),
        "hole": hole,
        "holes": tuple(lows),
    }


def _convnet(condensed: CondensedSet, name: str) -> dict[str, Any]:
    """Return the numbers of the ConvNet that this network is for the set's images."""
    _, channels, *size = condensed.images.shape
    known = name if re.fullmatch(r"convnet\d*", name) else "convnet"
    network = networks.build(known, channels=channels, num_classes=condensed.num_classes, size=(size[0], size[1]))
    assert isinstance(network, ConvNet)
    convolutions: list[Any] = [block[0] for block in network.blocks]  # type: ignore[index]
    return {
        "network": known,
        "blocks": [(layer.in_channels, layer.padding[0]) for layer in convolutions],
        "maps": convolutions[0].out_channels,
        "features": network.feature_size,
        "classes": condensed.num_classes,
    }


def _drawn(training: Training) -> dict[str, Any]:
    """Return the operations that are applied to every image, and those of which each image gets one."""
    augmentation = training.augmentation
    moved, windows = {"color", "crop", "scale", "rotate"}, set(PHOTOGRAPHS.without("flip").operations)
    if not any(some <= set(augmentation.operations) for some in (moved, windows)):
        raise UserError("no script can be written of a protocol without the augmentation of those that are here")
    always = [name for name in augmentation.operations if augmentation.draw == "idc" and name in ALWAYS]
    return {
        "always": always,
        "one_of": [name for name in augmentation.operations if name not in always],
        "jitter": JITTER,
        "light": LIGHT,
        "grey": GREY,
        "eigenvalues": EIGENVALUES,
        "eigenvectors": EIGENVECTORS,
    }


def _rates(training: Training) -> str:
    """Return the schedule of the rate as code."""
    if training.schedule == "one-cycle":
        return "OneCycleLR(optimizer, LR, total_steps=len(batches) + 1, cycle_momentum=False)"
    shares = [Fraction(share).limit_denominator(1000) for share in training.milestones]
    written = ", ".join(f"{share.numerator} / {share.denominator}" for share in shares)
    return f"MultiStepLR(optimizer, [round(at * len(batches)) or 1 for at in ({written},)], {training.decay})"


def _plain(text: str) -> str:
    """Return a text for a comment of the script: what could end it is left out."""
    return re.sub(r"[^\w .,:()+-]", "_", text)


def _way(folder: Path, start: Path) -> str:
    """Return the way from one folder to another, with / on every system; the whole path where there is none."""
    try:
        return Path(os.path.relpath(folder.resolve(), start.resolve())).as_posix()
    except ValueError:  # on another drive
        return folder.resolve().as_posix()
