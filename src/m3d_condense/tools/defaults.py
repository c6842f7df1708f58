"""What torch computes in where nothing is said: this package counts on float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def torchs_own() -> Iterator[None]:
    """Set torch's default device and type to its own, float32 on the CPU, and leave autocast, while this lasts."""
    import torch  # the command line's help does without

    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # where it is, no mode is entered, which would cost every call
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield
