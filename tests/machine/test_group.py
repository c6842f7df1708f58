from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import pytest
import torch
from together import together

from m3d_condense.machine import group
from m3d_condense.machine.group import ALONE, LOST, Group, current, working_in
from m3d_condense.tools.errors import UserError


def test_a_process_alone_waits_for_nobody() -> None:
    tensor = torch.arange(3.0)
    assert current() is ALONE
    assert ALONE.leads
    assert list(ALONE.deal(3)) == [0, 1, 2]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.gather(tensor)[0] is ALONE.sum(tensor) is tensor
    assert ALONE.by_first(lambda: 1) == ALONE.in_turn(lambda: 1) == ALONE.once("name", lambda: 1) == 1
    assert ALONE.objects("mine") == ["mine"]
    assert ALONE.says("something")
    assert ALONE.says("something")


def test_a_process_alone_hears_what_comes_up_after_it_has_asked() -> None:
    wishes = [False]
    heard = ALONE.ask(lambda: wishes[0])
    wishes[0] = True
    assert heard() == [True]


def test_a_group_is_left_as_it_was_entered() -> None:
    other = Group(rank=1, size=2)
    with working_in(other):
        assert current() is other
        with working_in(ALONE):
            assert current() is ALONE
        assert current() is other
    assert current() is ALONE


def test_processes_tell_each_other_what_they_have() -> None:
    def work() -> list[Any]:
        group = current()
        rank = group.rank
        parts = [torch.tensor([k]) for k in (7, 8, 9)] if group.leads else None
        collected = group.collect(torch.tensor([rank]))
        return [
            [int(part) for part in group.gather(torch.tensor([rank]))],
            None if collected is None else [int(part) for part in collected],
            int(group.hand_out(parts, torch.zeros(1, dtype=torch.int64))),
            float(group.sum(torch.tensor(rank + 0.5))),
            group.broadcast(rank if rank == 2 else None, 2),
            group.objects(str(rank)),
            group.ask(lambda: rank == 1, lambda: False)(),
            group.by_first(lambda: rank),
        ]

    shared = [[0, 1, 2], 4.5, 2, ["0", "1", "2"], [True, False], 0]
    for rank, (gathered, collected, own, *others) in enumerate(together(3, work)):
        assert [gathered, *others] == shared
        assert collected == ([0, 1, 2] if rank == 0 else None)
        assert own == 7 + rank


def test_processes_that_were_told_to_do_different_things_are_refused() -> None:
    def work() -> str:
        group = current()
        if not group.leads:
            group.wait()
            return "waited"
        with pytest.raises(UserError) as caught:
            group.check_same(lambda: {"lr": 0.1})
        return str(caught.value)

    said = "the processes differ in what they were told to do; start all with one command, on the same data"
    assert together(2, work) == [said, "waited"]


def test_each_number_is_dealt_once_to_whoever_asks_next() -> None:
    others = multiprocessing.Value("i", 0)  # numbers that the others were dealt in the first turn

    def work() -> list[list[int]]:
        dealt: list[list[int]] = []
        for count in (20, 5):
            dealt.append([])
            for number in current().deal(count):
                dealt[-1].append(number)
                if count == 20 and current().rank > 0:
                    with others.get_lock():
                        others.value += 1
                while count == 20 and current().rank == 0 and others.value < count - 1:
                    time.sleep(0.01)  # over its first number until the others have done all the rest
        return dealt

    hands = together(3, work)
    for turn, count in enumerate((20, 5)):
        assert sorted(number for hand in hands for number in hand[turn]) == list(range(count))
    assert len(hands[0][0]) <= 1, "who is slow is dealt less"


def test_work_is_done_once_for_all_that_ask_and_its_mistake_is_everybodys() -> None:
    def work() -> Any:
        group = current()
        done: list[int] = []
        answer = group.once("sum", lambda: done.append(group.rank) or group.rank + 10)  # type: ignore[func-returns-value]

        def refuse() -> int:
            raise UserError("at least 1", setting="seeds", value=0)

        with pytest.raises(UserError, match="seeds=0: at least 1"):
            group.once("refused", refuse)
        with pytest.raises(UserError, match="seeds=0: at least 1"):
            group.by_first(refuse)
        with pytest.raises(UserError, match="seeds=0: at least 1"):
            group.in_turn(refuse)
        order: list[int] = group.in_turn(lambda: [group.rank, time.monotonic_ns()])
        return answer, done, order

    found = together(3, work)
    workers = [done for _, done, _ in found if done]
    assert len(workers) == 1
    assert {answer for answer, _, _ in found} == {workers[0][0] + 10}
    assert all(found[0][2][1] < other[2][1] for other in found[1:]), "one of a machine comes first"


def test_a_process_that_ends_is_noticed_by_those_who_wait_for_it() -> None:
    def work() -> None:
        if current().rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        current().wait()

    ends = together(3, work)
    assert ends[1] == -signal.SIGKILL
    assert [str(end) for end in ends if isinstance(end, ConnectionError)] == [LOST]
    assert sum(isinstance(end, SystemExit) for end in ends) == 1


@pytest.mark.parametrize("ends", [KeyboardInterrupt, None])
def test_who_waits_for_an_answer_does_not_outwait_the_process_that_was_to_give_it(
    ends: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "BEAT", 0.1)
    monkeypatch.setattr(group, "SILENT", 2.0)

    def stop() -> None:
        time.sleep(3)  # longer than a silence, with signs of life
        if ends is not None:
            raise ends
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        if current().rank == 0:
            time.sleep(0.5)
        current().once("stopped", stop)

    first, second = together(2, work)
    assert isinstance(first, ConnectionError)
    assert isinstance(second, KeyboardInterrupt) if ends else second == -signal.SIGKILL
