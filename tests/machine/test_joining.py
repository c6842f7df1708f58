from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from together import environment, together
from torch.distributed import TCPStore

from m3d_condense.machine import joining
from m3d_condense.machine.group import ALONE, current
from m3d_condense.machine.joining import process_group
from m3d_condense.tools.errors import UserError


@pytest.fixture
def store() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def set_environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("changes", [{"WORLD_SIZE": "1"}, {"TORCHELASTIC_RUN_ID": None}])
def test_without_other_processes_of_torchrun_a_process_is_alone(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None]
) -> None:
    set_environment(monkeypatch, environment(0, 2, 1))
    for name, value in changes.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with process_group() as group:
        assert group is current() is ALONE


def test_who_is_missing_is_said_and_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch, store: TCPStore, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, environment(1, 4, store.port))
    monkeypatch.setattr(joining, "FIND", 0.2)
    monkeypatch.setattr(joining, "COME", 0.6)
    with pytest.raises(UserError, match=r"processes 0, 2, 3 of 4 have not come to 127\.0\.0\.1"), process_group():
        raise AssertionError
    assert "process 1 waits at 127.0.0.1" in capsys.readouterr().err


def test_a_store_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "REACH", 0.5)
    with socket.socket() as closed:  # takes a port, and listens to nobody there
        closed.bind(("127.0.0.1", 0))
        set_environment(monkeypatch, environment(1, 2, closed.getsockname()[1]))
        with pytest.raises(UserError, match=r"process 1 of 2 cannot reach the others at 127\.0\.0\.1"), process_group():
            raise AssertionError


def test_what_earlier_processes_left_in_the_store_is_not_taken_for_others(
    monkeypatch: pytest.MonkeyPatch, store: TCPStore
) -> None:
    store.set("meeting", "earlier")
    for rank in range(2):
        store.set(f"earlier/{rank}", "gone")
    store.set("earlier/all", "gone gone")
    set_environment(monkeypatch, environment(1, 2, store.port))
    monkeypatch.setattr(joining, "COME", 0.3)
    with pytest.raises(UserError, match="have not come"), process_group():
        raise AssertionError


def test_the_processes_of_a_machine_share_its_cores_where_torchrun_has_set_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not tell which cores a process has")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)))
    monkeypatch.setattr(joining, "_launchers_own", lambda given: given == "1")

    def work() -> int:
        return torch.get_num_threads()

    assert together(2, work) == [3, 3]
    monkeypatch.setattr(joining, "_launchers_own", lambda given: False)
    assert together(2, work) == [1, 1]


def test_torchruns_one_thread_is_told_from_the_users() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells what a process was started with")
    asks = "from m3d_condense.machine.joining import _launchers_own as own; import sys; sys.exit(not own('1'))"
    sets = "import os, subprocess, sys; os.environ['OMP_NUM_THREADS'] = '1'"
    launcher = f"{sets}; sys.exit(subprocess.call([sys.executable, '-c', {asks!r}]))"
    without = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    assert subprocess.call([sys.executable, "-c", launcher], env=without) == 0
    assert subprocess.call([sys.executable, "-c", launcher], env=without | {"OMP_NUM_THREADS": "1"}) == 1


def test_a_process_alone_loads_no_torch() -> None:
    enters = "from m3d_condense.machine.joining import process_group; process_group().__enter__()"
    assert subprocess.call([sys.executable, "-c", f"{enters}; import sys; sys.exit('torch' in sys.modules)"]) == 0
