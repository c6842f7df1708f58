"""How far a condensation step is from its lower bound: the same convolutions and nothing else.

convolutions: torch's own for those of the encoder (with bias), compiled, in channels last and the precision that is
chosen without native blocks; real images forward, synthetic images forward and backward to the input.
encoder: the whole network forward and backward, without drawing, augmentation, kernel and optimiser.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, alternate, parse, parser, publish, record
from benchmarks.workers import Step, timed
from benchmarks.workload import Workload, our_run
from m3d_condense.condensing.run import Run
from m3d_condense.machine.engine import Engine, Placed


class Layers:
    """The convolutions of a network, each on its own input, for `count` images in the pieces the engine makes."""

    def __init__(self, placed: Placed, images: Tensor, count: int, backward: bool) -> None:
        network, engine = placed.network, placed.engine
        found = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        self.pieces = math.ceil(count / placed.piece(images))
        images = images.expand(math.ceil(count / self.pieces), *images.shape[1:])
        self.inputs = _inputs(network, found, images.to(engine.device), engine.dtype)
        self.functions = [placed.of(module) for module in found]
        self.gradients: list[Tensor] = []
        if backward:
            self.inputs = [values.requires_grad_() for values in self.inputs]
            outputs = [function(values) for function, values in zip(self.functions, self.inputs, strict=True)]
            self.gradients = [torch.rand_like(values.detach()) for values in outputs]

    def __call__(self) -> None:
        """Run every convolution once on every piece."""
        for _ in range(self.pieces):
            for index, function in enumerate(self.functions):
                output = function(self.inputs[index])
                if self.gradients:
                    torch.autograd.grad(output, self.inputs[index], self.gradients[index])


def _inputs(network: nn.Module, layers: list[nn.Conv2d], images: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return what each layer receives, in the layout the network runs in."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach())) for layer in layers]
    enabled = dtype != torch.float32
    with torch.no_grad(), torch.autocast(images.device.type, dtype, enabled=enabled):
        network.features(images)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return [values.clone(memory_format=torch.channels_last) for values in seen]


def in_torch(run: Run, images: Tensor) -> Placed:
    """Place a copy of a run's network as it would be without native blocks."""
    engine = Engine(dataclasses.replace(run.plan.placed.engine.execution, native=False, compile="yes"))
    return engine.place(copy.deepcopy(run.encoders.at(0).network), images, 0)


def convolutions(run: Run) -> Step:
    """Return a step of all convolutions of a condensation step, torch's own, compiled."""
    images = torch.rand(1, *run.pixels.values.shape[2:])
    placed = in_torch(run, images)
    per_class = min(run.pixels.decoded_per_class, run.recipe.batch_synthetic)
    layers = []
    for classes in run.plan.chunks:
        for each, backward in ((run.recipe.batch_real, False), (per_class, True)):
            layers.append(Layers(placed, images, len(classes) * each, backward))
    return lambda: [part() for part in layers]


def encoder_alone(run: Run) -> Step:
    """Return a step of the network's part of a condensation step."""
    encoder, prepared = run.encoders.at(0), []
    for classes in run.plan.chunks:
        real, synthetic = (images.detach() for images in run.draws.at(run.step, classes))
        gradient = torch.rand_like(encoder.features(synthetic))
        prepared.append((real, synthetic.requires_grad_(), gradient))

    def step() -> None:
        for real, synthetic, gradient in prepared:
            with torch.no_grad():
                encoder.features(real)
            torch.autograd.grad(encoder.features(synthetic), synthetic, gradient)

    return step


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=7, steps=2)
    Workload.add_flags(made, size=5_000)
    arguments = parse(made)
    workload = Workload.of(arguments)
    run = our_run(workload)
    sides = {"whole step": run.take_step, "encoder": encoder_alone(run), "convolutions": convolutions(run)}
    turns = {name: partial(timed, side, arguments.steps, arguments.device) for name, side in sides.items()}
    times = alternate(turns, arguments.rounds, warm_up=1)
    comparison = Comparison(case=workload.name, unit="step", baseline="whole step", times=times)
    convolved = in_torch(run, torch.zeros(1, *run.pixels.values.shape[2:]))
    runs = f"{run.plan.placed.explain()}; the convolutions compiled, {convolved.describe()}"
    publish(record("limit", arguments, comparisons=[comparison], runs=runs), arguments.out)


if __name__ == "__main__":
    main()
