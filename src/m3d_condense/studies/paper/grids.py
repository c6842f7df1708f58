"""The paper's tables and figures as declarations: which sets, by which methods, scored by which networks.

Free of torch, so that help is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from m3d_condense.recipes.methods import METHODS
from m3d_condense.studies.paper.published import WHOLE

__all__ = ["GRIDS", "Axis", "Grid", "Making", "Problem"]

LOW = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100")
HIGH = ("imagenet-10", "imagenet-100")
LITERATURE = ("convnet", "resnet10-width32-batch", "densenet121-growth12-batch")  # what Table 4's names stand for


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is condensed: a data set, and into how many images per class."""

    data: str
    ipc: int

    def __str__(self) -> str:
        return f"{self.data}/{self.ipc}"


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a set is made.

    Attributes:
        method: a row of `METHODS`; or "whole" for the training split itself.
        label: what it is called in a table.
        settings: fields of `Recipe` in place of the preset's.
        value: of the axis that its figure varies, where there is one.
    """

    method: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    value: int | None = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A setting that a figure varies.

    Attributes:
        setting: a field of `Recipe`.
        title: what a figure calls it.
        values: of the setting, from the steps of a whole run.
        fixed: other settings that the figure needs.
        timed: whether the figure shows the minutes of condensing beside the accuracy.
    """

    setting: str
    title: str
    values: Callable[[int], Sequence[int]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    timed: bool = False

    def makings(self, making: Making, steps: int) -> list[Making]:
        """Return a way to make a set for each value of the axis."""
        return [
            Making(
                method=making.method,
                label=f"{making.label}, {self.title} {value}",
                settings={**making.settings, **self.fixed, self.setting: value},
                value=value,
            )
            for value in self.values(steps)
        ]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table or a figure.

    Attributes:
        name: such as "table2".
        title: what it shows.
        problems: data sets and images per class.
        makings: how the sets of each are made.
        networks: that score them.
        shown: as a table alone; or also as curves over an axis, as bars, or as the images themselves.
        axis: the setting that is varied, if one is.
        moments: whether the moments of the sets' features are compared with the training set's.
        notes: what a reader must know.
    """

    name: str
    title: str
    problems: tuple[Problem, ...]
    makings: tuple[Making, ...]
    networks: tuple[str, ...] = ("convnet",)
    shown: Literal["table", "curves", "bars", "images"] = "table"
    axis: Axis | None = None
    moments: bool = False
    notes: tuple[str, ...] = ()


def _problems(data: Sequence[str], ipcs: Sequence[int]) -> tuple[Problem, ...]:
    return tuple(Problem(data=name, ipc=ipc) for name in data for ipc in ipcs)


def _methods(*names: str) -> tuple[Making, ...]:
    assert all(name in METHODS or name == WHOLE for name in names)
    return tuple(Making(method=name, label=name) for name in names)


def _start(method: str) -> Making:
    """Return the images that a method starts from, as a way to make a set."""
    return Making(method=method, label=f"initialisation of {method}", settings={"iterations": 0})


def _doubling(steps: int) -> list[int]:
    """Return 0 and the steps halved four times to once, and whole: the runs together take twice the longest."""
    return sorted({0, *(steps // 2**power for power in range(5))})


NOMINAL = "The paper does not say how its moments are scaled, so the order of its rows compares, not their values"
FOREIGN = (
    "The paper takes its figures of other methods from their papers, and has none of IDC (its own: 67.5 on cifar10/10)"
)
PLOTTED = "The paper shows this as a plot without numbers; a figure of the paper here is from one of its tables"
NARROW = (
    "The paper says no more of these networks than their names: its ResNet-10 and DenseNet-121 are taken for those "
    "of the field's public code, of half the width and of growth 12, both with batch norm"
)
HARDWARE = "The paper's hours are those of one RTX A6000 until the best accuracy; ours are of all steps"
ALIKE = "With one seed, all that do without the factor start from the same real images"

_tiled_or_not = _methods("m3d-no-factor", "m3d")

_ALL = (
    Grid(
        name="table1",
        title="Distances of the features' moments from the training set's, and accuracy",
        problems=_problems(["cifar10"], [10]),
        makings=_methods("dm", "dm-2nd", "dm-3rd", "m3d"),
        moments=True,
        notes=(NOMINAL,),
    ),
    Grid(
        name="table2",
        title="Selections and condensed sets of low resolution",
        problems=_problems(LOW, [1, 10, 50]),
        makings=_methods(
            *("random", "herding", "k-center", "dc", "dsa", "cafe", "cafe-dsa", "dm", "idm", "idc", "m3d", WHOLE)
        ),
        notes=(FOREIGN,),
    ),
    Grid(
        name="table3",
        title="Subsets of ImageNet: accuracy and time",
        problems=_problems(HIGH, [10, 20]),
        makings=_methods("random", "herding", "dsa", "idc", "dm", "m3d"),
        networks=("resnetap10",),
        notes=(HARDWARE,),
    ),
    Grid(
        name="table4",
        title="Other architectures than the one that the set was condensed with",
        problems=_problems(["cifar10"], [10, 50]),
        makings=_methods("dsa", "dm", "m3d"),
        networks=LITERATURE,
        notes=(NARROW,),
    ),
    Grid(
        name="table5",
        title="DM and IDM with their own loss and with M3D's",
        problems=_problems(["cifar10"], [10, 50]),
        makings=_methods("dm", "dm-m3d", "idm", "idm-m3d"),
    ),
    Grid(
        name="figure3",
        title="Accuracy against steps",
        problems=_problems(["cifar10"], [10]),
        makings=_methods("dm", "m3d", "m3d-no-factor"),
        shown="curves",
        # Under a constant rate, a run of fewer steps passes through the same sets as a longer one.
        axis=Axis(setting="iterations", title="steps", values=_doubling, fixed={"lr_schedule": "constant"}),
        notes=(PLOTTED,),
    ),
    Grid(
        name="figure4",
        title="Images at initialisation, by DM and by M3D",
        problems=_problems(["svhn"], [10]),
        makings=_methods("random", "dm", "m3d-no-factor"),
        shown="images",
        notes=(ALIKE,),
    ),
    Grid(
        name="figure5",
        title="Images of ImageNet by M3D",
        problems=_problems(["imagenet-10"], [10]),
        makings=_methods("m3d"),
        networks=("resnetap10",),
        shown="images",
    ),
    Grid(
        name="figure6a",
        title="Steps that one network serves, against accuracy and time",
        problems=_problems(["cifar10"], [10]),
        makings=_methods("m3d"),
        shown="curves",
        axis=Axis(setting="iterations_per_model", title="I_pm", values=lambda steps: (1, 2, 5, 10, 20, 50), timed=True),
        notes=(PLOTTED,),
    ),
    Grid(
        name="figure6b",
        title="Kernels",
        problems=_problems(["cifar10"], [10]),
        makings=_methods("m3d-linear", "m3d-polynomial", "m3d"),
        shown="bars",
        notes=(PLOTTED,),
    ),
    *(
        Grid(
            name=name,
            title=f"Images of {data} by M3D, without and with the factor",
            problems=_problems([data], [ipc]),
            makings=_tiled_or_not,
            shown="images",
        )
        for name, data, ipc in (
            ("figure7", "cifar10", 10),
            ("figure8", "cifar100", 1),
            ("figure9", "svhn", 10),
            ("figure10", "fashion-mnist", 10),
        )
    ),
    Grid(
        name="figure11",
        title="Images of ImageNet-10 at initialisation and by M3D",
        problems=_problems(["imagenet-10"], [10]),
        makings=(_start("m3d"), *_methods("m3d")),
        networks=("resnetap10",),
        shown="images",
    ),
)
GRIDS: Mapping[str, Grid] = {grid.name: grid for grid in _ALL}
"""Every table and figure that is there, by name."""
