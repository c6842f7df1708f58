"""What the values of a preset may depend on: the shape of the data, and how much of it is to be kept."""

from __future__ import annotations

from dataclasses import dataclass

HIGH_RESOLUTION = 64  # pixels; from this side on the settings of the papers' ImageNet subsets hold
LEAST_TO_TILE = 16  # pixels; smaller images are too small to be cut up


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be condensed, and into how much: read off the data, never off a name.

    Attributes:
        ipc: stored images per class.
        side: of the images, in pixels; the smaller one.
        channels: 1 for grey, 3 for RGB.
        num_classes: K.
        images_per_class: training images of the largest class.
        mirrored: whether a mirrored image keeps its class.
        stored: images of all classes; None for as many in each.
    """

    ipc: int
    side: int
    channels: int = 3
    num_classes: int = 10
    images_per_class: int = 5_000
    mirrored: bool = True
    stored: int | None = None

    @property
    def images(self) -> int:
        """Stored images of all classes."""
        return self.num_classes * self.ipc if self.stored is None else self.stored

    @property
    def high(self) -> bool:
        """Whether the settings of the papers' ImageNet subsets hold."""
        return self.side >= HIGH_RESOLUTION

    @property
    def many_classes(self) -> bool:
        """Whether the settings of the papers' sets of a hundred classes hold, CIFAR-100 and ImageNet-100."""
        return self.num_classes >= 100

    @property
    def factor(self) -> int:
        """The papers' l where images are tiled: 2, or 3 at high resolution."""
        return 3 if self.high else 2 if self.side >= LEAST_TO_TILE else 1

    @property
    def decoded(self) -> int:
        """Images that a class decodes to in the papers' tiles."""
        return self.ipc * self.factor**2

    @property
    def digits(self) -> bool:
        """Whether the settings of MNIST hold: grey images that are not to be mirrored."""
        return self.channels == 1 and not self.mirrored

    @property
    def small_photographs(self) -> bool:
        """Whether the settings of CIFAR hold: small images in colour that may be mirrored, unlike SVHN's."""
        return not self.high and self.channels == 3 and self.mirrored
