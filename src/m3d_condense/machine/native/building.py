"""`block.cpp` and its headers: compiled by the machine's C++ compiler on first use, kept in the user's cache folder."""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from m3d_condense.tools.cache import cache_folder
from m3d_condense.tools.progress import notice

SOURCE = Path(__file__).with_name("block.cpp")
MACHINES = {  # what torch means by these names; a processor need not have all of x86-64-v3 or v4
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp")


def compiler() -> str | None:
    """Return the C++ compiler of this machine: $CXX, or the first of the usual names that is there."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((name for name in names if name and shutil.which(name)), None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the code for this processor, compiled now where it has not been; None where that cannot be done."""
    if compiler() is None:
        return None
    try:
        return build(MACHINES.get(torch.backends.cpu.get_cpu_capability(), ()))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        notice(f"native blocks could not be built ({lines[0] if lines else error}); going on with torch's operations")
        return None


def build(flags: Sequence[str]) -> ctypes.CDLL:
    """Compile the code with these flags, or find it compiled, and load it.

    Raises:
        OSError: where it cannot be written or loaded.
        subprocess.SubprocessError: where it does not compile.
    """
    made_from = (compiler(), FLAGS, tuple(flags), platform.machine(), platform.libc_ver())
    text = b"".join(file.read_bytes() for file in (SOURCE, *sorted(SOURCE.parent.glob("*.h"))))
    key = hashlib.blake2b(repr(made_from).encode() + text, digest_size=8).hexdigest()
    file = cache_folder() / "native" / f"{key}.so"
    if not file.exists():
        file = _compiled(file, flags)
    loaded = ctypes.CDLL(str(file))
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    loaded.block_forward.argtypes = [pointer] * 5 + [ctypes.c_float] + [pointer] * 3 + [whole]
    for function in (loaded.block_backward, loaded.block_dot, loaded.block_dot_backward):
        function.argtypes = [pointer] * 12 + [whole]
    return loaded


def _compiled(file: Path, flags: Sequence[str]) -> Path:
    """Compile to this file, or where its folder cannot be written to one for this process alone; return which."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=file.parent))
    except OSError:
        beside = Path(tempfile.mkdtemp())
        file = beside / file.name
        atexit.register(shutil.rmtree, beside, ignore_errors=True)
    try:
        made = beside / "made.so"
        command = [compiler() or "c++", *FLAGS, *flags, "-o", str(made), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=300)
        made.replace(file)
    finally:
        if file.parent != beside:
            shutil.rmtree(beside, ignore_errors=True)
    return file
