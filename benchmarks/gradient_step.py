"""One step of gradient matching as in IDC: the package against a plain loop, class by class, eager, in float32.

Both sides match the squared difference of the convolutions' gradients on random networks; the networks' own training
between the steps, which every method with trained encoders shares, is left out. Each side has a process of its own.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import against_plain, parse, parser
from benchmarks.reference import Draw, PlainLoop, augment
from benchmarks.workers import Step
from benchmarks.workload import Workload, our_run, plain_step


class PlainGradients(PlainLoop):
    """The plain loop with another loss: a graph through the first gradient, and a second backward pass."""

    def loss(self, k: int) -> Tensor:
        """Return the squared difference of the convolutions' gradients of class k's images."""
        weights = [p for p in self.network.parameters() if p.ndim == 4]
        draw = Draw.at_random(self.side)
        real = torch.autograd.grad(self.cross_entropy(augment(self.draw_real(k), draw), k), weights)
        synthetic = self.cross_entropy(augment(self.draw_synthetic(k), draw), k)
        pairs = zip(real, torch.autograd.grad(synthetic, weights, create_graph=True), strict=True)
        return torch.stack([(r - s).square().sum() for r, s in pairs]).sum()

    def cross_entropy(self, images: Tensor, k: int) -> Tensor:
        """Return the mean cross-entropy of images of class k."""
        return F.cross_entropy(self.network(images), torch.full((len(images),), k, device=images.device))


def ours(workload: Workload) -> tuple[Step, str]:
    """Build the package's step."""
    run = our_run(workload, objective="gradient-mse")
    return run.take_step, run.plan.placed.explain()


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=2, same_allocator=True)
    Workload.add_flags(made, batch_real=64)
    arguments = parse(made)
    workload = Workload.of(arguments)
    against_plain("gradient_step", arguments, partial(plain_step, PlainGradients), ours, workload, case=workload.name)


if __name__ == "__main__":
    main()
