"""Networks on images of 32 to 224 pixels: native blocks against torch's operations, eager and compiled.

A step is as many images as go through torch's network at once, forward as real ones do, and forward and backward to the
pixels as synthetic ones do: to features, or to the maps of every block, as CAFE and DataDAM compare them. All sides
have the package's allocator settings.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import torch

from benchmarks.harness import Comparison, alternate, parse, parser, publish, record
from benchmarks.workers import Step, timed
from m3d_condense import networks
from m3d_condense.machine.engine import PIECE, Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.native import multiplies_bfloat16

SIDES = {
    "torch, eager": Execution(device="cpu", native=False, compile="no", precision="float32"),
    "torch, compiled": Execution(device="cpu", native=False, compile="yes", precision="float32"),
    "native blocks": Execution(device="cpu", precision="float32"),
    "native blocks, bfloat16": Execution(device="cpu", precision="bfloat16"),  # where the processor has it
}


def step_of(name: str, side: int, seen_as: str, execution: Execution) -> Step:
    """Return a step of a random network on random images."""
    network = networks.build(name, channels=3, num_classes=10, size=(side, side)).requires_grad_(False)
    placed = Engine(execution).place(network, torch.zeros(1, 3, side, side), 0)
    if bool(placed.native) != execution.native:
        raise SystemExit("native blocks cannot be built here: nothing to measure")
    count = min(placed.piece(torch.zeros(1, 3, side, side)), PIECE)  # the same for all sides
    images = torch.rand(count, 3, side, side)
    synthetic = images.clone().requires_grad_()
    seen = placed.of(network.maps if seen_as == "maps" else lambda images: [network.features(images)])

    def step() -> None:
        with torch.no_grad():
            seen(images)
        torch.autograd.grad(sum(part.square().sum() for part in seen(synthetic)), synthetic)

    return step


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=5, steps=1)
    made.add_argument("--networks", nargs="+", default=["convnet", "resnetap10"], help="which networks")
    made.add_argument("--sides", nargs="+", type=int, default=[32, 64, 128, 224], help="sides of the images")
    made.add_argument("--seen", nargs="+", choices=("features", "maps"), default=["features"], help="what is compared")
    arguments = parse(made)
    if arguments.device != "cpu":
        print("native blocks are for the CPU only: nothing to measure")
        return
    sides = [kind for kind, run in SIDES.items() if run.precision != "bfloat16" or multiplies_bfloat16()]
    comparisons = []
    for name, side, seen_as in product(arguments.networks, arguments.sides, arguments.seen):
        torch._dynamo.reset()
        steps = {kind: step_of(name, side, seen_as, SIDES[kind]) for kind in sides}
        turns = {kind: partial(timed, step, arguments.steps, "cpu") for kind, step in steps.items()}
        times = alternate(turns, arguments.rounds, warm_up=1)
        case = f"{name}, {side}×{side}" + (", maps" if seen_as == "maps" else "")
        comparisons.append(Comparison(case=case, unit="step", baseline="torch, eager", times=times))
    publish(record("networks", arguments, comparisons=comparisons), arguments.out)


if __name__ == "__main__":
    main()
