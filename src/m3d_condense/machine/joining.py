"""Where the processes that torchrun has started find each other, share the cores, and part."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_condense.machine.group import ALONE, POLL, Group, working_in
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import tell

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

REACH = 25.0  # seconds to reach the store in, which torch tries twice
FIND = 45.0  # seconds until those who wait say for whom
CONNECT = timedelta(seconds=12)  # for one connection; torch tries it a few times
COME = 300.0  # seconds that those who are late, as on a slow disk, have in all
LONGEST = timedelta(days=7)  # that a process waits for the others where one may have much more to do
THREADS = "OMP_NUM_THREADS"


@contextmanager
def process_group() -> Iterator[Group]:
    """Work together with the processes that torchrun has started, while this lasts; started otherwise, alone.

    What several of the processes raise alike is raised by one of them; the others raise `SystemExit`.

    Raises:
        UserError: the others cannot be found.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    import torch.distributed as dist

    group = _join(size)
    try:
        with working_in(group):
            _share_cores(group)
            yield group
            group.wait()  # nobody leaves while another may still ask it
    except (UserError, OSError, KeyboardInterrupt) as error:
        if group.says(f"{type(error).__name__}: {error}"):
            raise
        raise SystemExit(1) from None
    finally:
        dist.destroy_process_group()


def _join(size: int) -> Group:
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local_rank % gpus)
    backend = "cpu:gloo,cuda:nccl" if gpus >= local_size else "gloo"  # NCCL takes one process for each GPU
    try:
        common, *_ = next(rendezvous("env://", timeout=timedelta(seconds=REACH)))
        store = PrefixStore(_meet(common, rank, size), common)
        own = PrefixStore("torch", store)
        dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=CONNECT)
    except RuntimeError as error:
        raise UserError(
            f"process {rank} of {size} cannot reach the others at {_place()} ({str(error).splitlines()[0]}); every "
            "machine must reach that address, and resolve its own name to one that the others reach "
            "(GLOO_SOCKET_IFNAME names the network interface)"
        ) from None
    dist.distributed_c10d._set_pg_timeout(LONGEST)
    return Group(rank=rank, size=size, local_rank=local_rank, local_size=local_size, store=store)


def _meet(store: Store, rank: int, size: int) -> str:
    """Wait until all processes have come, say who has not, and return a name that only these know.

    torchrun keeps its store when it starts the processes again: what the earlier ones left there must not be taken for
    ours. So the first process names the meeting, each signs with a word of its own, and it goes on once it finds that
    word in the list of all.
    """
    begun, told, signature = time.monotonic(), False, secrets.token_hex(8)
    if rank == 0:
        store.set("meeting", signature)
    while True:
        name = store.get("meeting").decode() if store.check(["meeting"]) else "none"
        store.set(f"{name}/{rank}", signature)
        missing = [other for other in range(size) if not store.check([f"{name}/{other}"])]
        if rank == 0 and not missing:
            store.set(f"{name}/all", " ".join(store.get(f"{name}/{other}").decode() for other in range(size)))
        if store.check([f"{name}/all"]) and signature in store.get(f"{name}/all").decode().split():
            return name
        waited, late = time.monotonic() - begun, f"{', '.join(map(str, missing))} of {size}"
        if waited > COME:
            raise UserError(f"processes {late} have not come to {_place()} in {COME:.0f} s; look at what they print")
        if waited > FIND and not told:
            tell(f"process {rank} waits at {_place()} for processes {late}, up to {COME:.0f} s")
            told = True
        time.sleep(POLL)


def _place() -> str:
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _share_cores(group: Group) -> None:
    """Give each process of this machine as many of its cores, unless the user has set the number of threads."""
    import torch

    given = os.environ.get(THREADS)
    if group.local_size == 1 or (given is not None and not _launchers_own(given)):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(cores // group.local_size, 1)
    torch.set_num_threads(threads)
    if group.leads:
        instead = "" if given is None else f" in place of torchrun's own {THREADS}={given}"
        each = f"{threads} thread{'s' if threads > 1 else ''} each"
        shared = f"{group.local_size} processes on {cores} cores: {each}{instead}"
        tell(f"{shared}; {THREADS} sets another number")


def _launchers_own(given: str) -> bool:
    """Whether torchrun has set the number of threads itself: it sets 1, and was not started with any."""
    try:
        started_with = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:  # another system, where what is set is taken for the user's
        return False
    return given == "1" and not any(entry.startswith(f"{THREADS}=".encode()) for entry in started_with)
