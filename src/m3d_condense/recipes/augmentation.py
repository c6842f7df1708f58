"""Which operations change images while networks see them, as a value. Free of torch, so that help is quick."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from m3d_condense.tools.errors import UserError

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate", "resizedcrop", "jitter", "lighting")
ALWAYS = ("color", "flip", "cutout", "resizedcrop", "jitter", "lighting")
"""Applied at every draw in IDC's form; of the other operations one is drawn."""
DRAWS = ("idc", "dsa")


@dataclass(frozen=True)
class Augmentation:
    """Operations, and the way they are drawn.

    Attributes:
        operations: some of `OPERATIONS`, in the order they were written.
        draw: "idc" applies the operations of `ALWAYS` wherever they are listed and one of the rest; "dsa" applies one
            operation of the whole list.

    Raises:
        UserError: for a way of drawing that there is not.
    """

    operations: tuple[str, ...] = ()
    draw: str = "idc"

    def __post_init__(self) -> None:
        if self.draw not in DRAWS:
            raise UserError(f"one of {', '.join(DRAWS)}", setting="augmentation_draw", value=self.draw)

    @classmethod
    def parse(cls, text: str, draw: str = "idc", *, setting: str = "augmentation") -> Augmentation:
        """Read operations joined by "_", such as ``color_crop_cutout``; empty or "none" has none.

        Raises:
            UserError: for an operation that there is not, in the name of the setting that holds the text.
        """
        operations = () if text in ("", "none") else tuple(text.split("_"))
        for name in operations:
            if name not in OPERATIONS:
                raise UserError(f"no {name!r} among {', '.join(OPERATIONS)}", setting=setting, value=text)
        return cls(operations, draw)

    def without(self, name: str) -> Augmentation:
        """Return the augmentation that leaves one operation out."""
        return dataclasses.replace(self, operations=tuple(kept for kept in self.operations if kept != name))

    def where(self, *, mirrored: bool) -> Augmentation:
        """Return the augmentation for images that keep their class when mirrored, or that do not."""
        return self if mirrored else self.without("flip")

    def __str__(self) -> str:
        return "_".join(self.operations) or "none"
