"""Where the time of a condensation step goes, phase by phase. The clock is read at the edges of the real step."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import parse, parser, publish, record
from benchmarks.workload import Workload, our_run
from m3d_condense.condensing.run import Run
from m3d_condense.condensing.view import Encoder
from m3d_condense.training import augment

REST = "the rest"


class Clock:
    """Charges every moment to the innermost phase that is open."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.seconds: dict[str, float] = defaultdict(float)
        self._open, self._last = [REST], time.perf_counter()

    def reset(self) -> None:
        """Begin a new step."""
        self.charge()
        self.seconds = defaultdict(float)

    def charge(self) -> None:
        """Charge what has passed to the open phase."""
        if self.cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._last
        self._last = now

    def turn(self, name: str) -> None:
        """Go over from the open phase to another."""
        self.charge()
        self._open[-1] = name

    def wrap(self, owner: Any, attribute: str, name: str | Callable[[], str]) -> None:
        """Make a phase of every call of a function that `owner` holds."""
        function = getattr(owner, attribute)

        def timed(*given: Any, **named: Any) -> Any:
            self.charge()
            self._open.append(name if isinstance(name, str) else name())
            try:
                return function(*given, **named)
            finally:
                self.charge()
                self._open.pop()

        setattr(owner, attribute, timed)


def watch(run: Run, clock: Clock) -> None:
    """Put the clock at the edges of a run's parts; this process measures nothing else afterwards."""
    clock.wrap(run.encoders, "at", "new encoder")
    clock.wrap(run.draws.sampler, "draw", "choose real images")
    clock.wrap(run.pixels, "draw", "decode synthetic")
    clock.wrap(augment, "draw", "draw augmentation")
    clock.wrap(augment, "apply", "augment")
    clock.wrap(run.draws, "at", "gather and normalise")
    clock.wrap(run.objective, "distance", "kernel")
    clock.wrap(run.optimizer, "step", "optimiser")
    clock.wrap(run.pixels, "clamp", "optimiser")
    features = Encoder.features

    def hooked(self: Encoder, images: Tensor) -> Tensor:
        result = features(self, images)
        if torch.is_grad_enabled():
            result.register_hook(lambda gradient: clock.turn("encoder backward"))
            images.register_hook(lambda gradient: clock.turn("augment and decode backward"))
        return result

    Encoder.features = hooked  # type: ignore[method-assign]
    grad = torch.is_grad_enabled
    clock.wrap(Encoder, "features", lambda: "encoder, synthetic forward" if grad() else "encoder, real forward")
    clock.wrap(torch.autograd, "backward", "kernel backward")


def measure(run: Run, clock: Clock, rounds: int) -> list[dict[str, Any]]:
    """Return the phases of a step, longest first: names, medians, shares of the step and all seconds."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        clock.reset()
        run.take_step()
        clock.charge()
        for name, seconds in clock.seconds.items():
            times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    total = sum(medians.values())
    return [
        {"phase": name, "median": median, "share": median / total, "seconds": times[name]}
        for name, median in sorted(medians.items(), key=lambda item: -item[1])
    ]


def main() -> None:
    """Measure as the command line says, print and store."""
    made = parser(__doc__, rounds=15, steps=1)
    Workload.add_flags(made, size=5_000)
    arguments = parse(made)
    run = our_run(Workload.of(arguments))
    for _ in range(2):
        run.take_step()
    clock = Clock(arguments.device)
    watch(run, clock)
    phases = measure(run, clock, arguments.rounds)
    publish(record("phases", arguments, phases=phases, runs=run.plan.placed.explain()), arguments.out)


if __name__ == "__main__":
    main()
