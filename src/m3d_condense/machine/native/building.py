"""`block.cpp` and its headers: compiled by the machine's C++ compiler on first use, kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from m3d_condense.tools.cache import folder_of, temporary_folder
from m3d_condense.tools.files import write_folder
from m3d_condense.tools.leftovers import held, sweep_within
from m3d_condense.tools.progress import notice

SOURCE = Path(__file__).with_name("block.cpp")
MACHINES = {  # what torch means by these names; a processor need not have all of x86-64-v3 or v4
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
BFLOAT16 = ("-mavx512bf16", "-DM3D_BFLOAT16")  # beside those of AVX512
AMX = ("-mamx-tile", "-mamx-bf16", "-DM3D_AMX")  # beside those
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp")


def compiler() -> str | None:
    """Return the C++ compiler of this machine: $CXX, or the first of the usual names that is there."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((name for name in names if name and shutil.which(name)), None)


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies numbers in bfloat16, and torch is to use its registers."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and bool(torch.cpu._is_avx512_bf16_supported())


def has_tiles() -> bool:
    """Whether this processor multiplies numbers in bfloat16 in tiles of registers (AMX), and the system lets it."""
    return multiplies_bfloat16() and torch.cpu._is_amx_tile_supported() and bool(torch.cpu._init_amx())


@functools.cache
def library(products: torch.dtype) -> ctypes.CDLL | None:
    """Return the code for this processor, compiled now where it has not been; None where that cannot be done.

    Args:
        products: what those of Winograd's convolution are of: float32, or bfloat16 where `multiplies_bfloat16`.
    """
    if compiler() is None:
        return None
    flags = MACHINES.get(torch.backends.cpu.get_cpu_capability(), ())
    if products == torch.bfloat16:
        flags = (*flags, *BFLOAT16)
    try:
        if products == torch.bfloat16 and has_tiles():
            with suppress(subprocess.CalledProcessError):  # an older compiler knows AVX512-BF16 alone
                return build((*flags, *AMX))
        return build(flags)
    except (OSError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        notice(f"native blocks could not be built ({lines[0] if lines else error}); going on with torch's operations")
        return None


def build(flags: Sequence[str]) -> ctypes.CDLL:
    """Compile the code with these flags, or find it compiled, and load it.

    What was compiled before is opened only where it lies in a folder that nobody else can write to, and is what was
    written there, by its digest; anything else is compiled again.

    Raises:
        OSError: where it cannot be written or loaded.
        subprocess.SubprocessError: where it does not compile.
    """
    made_from = (compiler(), FLAGS, tuple(flags), platform.machine(), platform.libc_ver())
    text = b"".join(file.read_bytes() for file in (SOURCE, *sorted(SOURCE.parent.glob("*.h"))))
    entry = _folder() / hashlib.blake2b(repr(made_from).encode() + text, digest_size=8).hexdigest()
    with held(entry.parent, wait=True):  # another process that compiles the same ends first
        found = _loaded(entry)
        if found is None:
            _compile(entry, flags)
            found = _loaded(entry)
    if found is None:
        raise OSError(f"what was compiled to {entry} cannot be loaded")
    return found


def _folder() -> Path:
    """Return the folder of what is compiled; where the cache has none to write to, one for this process alone."""
    try:
        folder = folder_of("native")
    except OSError:
        folder = None
    if folder is None or not os.access(folder, os.W_OK):
        folder = temporary_folder()
    return folder


def _compile(entry: Path, flags: Sequence[str]) -> None:
    """Write the library, called by its digest, to a folder, which appears when it is complete."""
    sweep_within(entry.parent)  # what killed processes left of this and other versions
    if entry.is_symlink() or entry.is_file():
        entry.unlink()
    with write_folder(entry, replaceable=lambda folder: True) as new:
        new.chmod(0o700)
        made = new / "made"
        command = [compiler() or "c++", *FLAGS, *flags, "-o", str(made), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=300)
        made.chmod(0o600)
        made.rename(new / f"{hashlib.sha256(made.read_bytes()).hexdigest()}.so")


def _loaded(entry: Path) -> ctypes.CDLL | None:
    """Open the library in a folder that `_compile` wrote; None where there is none that can be trusted."""
    try:
        [library] = entry.iterdir()
        if not (_ours(entry) and _ours(library) and hashlib.sha256(library.read_bytes()).hexdigest() == library.stem):
            return None
        loaded = ctypes.CDLL(str(library))
        pointer, whole = ctypes.c_void_p, ctypes.c_int
        loaded.block_forward.argtypes = [pointer] * 5 + [ctypes.c_float] + [pointer] * 3 + [whole]
        for function in (loaded.block_backward, loaded.block_dot, loaded.block_dot_backward):
            function.argtypes = [pointer] * 12 + [whole]
        loaded.panel()
    except (OSError, ValueError, AttributeError):  # not one file; AttributeError: a function is missing
        return None
    return loaded


def _ours(path: Path) -> bool:
    """Whether a file or folder, no link, belongs to this user, and nobody else can write to it."""
    status = path.lstat()
    plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    if not hasattr(os, "geteuid"):
        return plain
    return plain and status.st_uid == os.geteuid() and not status.st_mode & 0o022
