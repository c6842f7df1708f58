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
MACHINES = {"AVX512": "-march=x86-64-v4", "AVX2": "-march=x86-64-v3"}
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp")


def compiler() -> str | None:
    """Return the C++ compiler of this machine: $CXX, or the first of the usual names that is there."""
    names = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((name for name in names if name and shutil.which(name)), None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the code for this processor, compiled now where it has not been; None where that cannot be done."""
    machine = MACHINES.get(torch.backends.cpu.get_cpu_capability())
    try:
        return build([machine] if machine else []) if compiler() else None
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()[0]
        notice(f"native blocks could not be built ({said}); going on with torch's own operations")
        return None


def build(flags: Sequence[str]) -> ctypes.CDLL:
    """Compile the code with these flags, or find it compiled, and load it.

    Raises:
        OSError: where it cannot be written or loaded.
        subprocess.SubprocessError: where it does not compile.
    """
    program = compiler() or "c++"
    source = SOURCE.read_bytes()
    key = hashlib.blake2b(repr((program, FLAGS, tuple(flags))).encode() + source, digest_size=8).hexdigest()
    file = cache_folder() / "native" / f"{key}.so"
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = tempfile.mkdtemp(dir=file.parent)
        except OSError:  # a home that cannot be written: compile for this process alone
            beside = tempfile.mkdtemp()
            file = Path(beside) / file.name
            atexit.register(shutil.rmtree, beside, ignore_errors=True)
        try:
            made = Path(beside) / "made.so"
            command = [program, *FLAGS, *flags, "-o", str(made), str(SOURCE)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            made.replace(file)
        finally:
            if file.parent != Path(beside):
                shutil.rmtree(beside, ignore_errors=True)
    loaded = ctypes.CDLL(str(file))
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    loaded.block_forward.argtypes = [pointer] * 5 + [ctypes.c_float] + [pointer] * 3 + [whole]
    loaded.block_backward.argtypes = [pointer] * 12 + [whole]
    loaded.block_forward.restype = loaded.block_backward.restype = None
    return loaded


def serves(block: nn.Module) -> bool:
    """Whether the code computes this block: convolution 3×3, instance norm with weights, ReLU, pooling 2×2."""
    if not (isinstance(block, nn.Sequential) and len(block) == 4 and library() is not None):
        return False
    convolution, norm, activation, pool = block
    if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.GroupNorm) and norm.affine):
        return False
    panel = library().panel()  # type: ignore[union-attr]
    before, after = convolution.in_channels, convolution.out_channels
    few, padding = before < panel // 2, convolution.padding[0]
    return (
        convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding == (padding, padding)
        and (few or (before % panel == 0 and padding == 1))
        and after % panel == 0
        and norm.num_groups == after
        and isinstance(activation, nn.ReLU)
        and isinstance(pool, nn.AvgPool2d)
        and pool.kernel_size == pool.stride == 2
        and pool.padding == 0
    )


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
        ctx.padding = padding
        ctx.save_for_backward(images, weight, gamma, beta, maps, statistics)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, gamma, beta, maps, statistics = ctx.saved_tensors
        gradient = gradient.float().contiguous(memory_format=torch.channels_last)
        of_images = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        of_weights = [
            torch.empty_like(part) if any(ctx.needs_input_grad[1:4]) else None for part in (weight, gamma, beta)
        ]
        _library().block_backward(
            _sizes(images, weight, ctx.padding),
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
    out = torch.empty(count, after, height // 2, width // 2, memory_format=torch.channels_last)
    maps = images.new_empty(count, after * height * width) if keep else None
    statistics = images.new_empty(count, 2, after) if keep else None
    _library().block_forward(
        _sizes(images, weight, padding),
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


def _sizes(images: Tensor, weight: Tensor, padding: int) -> Any:
    count, channels, height, width = images.shape
    return (ctypes.c_int64 * 6)(count, height, width, channels, len(weight), padding)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
