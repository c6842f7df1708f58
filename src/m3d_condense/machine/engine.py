"""Device, precision, memory format, compilation and chunks: the only room that knows hardware."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense.machine import native
from m3d_condense.machine.costs import forward_flops
from m3d_condense.machine.process import recycle_pages
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice

PIECE, GPU_PIECE = 256, 4096  # images through a network at once; on a CPU more gains nothing
NATIVE_PIXELS = 2**20  # of the images through native blocks at once: 1,024 of 32×32
CPU_BUDGET, GPU_SHARE = 2**30, 0.5  # memory for one chunk's activations: bytes, share of what is free
COMPILE_SECONDS = 1.9  # a layer, to compile a network forward and backward, from cold
EAGER_FLOPS = {"cpu": 1.5e11, "cuda": 2e13}  # a second, of a convolutional network without compilation
MOST_MEMORY = 2**20  # GiB that can be asked for
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
COMPILED_GAIN = 2.0  # at least; measured in benchmarks


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run, none of which changes what is computed beyond rounding.

    Attributes:
        device: "auto" (a GPU where there is one), or any torch device, such as "cpu" or "cuda:1".
        precision: "auto" (bfloat16 where the hardware has it), "float32", "tf32" (of NVIDIA's GPUs) or
            "bfloat16", of the networks' convolutions; kernels, losses and pixels are always float32.
        native: whether ConvNet's blocks run in our own code on a CPU, in float32 (see `m3d_condense.machine.native`);
            another precision, if asked for, rules it out.
        compile: "auto" (where it pays back), "yes" or "no", of what that does not compute.
        memory: GiB for the activations of one chunk of classes; 0 lets the device decide.
    """

    device: str = "auto"
    precision: str = "auto"
    native: bool = True
    compile: str = "auto"
    memory: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"one of {', '.join(PRECISIONS)}", setting="precision", value=self.precision)
        if self.compile not in ("auto", "yes", "no"):
            raise UserError("auto, yes or no", setting="compile", value=self.compile)
        if not 0.0 <= self.memory <= MOST_MEMORY:
            raise UserError(f"GiB, from 0 to {MOST_MEMORY}", setting="memory", value=self.memory)


class Engine:
    """The resolved execution: where tensors live, in what precision networks run, and what is compiled.

    Raises:
        UserError: for a device that torch does not know or this machine lacks.
    """

    def __init__(self, execution: Execution | None = None) -> None:
        self.execution = execution or Execution()
        self.device = _device(self.execution.device)
        if self.device.type == "cpu":
            recycle_pages()
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self.execution.precision == "tf32"
        self.dtype = _dtype(self.execution.precision, self.device)
        self.reason = ""  # of the last choice for or against compilation

    def describe(self) -> str:
        """Say in one line what is used."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{name}{threads}, {str(self.dtype).removeprefix('torch.')}"

    @property
    def budget(self) -> int:
        """Bytes for the activations of one chunk."""
        if self.execution.memory:
            return int(self.execution.memory * 2**30)
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0] * GPU_SHARE)
        return CPU_BUDGET

    @property
    def stacks(self) -> bool:
        """Whether networks that are trained alike are trained as one: a GPU is not filled by one of them."""
        return self.device.type == "cuda"

    def resident(self, images: Tensor) -> Tensor:
        """Return uint8 images on the device where they fit beside the work, else where they are."""
        if self.device.type == "cuda" and images.nbytes > self.budget // 2:
            return images
        return images.to(self.device)

    def serves(self, network: nn.Module) -> bool:
        """Whether our own code computes the blocks of this network."""
        wanted = self.execution.native and self.execution.precision in ("auto", "float32")
        if not (wanted and self.device.type == "cpu" and _may_be_native(network)):
            return False
        return all(native.serves(block) for block in network.blocks)  # type: ignore[union-attr]

    def pays(self, network: nn.Module, image: Tensor, images: float) -> bool:
        """Whether compiling `network` pays back over this many images forward and backward.

        Decided from counted operations and nominal speeds, never from a clock, so that the same command
        makes the same pixels. `image` is one example, 1×C×H×W; the reason is left in `reason`. What our own code
        computes needs no compiling.
        """
        if self.serves(network):
            self.reason = "native blocks in float32"
            return False
        if self.execution.compile != "auto":
            self.reason = f"compile={self.execution.compile} was asked for"
            return self.execution.compile == "yes"
        if self.device.type not in EAGER_FLOPS or not has_compiler(self.device):
            self.reason = f"not compiled: no compiler for {self.device.type} here"
            return False
        eager = 3 * images * forward_flops(network, image) / EAGER_FLOPS[self.device.type]
        saved = eager * (1 - 1 / COMPILED_GAIN)
        cost = COMPILE_SECONDS * sum(not list(module.children()) for module in network.modules())
        pays = saved > cost
        verb = "compiled" if pays else "not compiled"
        self.reason = f"{verb}: it would save about {saved:.0f} s and cost about {cost:.0f} s"
        return pays

    def place(self, network: nn.Module, compiled: bool) -> nn.Module:
        """Move a network to the device, to our own code if that serves, in the memory format that is fastest there.

        Channels last pays only where the compiler fuses the norm; eager norms are slow in it.
        """
        network = network.to(self.device)
        if _may_be_native(network):
            network.native = self.serves(network)  # type: ignore[assignment]
        if compiled:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def arithmetic(self, network: nn.Module) -> str:
        """Name what a network computes in: its results depend on it, beyond what rounding alone would do."""
        return "native" if self.serves(network) else str(self.dtype)

    def of(self, network: nn.Module, function: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
        """Return a function of images that calls a placed network, as that runs: native, compiled or neither."""
        return function if is_native(network) else self.compiled(function, compiled)

    def compiled(self, function: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
        """Return a function of images, and more, under this precision, compiled for fixed shapes if asked to."""
        fast: Callable[..., Any] | None = None
        if compiled:
            # A function that runs in two modes and several fixed shapes passes the default limit, and
            # would from then on run eagerly without a word.
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
            fast = torch.compile(function, dynamic=False)
        layout = torch.channels_last if compiled else torch.contiguous_format

        def run(images: Tensor, *others: Any) -> Any:
            nonlocal fast
            images = images.contiguous(memory_format=layout)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                if fast is not None:
                    try:
                        return fast(images, *others)
                    except (
                        torch._dynamo.exc.TorchDynamoException
                    ) as error:  # a compiler that is there but does not work
                        notice(f"compilation failed ({str(error).splitlines()[0]}); going on without it")
                        fast = None
                return function(images, *others)

        return run

    def chunks(self, num_classes: int, bytes_per_class: int) -> Iterator[range]:
        """Split the classes into ranges that fit the memory budget, as even as can be."""
        fit = max(self.budget // max(bytes_per_class, 1), 1)
        count = math.ceil(num_classes / fit)
        edges = [round(i * num_classes / count) for i in range(count + 1)]
        return (range(a, b) for a, b in zip(edges, edges[1:], strict=False))

    def piece(self, network: nn.Module, images: Tensor) -> int:
        """How many of these images …×H×W go through a network at once."""
        if is_native(network):
            return max(NATIVE_PIXELS // (images.shape[-2] * images.shape[-1]), 1)
        return GPU_PIECE if self.device.type == "cuda" else PIECE


def in_pieces(function: Callable[[Tensor], Any], images: Tensor, most: int) -> Any:
    """Apply a function of a batch in equal pieces of at most `most` images, so that one shape is compiled.

    The last piece is filled up with zeros, whose results are dropped; the function must not mix images. It may return
    a tensor or a list of them.
    """
    count = math.ceil(len(images) / most)
    if count == 1:
        return function(images)
    piece = math.ceil(len(images) / count)
    short = piece * count - len(images)
    if short:
        images = torch.cat((images, images.new_zeros(short, *images.shape[1:])))
    results = [function(part) for part in torch.split(images, piece)]
    if isinstance(results[0], Tensor):
        return torch.cat(results)[: len(images) - short]
    return [torch.cat(parts)[: len(images) - short] for parts in zip(*results, strict=True)]


@functools.cache
def has_compiler(device: torch.device) -> bool:
    """Whether inductor can build code here: a C++ compiler for the CPU, triton for a GPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return native.compiler() is not None


def is_native(network: nn.Module) -> bool:
    """Whether a network's blocks run in our own code."""
    return getattr(network, "native", None) is True


def _may_be_native(network: nn.Module) -> bool:
    return isinstance(getattr(network, "native", None), bool)


def in_torch(network: nn.Module) -> nn.Module:
    """Return a network of the same modules whose blocks run in torch's own operations; itself if they do already."""
    if not is_native(network):
        return network
    plain = copy.copy(network)
    plain.native = False  # type: ignore[assignment]
    return plain


def _device(name: str) -> torch.device:
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta", for one, takes tensors and holds no values
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(str(error).splitlines()[0], setting="device", value=name) from None
    return device


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
    return torch.bfloat16 if native else torch.float32
