"""Device, memory format, native blocks, compilation and chunks: how a network runs on this machine."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from m3d_condense.machine import native
from m3d_condense.machine.costs import FORWARD, forward_flops
from m3d_condense.machine.execution import Execution, name_of
from m3d_condense.machine.matching import Distance, Matching, derived_matching
from m3d_condense.machine.native.gradients import native_matching
from m3d_condense.machine.process import recycle_pages
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import notice
from m3d_condense.tools.ranges import even_ranges

PIECE = 256  # images through a network at once on a CPU, where more gains nothing
CPU_PIXELS = 2**20  # of the images through a network on a CPU at once: 1,024 of 32×32, 20 of 224×224
GPU_PIXELS = 2**22  # of the images through a network on a GPU at once; its kernels count numbers in 32 bits
CPU_BUDGET, GPU_SHARE = 2**30, 0.5  # memory for one chunk's activations: bytes, share of what is free
REGISTERS = {"AVX512": 512, "AVX2": 256}  # their bits, by torch's name of a processor; others are one kind
COMPILE_SECONDS = 1.9  # a layer, to compile a network forward and backward, from cold
EAGER_FLOPS = {"cpu": 1.5e11, "cuda": 2e13}  # a second, of a convolutional network without compilation
COMPILED_GAIN = 2.0  # at least; measured in benchmarks


class Engine:
    """The resolved execution: where tensors live, in what precision networks run, and what is compiled.

    Raises:
        UserError: for a device that torch does not know or this machine lacks.
    """

    def __init__(self, execution: Execution | None = None) -> None:
        self.execution = Execution() if execution is None else execution
        if not isinstance(self.execution, Execution):
            raise UserError("an Execution, such as Execution(device='cpu')", setting="execution", value=execution)
        self.device = self.execution.resolve_device()
        if self.device.type == "cpu":
            recycle_pages()
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self.execution.precision == "tf32"
        self.dtype = self.execution.resolve_dtype(self.device)

    def describe(self) -> str:
        """Say in a few words where the work is done."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu, {torch.get_num_threads()} threads" if self.device.type == "cpu" else self.device.type

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

    @property
    def in_tf32(self) -> bool:
        """Whether products of float32 are rounded to the ten bits of tf32, which GPUs alone have."""
        return self.device.type == "cuda" and self.execution.precision == "tf32"

    def resident(self, images: Tensor) -> Tensor:
        """Return uint8 images on the device where they fit beside the work, else where they are."""
        return images.to(self.device) if self.fits(images.nbytes) else images

    def fits(self, nbytes: int) -> bool:
        """Whether so many bytes fit on the device beside the work."""
        return self.device.type != "cuda" or nbytes <= self.budget // 2

    def place(
        self, network: nn.Module, example: Tensor, images: float, *, stacked: bool = False, twice: bool = False
    ) -> Placed:
        """Move a network to the device, and decide how it runs there: in our own code, compiled, or as it is.

        Decided from counted operations and nominal speeds, never from a clock, so that the same command makes the
        same pixels.

        Args:
            network: is changed in place.
            example: one image 1×C×H×W.
            images: how many will go through the network, forward and backward: compiling must pay back over them.
            stacked: whether it will run through torch.func on stacked parameters, which neither our own code nor
                the compiler does here.
            twice: whether gradients of its weights will be matched: our own code derives those by the images for a
                ConvNet alone.
        """
        network = network.to(self.device)
        products = native.swap(network, None if stacked else self._products, twice=twice)
        if products:
            return Placed(network=network, engine=self, native=products, reason=f"native blocks in {name_of(products)}")
        compiled, reason = self._pays(network, example, images)
        if stacked:
            compiled, reason = False, "not compiled: several networks run as one"
        if compiled:  # channels last pays only where the compiler fuses the norm; eager norms are slow in it
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Placed(network=network, engine=self, compiled=compiled, reason=reason)

    @property
    def _products(self) -> torch.dtype | None:
        """What native blocks are to multiply in; None where there are to be none."""
        precision = self.execution.precision
        if not self.execution.native or self.device.type != "cpu" or precision == "tf32":
            return None
        if precision == "bfloat16":
            return torch.bfloat16 if native.multiplies_bfloat16() else None
        return torch.float32

    def _pays(self, network: nn.Module, example: Tensor, images: float) -> tuple[bool, str]:
        """Tell whether compiling a network pays back over so many images, and why."""
        if self.execution.compile != "auto":
            return self.execution.compile == "yes", f"compile={self.execution.compile} was asked for"
        if self.device.type not in EAGER_FLOPS or not has_compiler(self.device):
            return False, f"not compiled: no compiler for {self.device.type} here"
        eager = images * forward_flops(network, example.to(self.device)) / FORWARD / EAGER_FLOPS[self.device.type]
        saved = eager * (1 - 1 / COMPILED_GAIN)
        cost = COMPILE_SECONDS * sum(not list(module.children()) for module in network.modules())
        verb = "compiled" if saved > cost else "not compiled"
        return saved > cost, f"{verb}: it would save about {saved:.0f} s and cost about {cost:.0f} s"

    def chunks(self, num_classes: int, bytes_per_class: int) -> list[range]:
        """Split the classes into ranges that fit the memory budget, as even as can be; none for no classes."""
        fit = max(self.budget // max(bytes_per_class, 1), 1)
        return even_ranges(num_classes, math.ceil(num_classes / fit)) if num_classes else []


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A network on its device, and how it runs there; made by `Engine.place`.

    Attributes:
        network: with its blocks swapped for native ones, where they serve.
        engine: that placed it.
        native: what its blocks multiply in, in our own code; None where they are torch's.
        compiled: whether functions of it are compiled.
        reason: why.
    """

    network: nn.Module
    engine: Engine
    native: torch.dtype | None = None
    compiled: bool = False
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """What its convolutions multiply in."""
        return self.native or self.engine.dtype

    @property
    def kept(self) -> torch.dtype:
        """What its maps are kept in for a pass backward."""
        return torch.float32 if self.native else self.engine.dtype

    @property
    def arithmetic(self) -> str:
        """Name what its results depend on, beyond what rounding alone would do."""
        return f"native{self._half}" if self.native else "tf32" if self.engine.in_tf32 else str(self.dtype)

    @property
    def numerics(self) -> str:
        """Name all that decides the last bits of its results on one machine, beside the threads."""
        how = f"native blocks{self._half}" if self.native else self._precision
        compiled = ", compiled" if self.compiled else ""
        return f"{how}{compiled} on {self.engine.device.type}, torch {torch.__version__}"

    @property
    def _precision(self) -> str:
        """Name what its convolutions multiply in."""
        return "tf32" if self.engine.in_tf32 else name_of(self.dtype)

    @property
    def _half(self) -> str:
        """What is added to the name of native blocks where they multiply in half the bits."""
        return " in bfloat16" if self.native == torch.bfloat16 else ""

    def describe(self) -> str:
        """Say in one line where it runs, and in what precision."""
        return f"{self.engine.describe()}, {self._precision}"

    def explain(self) -> str:
        """Say in one line how it runs, and why."""
        return f"{self.describe()}; {self.reason}"

    def eager(self) -> Placed:
        """Return the same network, not compiled."""
        return dataclasses.replace(self, compiled=False)

    def piece(self, images: Tensor, together: int = 1) -> int:
        """Return how many of these images …×H×W go at once through the network, or `together` networks as one."""
        return at_once(images, self.engine.device, together, native=self.native is not None)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of images, and more, that calls this network, as the network runs."""
        return function if self.native else self.compile(function)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of images, and more, in the engine's precision; compiled, it is so for fixed shapes."""
        fast: Callable[..., Any] | None = None
        if self.compiled:
            # A function that runs in two modes and several fixed shapes passes the default limit, and
            # would from then on run eagerly without a word.
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
            # torch keeps what it compiles by its settings, which name no registers unless they are told to: code
            # written for those of AVX-512 would be compiled for AVX2 where the same folder is met there, and be wrong.
            torch._inductor.config.cpp.simdlen = REGISTERS.get(torch.backends.cpu.get_cpu_capability())
            fast = torch.compile(function, dynamic=False)
        layout = torch.channels_last if self.compiled else torch.contiguous_format
        device, dtype = self.engine.device.type, self.engine.dtype

        def run(images: Tensor, *others: Any) -> Any:
            nonlocal fast
            images = images.contiguous(memory_format=layout)
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                if fast is not None:
                    try:
                        return fast(images, *others)
                    except torch._dynamo.exc.TorchDynamoException as error:  # a compiler that does not work
                        notice(f"compilation failed ({str(error).splitlines()[0]}); going on without it")
                        fast = None
                return function(images, *others)

        return run

    def matching(self, distance: Distance) -> Matching:
        """Return what matches gradients of this network's weights under a distance."""
        if self.native:
            return native_matching(self.network, distance)
        plain = derived_matching(self.network, distance)
        return Matching(self.compile(plain.gradients), self.compile(plain.to_images))


def at_once(images: Tensor, device: torch.device, networks: int = 1, *, native: bool = False) -> int:
    """Return how many of these images …×H×W go at once through a network on a device, or through several as one."""
    pixels = images.shape[-2] * images.shape[-1] * networks
    most = max((GPU_PIXELS if device.type == "cuda" else CPU_PIXELS) // pixels, 1)
    return most if native or device.type == "cuda" else min(most, PIECE)


def in_pieces(function: Callable[[Tensor], Any], images: Tensor, most: int) -> Any:
    """Apply a function of a batch in equal pieces of at most `most` images, so that one shape is compiled.

    The last piece is filled up with the first images, whose results there are dropped: a function that mixes images, as
    batch norm without running statistics does, sees images in all of them. It may return a tensor or a list of them.
    """
    count = math.ceil(len(images) / most)
    if count == 1:
        return function(images)
    piece = math.ceil(len(images) / count)
    parts = list(torch.split(images, piece))
    short = piece - len(parts[-1])
    if short:
        parts[-1] = torch.cat((parts[-1], images[:short]))
    results = [function(part) for part in parts]
    if isinstance(results[0], Tensor):
        return torch.cat(results)[: len(images)]
    return [torch.cat(kind)[: len(images)] for kind in zip(*results, strict=True)]


def load_optimisers() -> None:
    """Load now what torch's first optimiser does, up to a minute of a busy machine that is no run's."""
    importlib.import_module("torch._dynamo")


@functools.cache
def has_compiler(device: torch.device) -> bool:
    """Whether inductor can build code here: a C++ compiler for the CPU, triton for a GPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return native.compiler() is not None
