"""All images of a page in one picture, from which the page shows parts."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from m3d_condense.sets.pictures import as_picture

WIDTH = 1024  # pixels, unless one image is wider


@dataclass(frozen=True)
class Box:
    """Where an image lies in the sheet, in pixels: its left and top edge, width and height."""

    x: int
    y: int
    width: int
    height: int


@dataclass
class Sheet:
    """Images put beside one another, each at the size that it has, in rows of equal height.

    Attributes:
        parts: what has been put there.
    """

    parts: list[tuple[Box, Tensor]] = field(default_factory=list)
    _x: int = 0
    _y: int = 0
    _height: int = 0

    def add(self, image: Tensor) -> Box:
        """Put an image C×H×W, uint8, into the sheet; an image that is there already is put there again."""
        height, width = image.shape[1:]
        if height != self._height or (self._x and self._x + width > WIDTH):
            self._x, self._y, self._height = 0, self._y + self._height, height
        place = Box(self._x, self._y, width, height)
        self._x += width
        self.parts.append((place, image))
        return place

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet, at least a pixel."""
        right = max((place.x + place.width for place, _ in self.parts), default=1)
        return right, max((place.y + place.height for place, _ in self.parts), default=1)

    def png(self) -> bytes:
        """Return the sheet as a PNG, which loses nothing; grey where all images are."""
        mode = "RGB" if any(image.shape[0] == 3 for _, image in self.parts) else "L"
        sheet = Image.new(mode, self.size)
        for place, image in self.parts:
            sheet.paste(as_picture(image).convert(mode), (place.x, place.y))
        file = io.BytesIO()
        sheet.save(file, "PNG", optimize=True)
        return file.getvalue()
