"""What is asked of the machine, device and precision first, and what that comes to here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from m3d_condense.recipes.given import of_kind
from m3d_condense.tools.errors import Setting, UserError

MOST_MEMORY = 2**20  # GiB that can be asked for
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
ROUNDING = ("device", "precision", "native", "compile")
"""What of this the last bits of a result depend on."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run. None of it changes what is computed beyond rounding.

    Attributes:
        device: "auto" (a GPU where there is one), or any torch device, such as "cpu" or "cuda:1".
        precision: "auto" (bfloat16 where the hardware has it), "float32", "tf32" (of NVIDIA's GPUs) or
            "bfloat16", of the networks' convolutions; kernels, losses and pixels are always float32.
        native: whether the blocks of ConvNet and ResNetAP run in our own code on a CPU (see
            `m3d_condense.machine.native`). They do not where a precision is asked for that it lacks there.
        compile: whether networks without native blocks are compiled: "auto" (where it pays back), "yes" or "no".
        memory: GiB for the activations of one chunk of classes; 0 lets the device decide.
    """

    device: str = "auto"
    precision: str = "auto"
    native: bool = True
    compile: str = "auto"
    memory: float = 0.0

    def __post_init__(self) -> None:
        device = str(self.device) if isinstance(self.device, torch.device) else self.device
        kinds = {"native": bool, "precision": str, "compile": str, "memory": float}
        plain = {name: of_kind(name, getattr(self, name), kind) for name, kind in kinds.items()}
        for name, value in {**plain, "device": of_kind("device", device, str)}.items():
            object.__setattr__(self, name, value)
        if self.precision not in PRECISIONS:
            raise UserError(f"one of {', '.join(PRECISIONS)}", setting="precision", value=self.precision)
        if self.compile not in ("auto", "yes", "no"):
            raise UserError("auto, yes or no", setting="compile", value=self.compile)
        if not 0.0 <= self.memory <= MOST_MEMORY:
            raise UserError(f"GiB, from 0 to {MOST_MEMORY}", setting="memory", value=self.memory)

    def arithmetic(self) -> dict[str, object]:
        """Return what of it processes that work together must agree on, as the user would name it: not the device."""
        return {str(Setting(name)): getattr(self, name) for name in ROUNDING if name != "device"}

    def resolve_device(self) -> torch.device:
        """Return the device that is asked for, with its number, as its tensors have it.

        Raises `UserError` for one that torch does not know or is not here.
        """
        if self.device == "auto":
            accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            return torch.empty(0, device=accelerator or "cpu").device
        try:
            one = torch.zeros(1, device=self.device)
            one.item()  # "meta", for one, takes tensors and holds no values
        except (RuntimeError, AssertionError, ImportError) as error:
            raise UserError(str(error).splitlines()[0], setting="device", value=self.device) from None
        return one.device

    def resolve_dtype(self, device: torch.device) -> torch.dtype:
        """Return what the precision that is asked for comes to on a device, in torch's own code."""
        if self.precision != "auto":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
        return torch.bfloat16 if native else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """Return "float32" for torch.float32, and so on."""
    return str(dtype).removeprefix("torch.")
