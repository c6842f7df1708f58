"""The MMD of five Gaussians and its gradient: the package's batched form against torch.cdist, class by class."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from benchmarks import reference
from benchmarks.harness import Comparison, alternate, parse, parser, publish, record
from benchmarks.workers import timed
from m3d_condense.condensing.objectives.kernels import mmd

CASES = (  # K classes, N real and M synthetic images per class, D features
    (10, 128, 4, 2048),
    (10, 128, 40, 2048),
    (10, 128, 200, 2048),
    (100, 128, 4, 2048),
    (10, 128, 90, 512),
)


def plain(real: Tensor, synthetic: Tensor) -> None:
    """Take the gradient class by class."""
    synthetic.grad = None
    for one, other in zip(real, synthetic, strict=True):
        reference.mmd(one, other).backward()


def ours(real: Tensor, synthetic: Tensor, constants: bool) -> None:
    """Take the gradient of all classes at once; `constants` adds the value's constant term."""
    synthetic.grad = None
    mmd(real, synthetic, constants=constants).sum().backward()


def main() -> None:
    """Measure as the command line says, print and store."""
    arguments = parse(parser(__doc__, rounds=5, steps=1))
    comparisons = []
    for case in CASES:
        classes, n, m, d = case
        stream = torch.Generator().manual_seed(0)
        real = torch.randn(classes, n, d, generator=stream).to(arguments.device)
        synthetic = torch.randn(classes, m, d, generator=stream).to(arguments.device).requires_grad_()
        sides = {
            "torch.cdist": lambda r=real, s=synthetic: plain(r, s),
            "m3d_condense": lambda r=real, s=synthetic: ours(r, s, True),
            "m3d_condense, no real-real term": lambda r=real, s=synthetic: ours(r, s, False),
        }
        turns = {
            name: functools.partial(timed, side, arguments.steps, arguments.device) for name, side in sides.items()
        }
        times = alternate(turns, arguments.rounds, warm_up=1)
        shape = "K={}, N={}, M={}, D={}".format(*case)
        comparisons.append(Comparison(case=shape, unit="call", baseline="torch.cdist", times=times))
    publish(record("kernels", arguments, comparisons=comparisons), arguments.out)


if __name__ == "__main__":
    main()
