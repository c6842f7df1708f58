"""The condensed set: a few images per class, all that is known of their making, and their scores, on disk.

Shapes: N images, K classes, C×H×W pixels, l factor.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import torch
from safetensors.torch import save
from torch import Tensor

from m3d_condense.sets.card import card
from m3d_condense.sets.preview import preview
from m3d_condense.sets.tiles import decode
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError

FORMAT_VERSION = 1
IMAGES, META, CARD, PREVIEW = "images.safetensors", "condensed.json", "README.md", "preview.png"
OURS = {IMAGES, META, CARD, PREVIEW, "report.html"}
AGAIN = "fetch or make the set again"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Test accuracy of n networks trained from scratch on a condensed set: one line of its `scores`.

    Attributes:
        network, protocol: their names.
        n: how many networks were trained.
        mean, std: of the accuracies, percent; `std` is the sample standard deviation, 0.0 when n is 1.
        accuracies: one a network, percent in [0, 100].
        settings: the protocol's settings, seed, data fingerprint, versions: enough to repeat it.
    """

    network: str
    protocol: str
    n: int
    mean: float
    std: float
    accuracies: list[float]
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        if self.n != len(self.accuracies) or not self.accuracies:
            raise UserError(f"a score of {self.n} networks has {len(self.accuracies)} accuracies")
        if not all(0 <= accuracy <= 100 for accuracy in self.accuracies):
            raise UserError(f"accuracies {self.accuracies} are not all percentages; give numbers in [0, 100]")
        object.__setattr__(self, "settings", files.plain_json("settings of a score", self.settings))

    @classmethod
    def of(cls, network: str, protocol: str, accuracies: Sequence[float], settings: dict[str, Any]) -> Score:
        """Make the score of these accuracies (percent), mean and standard deviation computed."""
        values = [float(accuracy) for accuracy in accuracies]
        return cls(
            network=network,
            protocol=protocol,
            n=len(values),
            mean=statistics.fmean(values) if values else 0.0,
            std=statistics.stdev(values) if len(values) > 1 else 0.0,
            accuracies=values,
            settings=settings,
        )


@dataclass(kw_only=True, eq=False)
class CondensedSet:
    """A condensed set, as it is stored and as it is evaluated.

    The settings and other dictionaries are kept as JSON would give them back (tuples become lists).

    Attributes:
        images: N×C×H×W uint8, C 1 or 3: the canonical form.
        labels: N int64 in [0, K); every class has at least one image.
        class_names: K names in the order of the labels.
        factor: l; each stored image holds l×l tiles.
        mean, std: the source's normalisation, per channel, of values in [0, 1].
        method: name of what made it.
        settings: every setting of the run, enough to repeat it.
        source: the arguments of `m3d_condense.load`, and its "name" and "fingerprint".
        seed: of the run.
        versions, hardware: what it ran on, see `describe_environment`.
        seconds: the run's duration.
        steps: of the loop that were done; fewer than its iterations where a time limit stopped it.
        created: ISO 8601 time, UTC.
        history: the run's logged steps, {"step": …, "loss": …, "seconds": …}; numbers that are not finite are
            stored as null and load as NaN.
        scores: newest last.

    Raises:
        UserError: the parts do not fit together; the message says which.
    """

    images: Tensor
    labels: Tensor
    method: str
    class_names: tuple[str, ...]
    factor: int = 1
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: dict[str, Any]
    seed: int
    settings: dict[str, Any]
    versions: dict[str, str]
    hardware: dict[str, Any]
    seconds: float
    steps: int = 0
    created: str
    history: list[dict[str, float]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.images, self.labels = self.images.cpu().contiguous(), self.labels.cpu().contiguous()
        self.class_names = tuple(self.class_names)
        self.mean, self.std = tuple(map(float, self.mean)), tuple(map(float, self.std))
        for name in ("settings", "source", "versions", "hardware"):
            setattr(self, name, files.plain_json(name, getattr(self, name)))
        problem = _tensor_problem(self.images, self.labels) or self._class_problem() or self._number_problem()
        if problem:
            raise UserError(problem)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def ipc(self) -> int:
        """Images per class; the fewest where classes differ."""
        return int(self.labels.bincount(minlength=self.num_classes).min())

    @property
    def nbytes(self) -> int:
        """Bytes the stored pixels take."""
        return self.images.nbytes

    def decode(self) -> tuple[Tensor, Tensor]:
        """Return what a network trains on: float32 (N·l²)×C×H×W in [0, 1] and int64 labels N·l².

        The tiles of one stored image follow one another.
        """
        labels = self.labels.repeat_interleave(self.factor**2)
        return decode(self.images.float() / 255, self.factor), labels

    def save(self, path: str | Path) -> Path:
        """Write the set as the folder `path`, whole or not at all, over an older set there.

        Raises:
            UserError: `path` is a file, or holds anything but a condensed set.
            OSError: the system cannot write; what was at `path` is still there.
        """
        tensors = {"images": self.images, "labels": self.labels}
        with files.write_folder(Path(path), replaceable=_is_only_condensed) as folder:
            (folder / IMAGES).write_bytes(save(tensors, metadata={"format_version": str(FORMAT_VERSION)}))
            (folder / META).write_text(self._json(), encoding="utf-8")
            (folder / CARD).write_text(card(self), encoding="utf-8")
            preview(self).save(folder / PREVIEW)
        return Path(path)

    @staticmethod
    def check_target(path: str | Path) -> None:
        """Raise `UserError` if `save` would refuse `path`: call it before the run, not after."""
        files.check_folder(Path(path), _is_only_condensed)

    @classmethod
    def load(cls, path: str | Path) -> CondensedSet:
        """Read the folder that `save` wrote; nothing in it is executed or unpickled.

        Raises:
            UserError: `path` is no condensed set, of a newer format, or damaged; the message names the file.
        """
        folder = Path(path)
        meta = _read_meta(folder)
        images, labels = _read_images(folder / IMAGES, meta.pop("shape"))
        try:
            meta["scores"] = [Score(**score) for score in meta["scores"]]
            meta["history"] = [
                {key: math.nan if value is None else value for key, value in step.items()} for step in meta["history"]
            ]
            return cls(images=images, labels=labels, **meta)
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{folder / META} is damaged: {error}; {AGAIN}") from None

    def add_score(self, score: Score, path: str | Path | None = None) -> None:
        """Append `score`; with `path`, also to the set stored there, whose images are left untouched.

        Scores that another process stored there in the meantime are kept, before the new one.

        Raises:
            UserError: `path` does not hold this set.
        """
        if path is not None:
            stored = CondensedSet.load(path)
            if not (torch.equal(stored.images, self.images) and torch.equal(stored.labels, self.labels)):
                raise UserError(f"{path} holds another set than the one scored; give the folder of that one")
            self.scores += [other for other in stored.scores if other not in self.scores]
        self.scores.append(score)
        if path is not None:
            files.write_file_atomic(Path(path) / META, self._json())
            files.write_file_atomic(Path(path) / CARD, card(self))

    def _json(self) -> str:
        content = {"format_version": FORMAT_VERSION, "shape": list(self.images.shape)}
        content |= {name: getattr(self, name) for name in _stored_types() if name != "shape"}
        content["history"] = [
            {key: value if math.isfinite(value) else None for key, value in step.items()} for step in self.history
        ]
        content["scores"] = [asdict(score) for score in self.scores]
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _class_problem(self) -> str | None:
        if not all(isinstance(name, str) for name in self.class_names):
            return "class_names are not all text"
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.num_classes:
            return f"labels run from {low} to {high}, but there are {self.num_classes} class names"
        counts = self.labels.bincount(minlength=self.num_classes)
        if not counts.all():
            return f"class {self.class_names[int(counts.argmin())]!r} has no image"
        return None

    def _number_problem(self) -> str | None:
        channels, *size = self.images.shape[1:]
        if not len(self.mean) == len(self.std) == channels:
            return f"{len(self.mean)} means and {len(self.std)} deviations (std) for {channels} channels"
        if not all(map(math.isfinite, self.mean)) or not all(0 < value < math.inf for value in self.std):
            return f"mean {self.mean} and std {self.std} cannot normalise: not finite, or a std not above 0"
        if not 1 <= self.factor <= min(size):
            return f"factor {self.factor} does not fit images of {size[0]}×{size[1]} pixels"
        return None if math.isfinite(self.seconds) else f"seconds is {self.seconds}, not a duration"


def _stored_types() -> dict[str, tuple[Any, ...]]:
    """What condensed.json holds beside the format version, in order, and the types each may have there."""
    hints = get_type_hints(CondensedSet)
    stored = {"shape": list[int]} | {name: hint for name, hint in hints.items() if hint is not Tensor}
    in_json: dict[Any, tuple[Any, ...]] = {tuple: (list,), float: (int, float)}
    bases = {name: get_origin(hint) or hint for name, hint in stored.items()}
    return {name: in_json.get(base, (base,)) for name, base in bases.items()}


def is_condensed_set(path: str | Path) -> bool:
    """Tell whether a condensed set, complete or damaged, is at `path`."""
    return (Path(path) / META).is_file()


def _is_only_condensed(folder: Path) -> bool:
    return is_condensed_set(folder) and {entry.name for entry in folder.iterdir()} <= OURS


def _read_meta(folder: Path) -> dict[str, Any]:
    """Read condensed.json and check its format version, keys and types."""
    file = folder / META
    if not is_condensed_set(folder):
        raise UserError(f"{folder} is not a condensed set: it has no {META}; give the folder that m3d wrote")
    content = files.read_json(file)
    found = content.get("format_version")
    if found != FORMAT_VERSION:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        remedy = "update with pip install -U m3d-condense" if newer else AGAIN
        raise UserError(f"{file} has the format version {found}, not {FORMAT_VERSION}; {remedy}")
    for name, types in _stored_types().items():
        if not isinstance(content.get(name), types):
            state = "a wrong" if name in content else "no"
            raise UserError(f"{file} is damaged: it has {state} {name!r}; {AGAIN}")
    return {name: content[name] for name in _stored_types()}


def _read_images(file: Path, shape: list[int]) -> tuple[Tensor, Tensor]:
    """Read the images and labels, and check that they are of the set whose images have this shape."""
    tensors, metadata = files.read_tensors(file)
    if set(tensors) != {"images", "labels"} or metadata.get("format_version") != str(FORMAT_VERSION):
        raise UserError(f"{file} is not of a condensed set of format version {FORMAT_VERSION}; {AGAIN}")
    images, labels = tensors["images"], tensors["labels"]
    problem = _tensor_problem(images, labels)
    if problem:
        raise UserError(f"{file} is damaged: {problem}; {AGAIN}")
    if list(images.shape) != shape:
        raise UserError(f"{file} and {META} are not of one set; {AGAIN}")
    return images, labels


def _tensor_problem(images: Tensor, labels: Tensor) -> str | None:
    if images.dtype != torch.uint8 or labels.dtype != torch.int64:
        return f"images are {images.dtype} and labels {labels.dtype}, not uint8 and int64"
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        return f"images have the shape {tuple(images.shape)}, not N×C×H×W with C 1 or 3"
    if labels.shape != images.shape[:1]:
        return f"labels have the shape {tuple(labels.shape)}, not one for each of {len(images)} images"
    return None
