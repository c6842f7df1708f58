"""Run a function in several processes that work together, as those that torchrun starts do."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from m3d_condense.machine.joining import process_group

PATIENCE = 60.0  # seconds that a test waits for its processes


def together(count: int, work: Callable[[], Any]) -> list[Any]:
    """Return what `work` returns, or the exception it raises, in each of `count` processes that are one group.

    The processes are forked, so that they need not load torch again; one that is killed returns its exit status.
    """
    if torch.cuda.is_initialized():
        pytest.skip("a process that has used a GPU cannot be forked")
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_run, args=(rank, count, work, pipes[rank][1]), daemon=True) for rank in range(count)
    ]
    for process in processes:
        process.start()
    # Hosted here, as by torchrun and not by a process of the group, which may end first; and not before all are forked,
    # as a process would hang that is forked while the store's thread holds a lock of the C library.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for here, there in pipes:
        there.close()
        here.send(store.port)
    try:
        return [_result(process, here) for process, (here, _) in zip(processes, pipes, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun sets in the environment of a process."""
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return ranks | sizes | place | {"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"}


def _run(rank: int, count: int, work: Callable[[], Any], parent: Connection) -> None:
    os.environ.update(environment(rank, count, parent.recv()) | {"OMP_NUM_THREADS": "1"})
    torch.set_num_threads(1)
    try:
        with process_group():
            result = work()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if not isinstance(error, (ValueError, OSError, SystemExit, KeyboardInterrupt)):
            traceback.print_exc()
        result = error
    parent.send_bytes(pickle.dumps(result))  # not `send`, with which torch would share memory
    parent.close()
    os._exit(0)


def _result(process: Any, receiver: Connection) -> Any:
    if not receiver.poll(PATIENCE):
        raise TimeoutError("a process has not ended")
    try:
        return pickle.loads(receiver.recv_bytes())
    except EOFError:  # killed
        process.join()
        return process.exitcode
