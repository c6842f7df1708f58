"""The condensed set: a few images per class, all that is known of their making, and their scores.

Shapes: N images, K classes, C×H×W pixels, l factor.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from m3d_condense.recipes.given import check_ordered, checked, of_kind
from m3d_condense.recipes.problem import Problem
from m3d_condense.sets.bits import bits_of, bytes_of, in_bits
from m3d_condense.sets.checks import class_problem, flip_problem, pixel_problem, soft_problem, tensor_problem
from m3d_condense.sets.loading import augmentation_named, loader
from m3d_condense.sets.score import Score, with_newer
from m3d_condense.sets.soft import HARD, SOFT, SoftLabels, check_labels
from m3d_condense.sets.tiles import decode
from m3d_condense.tools import files
from m3d_condense.tools.errors import UserError
from m3d_condense.training.augment import Normalisation, constants_problem, normalised

__all__ = ["IMPORTED", "CondensedSet", "Score"]

KINDS = {"method": str, "factor": int, "seed": int, "seconds": float, "steps": int, "created": str}  # of its fields
IMPORTED = "imported"  # the method of sets that were made by other code


@dataclass(kw_only=True, eq=False)
class CondensedSet:
    """A condensed set, as it is stored and as it is evaluated.

    The settings and other dictionaries are kept as JSON would give them back (tuples become lists).

    Attributes:
        images: N×C×H×W uint8, C 1 or 3: the canonical form. Of fewer bits than 8, they hold the levels of these.
        labels: N int64 in [0, K); every class has at least one image.
        class_names: K names in the order of the labels.
        factor: l; each stored image holds l×l tiles.
        mean, std: the source's normalisation, per channel, of values in [0, 1].
        method: name of what made it; `IMPORTED` for one that was made by other code.
        settings: every setting of the run, enough to repeat it.
        source: the arguments of `m3d_condense.load`, and its "name" and "fingerprint".
        seed: of the run.
        versions, hardware: what it ran on, see `describe_environment`.
        seconds: the run's duration.
        steps: of the loop that were done; fewer than its iterations where a time limit stopped it.
        created: ISO 8601 time, UTC.
        history: the run's logged steps, {"step": …, "loss": …, "seconds": …}; where it was watched, also
            {"step": …, "accuracy": …, "seconds": …}, in percent. Numbers that are not finite are stored as null and
            load as NaN.
        scores: newest last.
        soft_labels: of the decoded images, beside the labels of the stored ones; None for a set without.

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
    soft_labels: SoftLabels | None = None

    def __post_init__(self) -> None:
        wrong = next((name for name in ("images", "labels") if not isinstance(getattr(self, name), Tensor)), None)
        if wrong is not None:
            raise UserError(f"{wrong} are a {type(getattr(self, wrong)).__name__}; give a tensor")
        for name, kind in KINDS.items():
            setattr(self, name, of_kind(name, getattr(self, name), kind))
        if not isinstance(self.versions, dict) or not all(isinstance(one, str) for one in self.versions.values()):
            raise UserError("the text of a version by name", setting="versions", value=self.versions)
        if not all(isinstance(score, Score) for score in self.scores):
            raise UserError("scores are what evaluate returns", setting="scores")
        self.images, self.labels = self.images.cpu().contiguous(), self.labels.cpu().contiguous()
        check_ordered("class_names", self.class_names)
        self.class_names = tuple(self.class_names)
        self.mean, self.std = tuple(map(float, self.mean)), tuple(map(float, self.std))
        for name in ("settings", "source", "versions", "hardware"):
            setattr(self, name, files.plain_json(name, getattr(self, name)))
        problem = (
            tensor_problem(self.images, self.labels)
            or class_problem(self.class_names, self.labels)
            or constants_problem(self.mean, self.std, self.images.shape[1])
            or pixel_problem(self.images, self.bits, self.factor)
            or (None if 0 <= self.seconds < math.inf else f"seconds is {self.seconds}, not a duration")
            or (None if self.steps >= 0 else f"steps is {self.steps}, not a number of them")
            or flip_problem(self.settings)
            or self._soft_problem(self.soft_labels)
        )
        if problem:
            raise UserError(problem)

    def __repr__(self) -> str:
        count, channels, height, width = self.images.shape
        images = f"{count:,} images of {channels}×{height}×{width}{in_bits(self.bits)}, {self.num_classes:,} classes"
        tiles = f", {self.factor}×{self.factor} tiles each" if self.factor > 1 else ""
        soft = "" if self.soft_labels is None else ", soft labels"
        return f"CondensedSet({self.method} of {self.source.get('name', 'unnamed')}: {images}{tiles}{soft})"

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def imported(self) -> bool:
        """Whether other code made it: its settings say which file it came from, not how to make it again."""
        return self.method == IMPORTED

    @property
    def maker(self) -> str:
        """What it was made by, in a sentence: a method, or other code."""
        return "other code" if self.imported else self.method

    @property
    def made_in(self) -> float | None:
        """The seconds that making it took; None where that is not known."""
        return None if self.imported else self.seconds

    @property
    def ipc(self) -> int:
        """Images per class; the fewest where classes differ."""
        return int(self.labels.bincount(minlength=self.num_classes).min())

    @checked
    def problem(self, *, mirrored: bool) -> Problem:
        """Return what settings may depend on; `mirrored` says whether a mirrored image keeps its class."""
        count, channels, *size = self.images.shape
        return Problem(
            ipc=self.ipc,
            side=min(size),
            channels=channels,
            num_classes=self.num_classes,
            mirrored=mirrored,
            stored=count,
        )

    @property
    def bits(self) -> int:
        """Bits that a channel of a stored pixel takes: 8, or 4, 2 or 1 of a set that was condensed to them."""
        return bits_of(self.settings)

    @property
    def nbytes(self) -> int:
        """Bytes the stored pixels take."""
        return bytes_of(tuple(self.images.shape), self.bits)

    def bytes_for(self, labels: str) -> int:
        """Return the bytes of what a network is trained on, as stored: pixels, and soft labels if it sees them.

        Raises:
            UserError: as of `decoded_labels`.
        """
        return self.nbytes + (self._soft().nbytes if self._takes_soft(labels) else 0)

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of all that a network is trained on: images, labels, factor, class names, normalisation.

        Soft labels have one of their own.
        """
        return self._digest(self.mean, self.std)

    def told_by(self, fingerprint: str) -> bool:
        """Whether a fingerprint is that of this set; those of old sets did not look at the normalisation."""
        return fingerprint == self.fingerprint or fingerprint == self._digest()

    def _digest(self, *constants: tuple[float, ...]) -> str:
        known = (tuple(self.images.shape), self.factor, self.class_names, *constants)
        digest = hashlib.sha256(repr(known).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.numpy().data)
        return f"sha256:{digest.hexdigest()}"

    def decode(self) -> tuple[Tensor, Tensor]:
        """Return what a network trains on: float32 (N·l²)×C×H×W in [0, 1] and int64 labels N·l².

        The tiles of one stored image follow one another.
        """
        return decode(self.images.float() / 255, self.factor), self.decoded_labels()

    def decoded_labels(self, labels: str = HARD) -> Tensor:
        """Return the labels of the images that `decode` gives: int64 N·l², or with "soft" float32 probabilities N·l²×K.

        Raises:
            UserError: for another kind of labels, or soft ones of a set that has none.
        """
        return self._soft().decode() if self._takes_soft(labels) else self.labels.repeat_interleave(self.factor**2)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images as a network that is trained on this set is to see them.

        Args:
            images: …×C×H×W, uint8 or floats in [0, 1], such as the source's test images, or those of `decode`.

        Returns:
            float32 …×C×H×W: (images - mean) / std, with the constants that are stored with the set, as scoring does.

        Raises:
            UserError: for images of other channels, or another type.
        """
        return normalised(images, self.mean, self.std)

    @checked
    def loader(
        self,
        batch_size: int,
        augment: str | None = "idc",
        seed: int = 0,
        *,
        flip: bool | None = None,
        labels: str = HARD,
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return a loader of what a network trains on: batches of normalised images and labels, on the CPU.

        Every pass over it gives the decoded images, all of them, in a new order and newly augmented.

        Args:
            batch_size: images a batch, at most: those of a pass are of one size, give or take an image.
            augment: "idc" (colour, crop, flip, scale and rotation, in IDC's form: what the protocols quick and idc
                train with), "dsa" (those and cutout, in DSA's form, as the protocol dm), "imagenet" (windows, flip,
                jitter and lighting, as the protocol idc from 64 pixels on), or None.
            seed: of the order and of the augmentation.
            flip: whether a mirrored image keeps its class; by default as the set was condensed, or else true.
            labels: "hard" for a class an image, "soft" for its probabilities; cross-entropy takes either.

        Raises:
            UserError: for a batch size below 1, an unknown augmentation, or labels that the set has not.
        """
        own = self.settings.get("flip")
        mirrored = flip if flip is not None else own in (None, True)
        images, wanted = self.decode()[0], self.decoded_labels(labels)
        normalised = Normalisation(self.mean, self.std, images.device)
        return loader(images, wanted, augmentation_named(augment, flip=mirrored), normalised, batch_size, seed)

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the set as the folder `path`, whole or not at all, over an older set there.

        Raises:
            UserError: `path` is a file, or holds anything but a condensed set.
            OSError: the system cannot write; what was at `path` is still there.
        """
        from m3d_condense.sets.folder import write_set  # a folder is made of records, so its room imports this one

        return write_set(self, path)

    @staticmethod
    @checked
    def check_target(path: str | Path) -> None:
        """Raise `UserError` if `save` would refuse `path`: call it before the run, not after."""
        from m3d_condense.sets.folder import check_target

        check_target(path)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> CondensedSet:
        """Read the folder that `save` wrote; nothing in it is executed or unpickled.

        Raises:
            UserError: `path` is no condensed set, of a newer format, or damaged; the message names the file.
        """
        from m3d_condense.sets.folder import read_set

        return read_set(path)

    @checked
    def add_score(self, score: Score, path: str | Path | None = None) -> None:
        """Append `score`; with `path`, also to the set stored there, whose images are left untouched.

        It replaces scores of the same network, protocol and settings. Scores that another process stored there in the
        meantime are kept, before the new one.

        Raises:
            UserError: `path` does not hold this set.
        """
        if not isinstance(score, Score):
            raise UserError(f"a score is what evaluate returns, not a {type(score).__name__}", setting="score")
        if path is None:
            self.scores = with_newer(self.scores, [score])
            return
        from m3d_condense.sets.folder import store_score

        store_score(self, score, path)

    @checked
    def add_soft_labels(self, soft: SoftLabels, path: str | Path | None = None) -> None:
        """Give the set soft labels, in place of those it has; with `path`, also the set stored there.

        Scores with other soft labels are dropped; those with hard labels, and the images, stay as they are.

        Raises:
            UserError: they are not of this set's decoded images and classes, or `path` does not hold this set.
        """
        if not isinstance(soft, SoftLabels):
            raise UserError(f"what label makes, not a {type(soft).__name__}", setting="soft")
        problem = self._soft_problem(soft)
        if problem:
            raise UserError(problem)
        self.soft_labels = soft
        self.scores = [one for one in self.scores if one.settings.get("soft_labels") in (None, soft.fingerprint)]
        if path is not None:
            from m3d_condense.sets.folder import store_soft_labels

            store_soft_labels(self, path)

    def _takes_soft(self, labels: str) -> bool:
        check_labels(labels)
        return labels == SOFT

    def _soft(self) -> SoftLabels:
        if self.soft_labels is None:
            raise UserError("this set has no soft labels; m3d label adds them", setting="labels", value=SOFT)
        return self.soft_labels

    def _soft_problem(self, soft: SoftLabels | None) -> str | None:
        return soft_problem(soft, len(self.images) * self.factor**2, self.num_classes)
