"""Reading what `torch.save` wrote, by anyone: tensors and plain values, never objects, which could run any program."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from m3d_condense.machine.memory import ran_out
from m3d_condense.tools.errors import UserError


class _Passed:
    """Stands for a number or a type of numpy in a file, such as an accuracy: what it is made of is not looked at."""

    def __init__(self, *parts: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


PASSED = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
"""What public code stores beside its images: accuracies as numbers of numpy, which torch does not read by itself."""


def read_torch(file: Path) -> Any:
    """Return what a file of `torch.save` holds, on the CPU.

    Raises:
        UserError: it cannot be read, or holds objects.
        OSError: the system cannot read it.
    """
    try:
        with torch.serialization.safe_globals([(_Passed, name) for name in PASSED]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's dialects
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError:  # torch's own message advises to run them
        fault = "holds Python objects, which could run any program; save tensors alone, in lists or dicts"
        raise UserError(f"{file} {fault}") from None
    except Exception as error:  # what is no such file may raise anything
        if ran_out(error):
            raise
        raise UserError(f"{file} is damaged, or was not written by torch.save; fetch it again") from None
