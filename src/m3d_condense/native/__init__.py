"""A ConvNet's block on a CPU in our own code: convolution, instance norm, ReLU and pooling, and their gradients.

Winograd's convolution takes a quarter of the multiplications, and nothing of a block leaves the processor's cache
before it is pooled; what is computed is the same, in float32. `block.cpp` is compiled on first use, in seconds, and
kept in the user's cache folder; where that fails torch's own operations serve. Measured in docs/performance.md.

Shapes: N images, C×H×W pixels or maps, O maps after the convolution.
"""

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
from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense.cache import cache_folder
from m3d_condense.progress import notice

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
    key = hashlib.blake2b(repr(made_from).encode() + SOURCE.read_bytes(), digest_size=8).hexdigest()
    file = cache_folder() / "native" / f"{key}.so"
    if not file.exists():
        file = _compiled(file, flags)
    loaded = ctypes.CDLL(str(file))
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    loaded.block_forward.argtypes = [pointer] * 5 + [ctypes.c_float] + [pointer] * 3 + [whole]
    loaded.block_backward.argtypes = [pointer] * 12 + [whole]
    loaded.block_forward.restype = loaded.block_backward.restype = None
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


def serves(block: nn.Module) -> bool:
    """Whether the code computes this block: convolution 3×3, instance norm with weights, ReLU, pooling 2×2."""
    if not (isinstance(block, nn.Sequential) and len(block) == 4):
        return False
    layers: tuple[Any, ...] = tuple(block)
    convolution, norm, _, pool = layers
    if tuple(map(type, layers)) != (nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.AvgPool2d) or not norm.affine:
        return False
    before, after, padding = convolution.in_channels, convolution.out_channels, convolution.padding[0]
    usual = (
        convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding == (padding, padding)
        and convolution.padding_mode == "zeros"
        and padding >= 1
        and norm.num_groups == after
        and pool.kernel_size == pool.stride == 2
        and (pool.padding, pool.ceil_mode, pool.divisor_override) == (0, False, None)
    )
    found = library() if usual else None
    if found is None:
        return False
    panel = found.panel()
    few = before < panel // 2
    return bool(after % panel == 0 and (few or (before % panel == 0 and padding == 1)))


def usable(images: Tensor, layers: Any) -> bool:
    """Whether images and weights are where and what the code takes: on the CPU, weights in float32."""
    return images.device.type == "cpu" and all(part.dtype == torch.float32 for part in layers.parameters())


@torch.compiler.disable  # type: ignore[untyped-decorator]
def block(images: Tensor, layers: Any) -> Tensor:
    """Return what the four layers of such a block make of images N×C×H×W on the CPU: maps N×O×H/2×W/2, channels last.

    Its first derivatives are there, to the images and all weights, but for the convolution's bias: an instance norm
    takes away what that adds.
    """
    convolution, norm = layers[0], layers[1]
    images = images.float().contiguous(memory_format=torch.channels_last)
    weights = [part.contiguous() for part in (convolution.weight, norm.weight, norm.bias)]
    padding, eps = convolution.padding[0], norm.eps
    if torch.is_grad_enabled() and any(part.requires_grad for part in (images, *weights)):
        result: Tensor = _Block.apply(images, *weights, padding, eps)  # type: ignore[no-untyped-call]
        return result
    return _forward(images, *weights, padding, eps)[0]  # type: ignore[call-arg]


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, padding: int, eps: float
    ) -> Tensor:
        out, maps, statistics = _forward(images, weight, gamma, beta, padding, eps, keep=True)
        ctx.padding, ctx.shape = padding, images.shape
        kept = images if any(ctx.needs_input_grad[1:4]) else None
        ctx.save_for_backward(kept, weight, gamma, beta, maps, statistics)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, gamma, beta, maps, statistics = ctx.saved_tensors
        gradient = gradient.float().contiguous(memory_format=torch.channels_last)
        of_images = _channels_last(ctx.shape) if ctx.needs_input_grad[0] else None
        of_weights = [
            torch.empty_like(part) if any(ctx.needs_input_grad[1:4]) else None for part in (weight, gamma, beta)
        ]
        _library().block_backward(
            _sizes(ctx.shape, weight, ctx.padding),
            *map(_address, (images, weight, gamma, beta, maps, statistics, gradient, of_images, *of_weights)),
            torch.get_num_threads(),
        )
        return of_images, *of_weights, None, None


def _forward(
    images: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, padding: int, eps: float, keep: bool = False
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the pooled maps and, to be kept, those before the norm, by panels, and their statistics."""
    count, _, height, width = images.shape
    height, width, after = height + 2 * padding - 2, width + 2 * padding - 2, len(weight)
    out = _channels_last((count, after, height // 2, width // 2))
    maps = images.new_empty(count, after * height * width) if keep else None
    statistics = images.new_empty(count, 2, after) if keep else None
    _library().block_forward(
        _sizes(images.shape, weight, padding),
        *map(_address, (images, weight, gamma, beta)),
        eps,
        *map(_address, (maps, statistics, out)),
        torch.get_num_threads(),
    )
    return out, maps, statistics


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None, "serves() comes first"
    return found


def _channels_last(shape: Sequence[int]) -> Tensor:
    memory = {"dtype": torch.float32, "device": "cpu", "memory_format": torch.channels_last}
    return torch.empty(tuple(shape), **memory)  # type: ignore[call-overload, no-any-return]


def _sizes(shape: Sequence[int], weight: Tensor, padding: int) -> Any:
    count, channels, height, width = shape
    return (ctypes.c_int64 * 6)(count, height, width, channels, len(weight), padding)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
