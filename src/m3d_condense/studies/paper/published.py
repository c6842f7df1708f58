"""What the paper reports, each number typed once: Zhang et al., M3D, AAAI 2024, Tables 1 to 5.

Where two tables report the same set, such as DM on CIFAR-10, the number stands with Table 2 alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["EXTENTS", "NETWORKS", "PUBLISHED", "Extent", "Published", "published"]

WHOLE = "whole"  # the training split itself, in place of a method
CONVNET, RESNETAP, RESNET, DENSENET = "ConvNet-3", "ResNetAP-10", "ResNet-10", "DenseNet-121"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper reports of the sets that a method makes, scored by one network.

    Attributes:
        mean, std: test accuracy, percent; `std` is None where the table has none.
        reproduced: whether the paper's authors ran another paper's method themselves (†).
        hours: of condensing, on one RTX A6000 (Table 3); None where the table has none.
        moments: distances of the features' means, variances and skewness from the training set's (Table 1).
    """

    mean: float
    std: float | None = None
    reproduced: bool = False
    hours: float | None = None
    moments: tuple[float, float, float] | None = None

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.1f}"
        return f"{self.mean:.1f}{spread}{' †' if self.reproduced else ''}"


@dataclass(frozen=True)
class Extent:
    """How large a data set is, as it was published.

    Attributes:
        training_images, test_images: how many; None for parts of ImageNet, whose classes differ in number.
        classes: how many.
        side: of the images, in pixels.
    """

    training_images: int | None
    test_images: int | None
    classes: int
    side: int


EXTENTS: Mapping[str, Extent] = {
    "mnist": Extent(60_000, 10_000, 10, 28),
    "fashion-mnist": Extent(60_000, 10_000, 10, 28),
    "svhn": Extent(73_257, 26_032, 10, 32),
    "cifar10": Extent(50_000, 10_000, 10, 32),
    "cifar100": Extent(50_000, 10_000, 100, 32),
    "imagenet-10": Extent(None, None, 10, 224),
    "imagenet-100": Extent(None, None, 100, 224),
}
"""The paper's data sets."""

Key = tuple[str, int | None, str, str]
"""Data set, images per class (None for the whole training split), method, and network as the paper names it."""

NETWORKS: Mapping[str, str] = {
    "convnet": CONVNET,
    "resnetap10": RESNETAP,
    "resnet10": RESNET,
    "densenet121": DENSENET,
}
"""What the paper calls a network, by the first part of our name for it, without a depth."""

TABLE_2 = """
data          ipc  random     herding    k-center   dc         dsa        cafe       cafe-dsa   dm           idm         m3d
mnist         1    64.9±3.5   89.2±1.6   89.3±1.5   91.7±0.5   88.7±0.6   93.1±0.3   90.8±0.5   89.7±0.6     -           94.4±0.2
mnist         10   95.1±0.9   93.7±0.3   84.4±1.7   97.4±0.2   97.8±0.1   97.2±0.2   97.5±0.1   97.5±0.1     -           97.6±0.1
mnist         50   97.9±0.2   94.8±0.2   97.4±0.3   98.8±0.2   99.2±0.1   98.6±0.2   98.9±0.2   98.6±0.1     -           98.2±0.2
fashion-mnist 1    51.4±3.8   67.0±1.9   66.9±1.8   70.5±0.6   70.6±0.6   77.1±0.9   73.7±0.7   70.7±0.6†    -           80.7±0.3
fashion-mnist 10   73.8±0.7   71.1±0.7   54.7±1.5   82.3±0.4   84.6±0.3   83.0±0.4   83.0±0.3   83.5±0.3†    -           85.0±0.1
fashion-mnist 50   82.5±0.7   71.9±0.8   68.3±0.8   83.6±0.4   88.7±0.2   84.8±0.4   88.2±0.3   88.1±0.6†    -           86.2±0.3
svhn          1    14.6±1.6   20.9±1.3   21.0±1.5   31.2±1.4   27.5±1.4   42.6±3.3   42.9±3.0   30.3±0.1†    -           62.8±0.5
svhn          10   35.1±4.1   50.5±3.3   14.0±1.3   76.1±0.6   79.2±0.5   75.9±0.6   77.9±0.6   73.5±0.5†    -           83.3±0.7
svhn          50   70.9±0.9   72.6±0.8   20.1±1.4   82.3±0.3   84.4±0.4   81.3±0.3   82.3±0.4   82.0±0.2†    -           89.0±0.2
cifar10       1    14.4±2.0   21.5±1.2   21.5±1.3   28.3±0.5   28.8±0.7   30.3±1.1   31.6±0.8   26.0±0.8     45.6±0.7    45.3±0.3
cifar10       10   26.0±1.2   31.6±0.7   14.7±0.9   44.9±0.5   52.1±0.5   46.3±0.6   50.9±0.5   48.9±0.6     58.6±0.1    63.5±0.2
cifar10       50   43.4±1.0   40.4±0.6   27.0±1.4   53.9±0.5   60.6±0.5   55.5±0.6   62.3±0.4   63.0±0.4     67.5±0.1    69.9±0.5
cifar100      1    4.2±0.3    8.4±0.3    8.3±0.3    12.8±0.3   13.9±0.3   12.9±0.3   14.0±0.3   11.4±0.3     20.1±0.3    26.2±0.3
cifar100      10   14.6±0.5   17.3±0.3   7.1±0.2    25.2±0.3   32.3±0.3   27.8±0.3   31.5±0.2   29.7±0.3     45.1±0.1    42.4±0.2
cifar100      50   30.0±0.4   33.7±0.5   30.5±0.3   -          42.8±0.4   37.9±0.3   42.9±0.2   43.6±0.4     50.0±0.2    50.9±0.7
"""  # noqa: E501 - a line of the paper's table
TABLE_2_WHOLE = """
data          whole
mnist         99.6±0.0
fashion-mnist 93.5±0.1
svhn          95.4±0.1
cifar10       84.8±0.1
cifar100      56.2±0.3
"""
TABLE_1 = {  # CIFAR-10, 10 images per class: accuracy where Table 2 has none, and the moments' distances
    "dm": (None, (4.91, 7.37, 6.76)),
    "dm-2nd": (52.1, (4.51, 6.96, 6.35)),
    "dm-3rd": (53.9, (3.69, 6.14, 5.94)),
    "m3d": (None, (0.82, 1.23, 1.64)),
}
TABLE_3 = """
data         ipc  random  herding  dsa        idc         dm        m3d
imagenet-10  10   46.9    50.4     52.7/27.0  72.8/70.1   52.3/1.4  73.4/1.1
imagenet-10  20   51.8    57.5     57.4/51.4  76.6/92.8   59.3/3.6  76.8/3.1
imagenet-100 10   20.7    22.6     21.8/9.7   46.7/141.0  22.3/2.8  46.9/3.5
imagenet-100 20   29.7    31.1     30.7/23.9  53.7/185.0  30.4/2.8  55.5/4.2
"""
"""Accuracy, and the hours of condensing behind the stroke."""
TABLE_4 = {
    RESNET: """
data     ipc  dsa   dm    m3d
cifar10  10   32.9  42.3  56.7
cifar10  50   49.7  58.6  66.6
""",
    DENSENET: """
data     ipc  dsa   dm    m3d
cifar10  10   34.5  39.0  54.6
cifar10  50   49.1  57.4  66.1
""",
}
TABLE_5 = """
data     ipc  dm-m3d  idm-m3d
cifar10  10   54.7    60.5
cifar10  50   66.0    69.6
"""


def published(data: str, ipc: int | None, method: str, network: str) -> Published | None:
    """Return what the paper reports of a set; None where it reports nothing.

    Args:
        data: name of the data set.
        ipc: stored images per class; None for the whole training split.
        method: a row of `METHODS`, as its preset has it; or "whole".
        network: our name of the network that scores the set, whatever its depth, width and norm.
    """
    family = re.sub(r"^(convnet)\d+", r"\1", network.partition("-")[0])
    return PUBLISHED.get((data, ipc, method, NETWORKS.get(family, "")))


def _read(text: str, network: str) -> Iterator[tuple[Key, Published]]:
    """Yield the numbers of a table whose first line names its columns."""
    names, *lines = (line.split() for line in text.strip().splitlines())
    for line in lines:
        row = dict(zip(names, line, strict=True))
        data, ipc = row.pop("data"), row.pop("ipc", None)
        for method, cell in row.items():
            if cell != "-":
                yield (data, None if ipc is None else int(ipc), method, network), _number(cell)


def _number(cell: str) -> Published:
    """Read one number with its spread, its † and its hours, such as 70.7±0.6† or 52.7/27.0."""
    accuracy, _, hours = cell.rstrip("†").partition("/")
    mean, _, std = accuracy.partition("±")
    return Published(
        mean=float(mean),
        std=float(std) if std else None,
        reproduced=cell.endswith("†"),
        hours=float(hours) if hours else None,
    )


def _all() -> dict[Key, Published]:
    found = dict(_read(TABLE_2, CONVNET)) | dict(_read(TABLE_2_WHOLE, CONVNET)) | dict(_read(TABLE_5, CONVNET))
    found |= dict(_read(TABLE_3, RESNETAP))
    for network, text in TABLE_4.items():
        found |= dict(_read(text, network))
    for method, (mean, moments) in TABLE_1.items():
        key = ("cifar10", 10, method, CONVNET)
        known = found[key] if mean is None else Published(mean=mean)
        found[key] = dataclasses.replace(known, moments=moments)
    return found


PUBLISHED: Mapping[Key, Published] = _all()
"""Every number of the paper's tables."""
