"""Whether images fit in memory, told before they are read."""

from __future__ import annotations

from m3d_condense.machine.memory import available_memory, readable
from m3d_condense.tools.errors import Setting, UserError


def make_sure_of_room(count: int, channels: int, height: int, width: int) -> None:
    """Raise UserError where so many 8-bit images do not fit in the memory that is free."""
    need, free = count * channels * height * width, available_memory()
    if free is not None and need > free:
        raise UserError(
            f"{count:,} images of {width}×{height} pixels take {readable(need)} of memory, and {readable(free)} "
            f"are free; {Setting('size', 'N')} with a smaller N makes them N×N, or give fewer images"
        )
