"""What is measured: a step of the package on random images, with M3D's paper settings unless a flag says otherwise.

The images are random 8-bit numbers: no time depends on what is in them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.workers import Step
from m3d_condense.condensing.run import Run, begin
from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.progress import set_quiet


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One step's size: K classes of `size`/K images of 3×side×side, and how it runs (see `Execution`)."""

    classes: int = 10
    ipc: int = 10
    batch_real: int = 128
    factor: int = 2
    side: int = 32
    size: int = 50_000
    device: str = "auto"
    precision: str = "auto"
    native: bool = True
    compile: str = "auto"
    memory: float = 0.0

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Workload:
        """Take the fields out of parsed arguments."""
        return cls(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser, **defaults: object) -> None:
        """Give a parser a flag for every field but the device."""
        for field in dataclasses.fields(cls):
            if field.name != "device":
                name, default = field.name, defaults.get(field.name, field.default)
                kind = {"action": argparse.BooleanOptionalAction} if default is True else {"type": type(default)}
                parser.add_argument(f"--{name.replace('_', '-')}", default=default, **kind)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """Name the case in a table."""
        return f"{self.classes} classes, IPC {self.ipc}, l = {self.factor}, {self.side}×{self.side}"


def random_images(workload: Workload) -> tuple[Tensor, Tensor]:
    """Return uint8 images N×3×side×side and labels N, every class as often."""
    shape = (workload.size, 3, workload.side, workload.side)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(workload.size) % workload.classes


def plain_step(loop: Callable[..., Any], workload: Workload) -> tuple[Step, str]:
    """Build the step of a plain loop; `loop` is `PlainLoop`, or one with another loss."""
    torch.backends.cudnn.benchmark = True  # as the public code has it
    images, labels = random_images(workload)
    made = loop(images, labels, workload.ipc, workload.factor, workload.batch_real, workload.device)
    return made.step, "float32, eager"


def random_dataset(workload: Workload) -> ImageDataset:
    """Return the random images as a data set; those that it is tested on do not matter."""
    images, labels = random_images(workload)
    train = Split(images=images, labels=labels)
    return ImageDataset(
        name="random images",
        train=train,
        test=train[torch.arange(workload.classes)],
        class_names=tuple(map(str, range(workload.classes))),
        source={},
    )


def our_run(workload: Workload, **settings: Any) -> Run:
    """Return the package's loop, ready to take steps; `settings` are fields of its recipe."""
    set_quiet(True)
    # The paper's other network at high resolution would have the side change two things at once.
    overrides = {"network": "convnet", "factor": workload.factor, "batch_real": workload.batch_real} | settings
    recipe = methods.recipe("m3d", "paper", Problem(ipc=workload.ipc, side=workload.side), overrides)
    keys = ("device", "precision", "native", "compile", "memory")
    return begin(random_dataset(workload), recipe, Engine(Execution(**{key: getattr(workload, key) for key in keys})))
