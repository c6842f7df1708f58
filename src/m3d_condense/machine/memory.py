"""How much memory is free, how much a piece of work took at its peak, and whether there was too little.

Torch is imported when asked.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_condense.tools.errors import Setting, UserError

if TYPE_CHECKING:
    import torch

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

Peak = tuple[int | None, str]
"""Bytes, None where the system does not tell, and of what: see `peak_memory`."""


def peak_memory(device: torch.device) -> Callable[[], Peak]:
    """Begin to watch memory; return a function that reports the peak since then, in bytes, and what it is of.

    What the peak is of is one word: "device", the tensors on a CUDA GPU; "run", the process's resident memory since
    this call, which only Linux can tell; or "process", its resident memory since it began.
    """
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: (torch.cuda.max_memory_allocated(device), "device")
    try:
        _hand_back()
        RESET.write_text("5")  # of proc(5): the high-water mark is set to what is resident now
        _high_water()
    except (OSError, AttributeError, StopIteration):
        return _of_process
    return lambda: (_high_water(), "run")


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may still take, swap included; None where the system does not tell.

    It is the least of what the machine and the control groups of this process, of version 1 or 2, have free. `root`
    is where the system's files are looked for.
    """
    free = [_free_of_machine(root / "proc/meminfo"), *_free_of_groups(root)]
    known = [count for count in free if count is not None]
    return max(0, min(known)) if known else None


def check_room(nbytes: int, setting: str, value: object) -> None:
    """Raise `UserError`, which names a setting, where what its value needs does not fit in the memory that is free."""
    free = available_memory()
    if free is not None and nbytes > free:
        said = f"this takes {readable(nbytes)} of memory, and {readable(free)} are free; give a smaller number"
        raise UserError(said, setting=setting, value=value)


def _free_of_machine(file: Path) -> int | None:
    try:
        lines = (line.partition(":") for line in file.read_text().splitlines())
        kib = {name: int(rest.split()[0]) for name, _, rest in lines if name in ("MemAvailable", "SwapFree")}
        return 1024 * (kib["MemAvailable"] + kib.get("SwapFree", 0))
    except (OSError, ValueError, KeyError):
        return None


def _free_of_groups(root: Path) -> Iterator[int | None]:
    """Yield what the process's control groups, and those around them, have free."""
    try:
        lines = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        group = Path(path.lstrip("/"))
        for name in (group, *group.parents):  # in a container, the last of them is the container's
            if not controllers:
                folder = root / "sys/fs/cgroup" / name
                yield _free_of_group(folder / "memory.max", folder / "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                folder = root / "sys/fs/cgroup/memory" / name
                files = folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes"
                yield _free_of_group(*files, "total_inactive_file")


def _free_of_group(limit: Path, used: Path, reclaimable: str) -> int | None:
    """Return the bytes a group has free, files it need not keep in memory counted as such; None without a limit."""
    try:
        statistics = dict(line.split() for line in limit.with_name("memory.stat").read_text().splitlines())
        return int(limit.read_text()) - int(used.read_text()) + int(statistics.get(reclaimable, 0))
    except (OSError, ValueError):  # ValueError: the limit is "max"
        return None


def too_little() -> str:
    """Say that memory ran out, and what needs less of it."""
    return f"out of memory; fewer GiB in {Setting('memory')}, or a smaller {Setting('size')}, needs less"


def ran_out(error: BaseException) -> bool:
    """Whether an error is Python's, or torch's, word for too little memory."""
    if isinstance(error, RuntimeError):
        return re.search("can't allocate memory|out of memory|bad_alloc", str(error)) is not None
    return isinstance(error, MemoryError)


def readable(count: int | None) -> str:
    """Say a number of bytes in the unit that leaves one to four digits before the point; nothing for None."""
    if count is None:
        return ""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"


def _hand_back() -> None:
    """Give the system what earlier runs have freed, which `recycle_pages` keeps, lest it count as this one's."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _high_water() -> int:
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _of_process() -> Peak:
    try:
        import resource
    except ImportError:  # Windows
        return None, "process"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), "process"
