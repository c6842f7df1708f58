"""One step of gradient matching as in IDC: the package against a plain loop, class by class, eager, in float32.

Both sides match the squared difference of the convolutions' gradients on random networks; the networks' own training
between the steps, which every method with trained encoders shares, is left out. Each side has a process of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Comparison, alternate, parse, parser, record, show, write
from benchmarks.reference import Draw, PlainLoop, augment
from benchmarks.workers import Step, Worker
from benchmarks.workload import Workload, our_run, random_images
from m3d_condense import objectives


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
    run = our_run(workload)
    run.objective = objectives.build("gradient-mse")
    return run.take_step, f"{run.engine.describe()}; {run.engine.reason}"


def plain(workload: Workload) -> tuple[Step, str]:
    """Build the plain step."""
    torch.backends.cudnn.benchmark = True  # as the public code has it
    images, labels = random_images(workload)
    loop = PlainGradients(images, labels, workload.ipc, workload.factor, workload.batch_real, workload.device)
    return loop.step, "float32, eager"


def main() -> None:
    made = parser(__doc__, rounds=5, steps=2)
    Workload.add_flags(made, batch_real=64)
    arguments = parse(made)
    workload = Workload.of(arguments)
    common = {"device": arguments.device, "steps": arguments.steps}
    with Worker(plain, workload, **common) as slow, Worker(ours, workload, **common) as fast:
        times = alternate({"plain loop": slow, "m3d_condense": fast}, arguments.rounds)
    comparison = Comparison(case=workload.name, unit="step", baseline="plain loop", times=times)
    show("A step of gradient matching", [comparison])
    sides = {
        name: {"runs": worker.description, "peak_bytes": worker.peak_bytes}
        for name, worker in (("plain loop", slow), ("m3d_condense", fast))
    }
    write(record("gradient_step", arguments, comparisons=[comparison], sides=sides), arguments.out)


if __name__ == "__main__":
    main()
