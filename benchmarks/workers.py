"""Sides that live in processes of their own and work in turns, so that neither sees the other's settings.

The package sets the C allocator for its whole process (`process.recycle_pages`); in one process it would speed up
the plain side too. A side that waits for its turn blocks on a pipe and takes no processor.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

from m3d_condense.machine.memory import peak_memory
from m3d_condense.machine.process import recycle_pages

Step = Callable[[], object]
Factory = Callable[[Any], tuple[Step, str]]
"""Of settings to one step of work, and a line on how it runs; a function at the top of a module."""


def timed(step: Step, steps: int, device: str) -> float:
    """Return the seconds a step takes, over `steps` of them, with nothing left running on a GPU."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronize(device)
    return (time.perf_counter() - start) / steps


class Worker:
    """One side in its own process, built and warmed up; calling it has it take a turn.

    Args:
        factory: builds the side inside the process.
        settings: what the factory is given.
        device: "cpu" or "cuda".
        steps: steps a turn.
        warm_up: untimed steps after building.
        environment: variables set for the process alone.
        recycle: whether to give it the package's allocator settings.

    Attributes:
        description: how it runs.
        built_bytes: what it held once it was built, before the first step.
        peak_bytes: the most it held from then on; known when it has ended.
    """

    def __init__(
        self,
        factory: Factory,
        settings: Any,
        *,
        device: str,
        steps: int,
        warm_up: int = 2,
        environment: Mapping[str, str] | None = None,
        recycle: bool = False,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, factory, settings, device, steps, warm_up, recycle)
        with _environment(environment or {}):
            self._process = context.Process(target=_serve, args=arguments, daemon=False)
            self._process.start()
        theirs.close()
        self.peak_bytes = 0
        self.description, self.built_bytes = self._receive()

    def __call__(self) -> float:
        """Take one turn; return the seconds a step took."""
        self._pipe.send("turn")
        return float(self._receive())

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._pipe.send(None)
            self.peak_bytes = self._receive()
        except (OSError, RuntimeError):
            self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a side of the benchmark died; was it out of memory?") from None
        if kind == "error":
            raise RuntimeError(f"a side of the benchmark failed:\n{value}")
        return value


@contextmanager
def in_environments(
    environments: Mapping[str, Mapping[str, str]], factory: Factory, settings: Any, *, device: str, steps: int
) -> Iterator[dict[str, Worker]]:
    """Build one side in several environments, each in a process of its own, and give them by their names."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Worker(factory, settings, device=device, steps=steps, environment=environment))
            for name, environment in environments.items()
        }


def _serve(
    pipe: Connection, factory: Factory, settings: Any, device: str, steps: int, warm_up: int, recycle: bool
) -> None:
    try:
        if recycle:
            recycle_pages()
        step, description = factory(settings)
        watched = peak_memory(torch.device(device))  # from here on: what was loaded and built stays, and counts
        built = watched()[0]
        for _ in range(warm_up):
            step()
        pipe.send(("ready", (description, built)))
        while pipe.recv() is not None:
            pipe.send(("seconds", timed(step, steps, device)))
        pipe.send(("peak", watched()[0]))
    except EOFError:
        pass  # the parent is gone
    except BaseException:
        pipe.send(("error", traceback.format_exc()))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
