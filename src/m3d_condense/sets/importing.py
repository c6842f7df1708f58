"""Sets that public code has made, read from its ``.pt`` files as condensed sets: scored like ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from m3d_condense.machine.environment import describe_environment
from m3d_condense.recipes.given import checked
from m3d_condense.sets.condensed import IMPORTED, CondensedSet
from m3d_condense.sets.layouts import Content
from m3d_condense.sets.soft import SoftLabels, are_probabilities
from m3d_condense.sets.tiles import has_room
from m3d_condense.sets.values import ZCA, Constants, Meaning, eight_bit
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

CLOSE = 0.01  # of moments that two computations give, or that are written with two digits


@dataclass(frozen=True, kw_only=True, eq=False)
class Real:
    """The data set that a file was condensed from.

    Attributes:
        class_names: in the order of the labels.
        mean, std: of its training images, see `CondensedSet`; None where only the names are known.
        images: its training images, uint8, for whitening.
        source: see `CondensedSet`.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    images: Tensor | None = None
    source: dict[str, Any]


@checked
def import_set(
    content: Content,
    file: Path,
    real: Callable[[], Real],
    *,
    pixels: Meaning | None = None,
    factor: int | None = None,
    hard_labels: bool = False,
) -> CondensedSet:
    """Make a condensed set of what a file of public code holds.

    Args:
        content: of the file, see `read_layout`.
        file: where that came from; its name and SHA-256 are stored.
        real: returns the data set it was condensed from; called after all that can be checked without it.
        pixels: what the values mean.
        factor: l, where each image holds l×l tiles; None as the file says, or for layouts that never have tiles, 1.
        hard_labels: leave soft labels out, and take the likeliest class of each.

    Raises:
        UserError: the values, the tiles or the labels could mean more than one thing; the message names the settings.
    """
    pixels = pixels or Meaning()
    _check_meaning(content, file, pixels)
    tiles = _factor(content, file, factor)
    labels = _hard(content.labels, content.labels_file or file, hard_labels)
    with _about(content.labels_file or file):
        soft = None if hard_labels else _soft(content, file, tiles)
    images, meaning = eight_bit(content.images, file, pixels, lambda: real().images, content.levels)
    settings: dict[str, Any] = {"layout": content.layout, "file": file.name, "sha256": _digest(file), "pixels": meaning}
    if content.bits is not None:
        settings["bits"] = content.bits
    known = real()
    _check_classes(content, file, known)
    mean, std = _moments(images, content, pixels, known)
    versions, hardware = describe_environment()
    with _about(file, content.labels_file):
        return CondensedSet(
            images=images,
            labels=labels,
            method=IMPORTED,
            class_names=known.class_names,
            factor=tiles,
            mean=mean,
            std=std,
            source=known.source,
            seed=0,
            settings=settings | {"labels": "hard" if content.labels.ndim == 1 else "the likeliest of soft ones"},
            soft_labels=soft,
            versions=versions,
            hardware=hardware,
            seconds=0.0,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


@contextmanager
def _about(*files: Path | None) -> Iterator[None]:
    """Have an error say which files it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{' with '.join(str(file) for file in files if file is not None)}: {error}") from None


def _check_meaning(content: Content, file: Path, pixels: Meaning) -> None:
    """Raise `UserError` where the values are said to be normalised otherwise than the file says."""
    told, name = pixels.constants, "mean" if pixels.reading is None else "normalised"
    value = pixels.mean if pixels.reading is None else pixels.reading
    if content.levels and (told is not None or pixels.reading == ZCA):
        raise UserError(f"{file} says that it holds levels, not normalised; leave it out", setting=name, value=value)
    if told is None or content.mean is None or content.std is None:
        return
    stated = *content.mean, *content.std
    if any(abs(a - b) > CLOSE for a, b in zip((*told[0], *told[1]), stated, strict=False)):
        raise UserError(
            f"{file} says mean {content.mean} and std {content.std}; leave it out", setting=name, value=value
        )


def _check_classes(content: Content, file: Path, real: Real) -> None:
    """Raise `UserError` where the classes are others, or in another order, than those that the file names."""
    if content.class_names is None:
        return
    for number, (own, given) in enumerate(zip_longest(content.class_names, real.class_names, fillvalue="none")):
        if own != given:
            raise UserError(
                f"{file} says that class {number} is {own}, and what is given, that it is {given}: leave "
                f"{Setting('classes')} out, or give the data set that it was condensed from"
            )


def _factor(content: Content, file: Path, given: int | None) -> int:
    if given is not None:
        if not has_room((content.images.shape[2], content.images.shape[3]), given):
            raise UserError("does not fit the images of the file", setting="factor", value=given)
        if content.factor not in (None, given):
            held = f"{content.factor}×{content.factor} tiles each" if content.factor != 1 else "whole images"
            raise UserError(f"{file} says that it holds {held}; leave it out", setting="factor", value=given)
        return given
    if content.factor is not None:
        return content.factor
    if content.layout == "pair":
        raise UserError(
            f"{file} does not say whether its images hold tiles: IDC, DREAM, DANCE and NCFM store 2×2, or 3×3 of large "
            f"ones, in each ({Setting('factor', 2)}), or whole images ({Setting('factor', 1)})"
        )
    if content.layout == "experiments":
        notice(f"{file}: taken for whole images; IDM's hold 2×2 tiles each, which {Setting('factor', 2)} says")
    return 1


def _hard(labels: Tensor, file: Path, hard_labels: bool) -> Tensor:
    """Return a class for each image: of soft labels the likeliest."""
    if labels.ndim == 1:
        return labels
    if not hard_labels and not are_probabilities(labels):
        raise UserError(
            f"{file}: its labels are soft, {labels.shape[1]} numbers each, and no probabilities, which a condensed set "
            f"holds; {Setting('hard_labels', True)} takes the likeliest class, and scores then differ from those with "
            "soft labels"
        )
    return labels.argmax(dim=1)


def _soft(content: Content, file: Path, factor: int) -> SoftLabels | None:
    """Return the probabilities of the decoded images, where the file has others than a class for each."""
    found = content.soft
    if found is None and content.labels.ndim == 2 and not ((content.labels == 0) | (content.labels == 1)).all():
        found = content.labels.repeat_interleave(factor**2, dim=0)
    return None if found is None else SoftLabels.of(found, {"file": file.name})


def _moments(images: Tensor, content: Content, pixels: Meaning, real: Real) -> Constants:
    """Return what networks normalise by: what the file says, else the moments of the real data, else those told.

    Where nothing of these is known, it is the moments of the images.
    """
    for mean, std in ((content.mean, content.std), (real.mean, real.std), pixels.constants or (None, None)):
        if mean is not None and std is not None:
            return mean, std
    notice("The moments of the real images are unknown: networks will normalise by those of the imported ones")
    values = images.float().div(255).transpose(0, 1).flatten(1)
    return tuple(values.mean(dim=1).tolist()), tuple(value or 1.0 for value in values.std(dim=1).tolist())


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
