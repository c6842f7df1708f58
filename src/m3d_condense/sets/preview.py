"""A picture of a condensed set: its stored images, class by class."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from m3d_condense.sets.pictures import as_picture
from m3d_condense.sets.text import one_line

MAX_CLASSES, MAX_IMAGES = 100, 10  # classes, and images a class, in the preview
CELL = (64, 128)  # least and greatest height of an image in the preview, pixels
LABEL_WIDTH, FONT_SIZE, GAP, COLUMN_GAP = 150, 15, 3, 12  # pixels
SCREEN = 4 / 3  # width over height that the whole comes near

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where everything lies, in pixels.

    Attributes:
        cell: width and height of an image.
        left, right: margins of a row, for the name and for the count of what is left out.
        images: shown at most in a row.
        rows, columns: of classes; a column is filled before the next.
    """

    cell: tuple[int, int]
    left: int
    right: int
    images: int
    rows: int
    columns: int

    @property
    def row_size(self) -> tuple[int, int]:
        """Width and height of what shows one class."""
        return self.left + self.images * (self.cell[0] + GAP) + self.right, self.cell[1] + GAP

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all rows."""
        width, height = self.row_size
        return self.columns * (width + COLUMN_GAP) - COLUMN_GAP, GAP + self.rows * height

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top of the row of the class shown as `number`."""
        column, row = divmod(number, self.rows)
        width, height = self.row_size
        return column * (width + COLUMN_GAP), GAP + row * height


def preview(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw images, a row a class with its name at the left, on white.

    Rows stand in as many columns as bring the picture near the shape of a screen. At most 10 images a row and 100
    classes; what is left out is counted ("+40 more"). Small images are enlarged by whole factors to at least 64 pixels
    high, those over 128 reduced to that.

    Args:
        images: N×C×H×W, uint8.
        labels: N, of 0..K-1.
        class_names: K.
    """
    font = ImageFont.load_default(size=FONT_SIZE)
    names = [_label(font, name, k) for k, name in enumerate(class_names[:MAX_CLASSES])]
    layout = _layout(images, labels, font, names)
    width, height = layout.size
    classes_left = len(class_names) - len(names)
    bottom = 2 * FONT_SIZE if classes_left else 0
    picture = Image.new("RGB", (width, height + bottom), "white")
    for number, name in enumerate(names):
        _draw_row(picture, layout, font, number, name, images[labels == number])
    if classes_left:
        place, text = (2 * GAP, height + FONT_SIZE), f"+{classes_left} more classes"
        ImageDraw.Draw(picture).text(place, text, "gray", font, anchor="lm")
    return picture


def _draw_row(picture: Image.Image, layout: _Layout, font: Font, number: int, name: str, images: Tensor) -> None:
    """Draw the name of a class, its first images, and how many more it has."""
    draw = ImageDraw.Draw(picture)
    left, top = layout.corner(number)
    middle = top + layout.cell[1] // 2
    draw.text((left + 2 * GAP, middle), name, "black", font, anchor="lm")
    for column, image in enumerate(images[: layout.images]):
        place = (left + layout.left + column * (layout.cell[0] + GAP), top)
        picture.paste(_cell(image, layout.cell), place)
    if len(images) > layout.images:
        text = f"+{len(images) - layout.images} more"
        draw.text((left + layout.row_size[0] - layout.right + GAP, middle), text, "gray", font, anchor="lm")


def _layout(images: Tensor, labels: Tensor, font: Font, names: list[str]) -> _Layout:
    """Lay out the rows of the first classes, which are called `names`."""
    most = int(labels.bincount()[: len(names)].max())
    shown = min(most, MAX_IMAGES)
    left = max(_text_width(font, name) for name in names) + 5 * GAP
    right = _text_width(font, f"+{most - shown} more") + 3 * GAP if most > shown else 0
    height, width = _cell_size(*images.shape[2:])
    layouts = [
        _Layout(
            cell=(width, height),
            left=left,
            right=right,
            images=shown,
            rows=math.ceil(len(names) / columns),
            columns=columns,
        )
        for columns in range(1, len(names) + 1)
    ]
    return min(layouts, key=_distance_from_screen)


def _distance_from_screen(layout: _Layout) -> float:
    width, height = layout.size
    return abs(math.log(width / height / SCREEN))


def _cell_size(height: int, width: int) -> tuple[int, int]:
    """Shown height and width of an image of that size."""
    least, greatest = CELL
    if height <= greatest:
        scale = max(1, math.ceil(least / height))
        return height * scale, width * scale
    return greatest, max(1, round(width * greatest / height))


def _cell(image: Tensor, size: tuple[int, int]) -> Image.Image:
    picture = as_picture(image)
    return picture.resize(size, Image.Resampling.NEAREST if size[1] >= picture.height else Image.Resampling.BOX)


def _text_width(font: Font, text: str) -> int:
    return int(font.getlength(text)) + 1


def _label(font: Font, name: str, number: int) -> str:
    """`name` in the characters the embedded font has (ASCII), the number where none is left, cut to the margin."""
    start = one_line(name)[:LABEL_WIDTH]  # no letter is narrower than a pixel
    parts = (unicodedata.normalize("NFKD", character) for character in start)
    text = "".join(part.encode("ascii", "ignore").decode() or "?" for part in parts)
    if not any(character.isalnum() for character in text):
        text = f"class {number}"
    if _text_width(font, text) <= LABEL_WIDTH:
        return text
    fitting = bisect_right(range(len(text)), LABEL_WIDTH, key=lambda length: _text_width(font, f"{text[:length]}…"))
    return f"{text[: fitting - 1].rstrip()}…"
