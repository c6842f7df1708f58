"""The processes that torchrun has started together: which one this is, and what they tell each other.

A process that was started alone is a group of one, for which nothing here waits, and torch.distributed is not imported.
"""

from __future__ import annotations

import base64
import itertools
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from m3d_condense.machine.memory import ran_out
from m3d_condense.tools.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch._C._distributed_c10d import Store

STEP = timedelta(minutes=10)  # that a process waits for the others within a step, of pixels or of a checkpoint
POLL = 0.05  # seconds between two looks at the store
BEAT, SILENT = 5.0, 120.0  # seconds between two signs of life, and without one until a process is taken for lost
LOST = (
    "another process of this run has ended, or cannot be reached; what was saved is kept, and the same command goes "
    "on from there"
)

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Made]):
    """What a piece of work returned, or the error that it raised, to be sent to other processes."""

    value: Made | None = None
    error: Exception | None = None

    @classmethod
    def of(cls, work: Callable[[], Made]) -> Outcome[Made]:
        """Do the work."""
        try:
            return cls(value=work())
        except (UserError, OSError, MemoryError, RuntimeError) as error:
            return cls(error=error)

    def result(self) -> Made:
        """Return what the work returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return cast(Made, self.value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Processes that work together; every process calls the same methods in the same order, unless a method says not.

    Attributes:
        rank, size: of this process among all, counted from 0, and how many they are.
        local_rank, local_size: the same among those of this machine.
        store: the one that torchrun's rendezvous has made; None for a process alone.

    Raises:
        ConnectionError: from any method that waits for others, where one of them has ended.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Store | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that speaks and writes for all."""
        return self.rank == 0

    def ask(self, *wishes: Callable[[], bool]) -> Callable[[], list[bool]]:
        """Ask for wishes, and return a function that waits for what any of the processes wishes.

        What happens between the two calls covers the time that the answers take. A process alone is asked when it
        is to be heard, and so hears what has come up meanwhile.
        """
        if self.size == 1:
            return lambda: [wish() for wish in wishes]
        import torch
        import torch.distributed as dist

        flags = torch.tensor([wish() for wish in wishes], dtype=torch.int32)
        with _lost_said():
            asked = dist.all_reduce(flags, dist.ReduceOp.MAX, async_op=True)

        def heard() -> list[bool]:
            with _lost_said():
                asked.wait(STEP)
            return [bool(flag) for flag in flags.tolist()]

        return heard

    def share(self, count: int) -> int:
        """Return how many of so many things each process has at most."""
        return math.ceil(count / self.size)

    def any(self, wish: bool) -> bool:
        """Return whether any of the processes wishes something."""
        return self.ask(lambda: wish)()[0]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, which have one shape and type, on this one's device."""
        if self.size == 1:
            return [tensor]
        import torch
        import torch.distributed as dist

        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with _lost_said():
            dist.all_gather(parts, tensor, async_op=True).wait(STEP)
        return parts

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensors of all processes, which have one shape and type."""
        if self.size == 1:
            return tensor
        import torch.distributed as dist

        total = tensor.clone()
        with _lost_said():
            dist.all_reduce(total, async_op=True).wait(STEP)
        return total

    def collect(self, tensor: Tensor) -> list[Tensor] | None:
        """Return the tensors of all processes, on the CPU and of one shape and type, in the first; None elsewhere."""
        if self.size == 1:
            return [tensor]
        import torch
        import torch.distributed as dist

        parts = [torch.empty_like(tensor) for _ in range(self.size)] if self.leads else None
        with _lost_said():
            dist.gather(tensor, parts, async_op=True).wait(STEP)
        return parts

    def hand_out(self, parts: list[Tensor] | None, like: Tensor) -> Tensor:
        """Return this process's of the tensors that the first one holds, on the CPU and of the shape of `like`."""
        if self.size == 1:
            assert parts is not None
            return parts[0]
        import torch
        import torch.distributed as dist

        part = torch.empty_like(like, device="cpu")
        with _lost_said():
            dist.scatter(part, parts, async_op=True).wait(STEP)
        return part

    def broadcast(self, value: Made | None, source: int = 0) -> Made:
        """Return the value, which can be pickled, that one of the processes has."""
        held: list[Any] = [value]
        if self.size > 1:
            import torch.distributed as dist

            with _lost_said():
                dist.broadcast_object_list(held, source)
        found: Made = held[0]
        return found

    def objects(self, value: Made) -> list[Made]:
        """Return the values of all processes, which can be pickled, in order."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        held: list[Any] = [None] * self.size
        with _lost_said():
            dist.all_gather_object(held, value)
        return held

    def by_first(self, work: Callable[[], Made]) -> Made:
        """Return what `work` returns in the first process, which alone calls it; what it raises, all raise."""
        if self.size == 1:
            return work()
        outcome = self.broadcast(Outcome.of(work) if self.leads else None)
        return outcome.result()

    @contextmanager
    def held_by_first(self, hold: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Have the first process alone enter a context while this lasts; what entering raises, all raise."""
        with ExitStack() as held:
            self.by_first(lambda: held.enter_context(hold()))
            yield

    def in_turn(self, work: Callable[[], Made]) -> Made:
        """Have one process of each machine call `work`, and then the others, which find what it has kept.

        What one of the former raises, all raise.
        """
        if self.size == 1:
            return work()
        outcome: Outcome[Made] = Outcome.of(work) if self.local_rank == 0 else Outcome()
        for error in self.objects(outcome.error):
            if error is not None:
                raise error
        return work() if self.local_rank else outcome.result()

    def once(self, name: str, work: Callable[[], Made]) -> Made:
        """Return what `work` returns in the process that first asks under this name; the others wait for it.

        Not every process has to ask. What `work` raises, all that ask raise.
        """
        if self.store is None:
            return work()
        with _lost_said():
            asks_first = self.store.add(f"asked/{name}", 1) == 1
        if asks_first:
            outcome: Outcome[Made] = Outcome(error=ConnectionError(LOST))  # what an interrupt leaves
            try:
                with self._signs_of_life(name):
                    outcome = Outcome.of(work)
            finally:
                with _lost_said():
                    self.store.set(f"answer/{name}", base64.b64encode(pickle.dumps(outcome)).decode())
            return outcome.result()
        with _lost_said():
            heard, beats = time.monotonic(), 0
            while not self.store.check([f"answer/{name}"]):
                if (now := self.store.add(f"beats/{name}", 0)) != beats:
                    heard, beats = time.monotonic(), now
                if time.monotonic() - heard > SILENT:
                    raise ConnectionError(LOST)
                time.sleep(POLL)
            answer: Outcome[Made] = pickle.loads(base64.b64decode(self.store.get(f"answer/{name}")))
        return answer.result()

    @contextmanager
    def _signs_of_life(self, name: str) -> Iterator[None]:
        """Have those who wait for an answer of this name hear that this process is there, while this lasts."""
        assert self.store is not None
        store, ended = self.store, threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                with suppress(RuntimeError):  # without a store nobody waits
                    store.add(f"beats/{name}", 1)

        beating = threading.Thread(target=beat, daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()

    def check_same(self, told: Callable[[], Mapping[str, Any]]) -> None:
        """Raise `UserError` in all processes where what each of them tells, by name, is not the same."""
        if self.size == 1:
            return
        first, *others = self.objects(dict(told()))
        if not all(isinstance(one, dict) for one in (first, *others)):  # other words than these
            names = ["what they were told to do"]
        else:
            names = [name for name in first if any(one.get(name) != first[name] for one in others)]
        if names:
            different = ", ".join(names)
            raise UserError(f"the processes differ in {different}; start all with one command, on the same data")

    def deal(self, count: int) -> Iterator[int]:
        """Yield numbers below `count`, each to one process only: to whichever asks next."""
        if self.store is None:
            yield from range(count)
            return
        name = f"dealt/{next(self._numbers)}"
        while True:
            with _lost_said():
                number = self.store.add(name, 1) - 1
            if number >= count:
                return
            yield number

    def wait(self) -> None:
        """Wait until every process is here."""
        self.objects(None)

    def says(self, message: str) -> bool:
        """Return whether this process is the first to say something; not every process has to ask."""
        if self.store is None:
            return True
        with suppress(Exception):  # without a store, all say it
            return self.store.add(f"said/{message}", 1) == 1
        return True


@contextmanager
def _lost_said() -> Iterator[None]:
    """Raise `ConnectionError` where torch fails to reach another process."""
    try:
        yield
    except RuntimeError as error:  # of torch.distributed, whatever the backend
        if ran_out(error):
            raise
        raise ConnectionError(LOST) from error


ALONE = Group()
_current = ALONE


def current() -> Group:
    """Return the group that this process works in."""
    return _current


@contextmanager
def working_in(group: Group) -> Iterator[Group]:
    """Have this process work in a group while this lasts; in `ALONE`, as if there were no others."""
    global _current
    before, _current = _current, group
    try:
        yield group
    finally:
        _current = before
