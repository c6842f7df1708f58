"""One epoch of training on a condensed set, IDC protocol: the package against a plain loop over a DataLoader.

The set is of the size of CIFAR-10's at IPC 10 with l = 2: 400 decoded images, seven batches of at most 64. With
`--together N`, the package trains N networks as one, as it does on a GPU, and the plain loop one after the other.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch import Tensor

from benchmarks.harness import against_plain, parse, parser
from benchmarks.reference_training import PlainTrainer
from benchmarks.workers import Step
from m3d_condense import networks
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import protocols
from m3d_condense.recipes.problem import Problem
from m3d_condense.tools.progress import Reporter, set_quiet
from m3d_condense.training.trainer import Trainer

MEAN = STD = (0.5, 0.5, 0.5)


def training_set(arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Return random images N×3×side×side in [0, 1] and labels N; no time depends on what is in them."""
    count = arguments.classes * arguments.ipc * arguments.factor**2
    images = torch.rand(count, 3, arguments.side, arguments.side, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(count) % arguments.classes


def ours(arguments: argparse.Namespace) -> tuple[Step, str]:
    """Build a step that is a whole training run of `--epochs` epochs."""
    set_quiet(True)
    engine = Engine(Execution(device=arguments.device))
    size = (arguments.side, arguments.side)
    network = networks.build("convnet", channels=3, num_classes=arguments.classes, size=size)
    problem = Problem(ipc=arguments.ipc, side=arguments.side, num_classes=arguments.classes)
    protocol = protocols.protocol("idc").adapted(problem, factor=arguments.factor)
    images, labels = (part.to(engine.device) for part in training_set(arguments))
    together = arguments.together
    work = together * protocol.epochs * len(images)
    placed = engine.place(network, torch.zeros(1, 3, *size), work, stacked=together > 1)
    short = dataclasses.replace(protocol, epochs=arguments.epochs)
    trainer = Trainer(placed, short.training, MEAN, STD, together=together)
    steps = short.steps(len(images))
    bar = Reporter("", together * steps, 0, "steps")
    return lambda: trainer.fit([(images, labels)] * together, range(together), steps, bar), placed.explain()


def plain(arguments: argparse.Namespace) -> tuple[Step, str]:
    """Build a step that is `--epochs` epochs of the plain loop."""
    torch.backends.cudnn.benchmark = True
    images, labels = training_set(arguments)
    trainer = PlainTrainer((images - MEAN[0]) / STD[0], labels, arguments.classes, 64, arguments.device)
    return lambda: [trainer.epoch() for _ in range(arguments.together * arguments.epochs)], "float32, eager"


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=7, steps=1, same_allocator=True)
    for name, default in (("epochs", 3), ("together", 1), ("classes", 10), ("ipc", 10), ("factor", 2), ("side", 32)):
        made.add_argument(f"--{name}", type=int, default=default)
    arguments = parse(made)
    count = arguments.classes * arguments.ipc * arguments.factor**2
    case = f"{count} images of {arguments.side}×{arguments.side}, batches of 64"
    case += f", {arguments.together} networks" if arguments.together > 1 else ""
    units = arguments.together * arguments.epochs
    against_plain("scoring_epoch", arguments, plain, ours, arguments, case=case, unit="epoch", units=units)


if __name__ == "__main__":
    main()
