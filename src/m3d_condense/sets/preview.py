"""A picture of a condensed set: its stored images, one row a class."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Protocol

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from torch import Tensor

MAX_ROWS, MAX_COLUMNS = 100, 10  # classes and images a class in the preview
CELL = (64, 128)  # least and greatest height of an image in the preview, pixels
LABEL_WIDTH, FONT_SIZE, GAP = 150, 15, 3  # pixels


class Drawable(Protocol):
    """What can be drawn: images N×C×H×W, uint8, with their labels, and the names of the classes."""

    @property
    def images(self) -> Tensor: ...  # noqa: D102

    @property
    def labels(self) -> Tensor: ...  # noqa: D102

    @property
    def class_names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def num_classes(self) -> int: ...  # noqa: D102


def preview(condensed: Drawable) -> Image.Image:
    """Draw the stored images, one row a class with its name at the left, on white.

    At most 10 images a row and 100 rows; what is left out is counted in the margin ("+40 more"). Small images
    are enlarged by whole factors to at least 64 pixels high, those over 128 reduced to that.
    """
    names = [_drawable(name, label) for label, name in enumerate(condensed.class_names[:MAX_ROWS])]
    rows = [(condensed.labels == label).nonzero().flatten().tolist() for label in range(len(names))]
    height, width = _cell_size(*condensed.images.shape[2:])
    font = ImageFont.load_default(size=FONT_SIZE)
    left = min(max(_text_width(font, name) for name in names), LABEL_WIDTH) + 5 * GAP
    columns = min(max(map(len, rows)), MAX_COLUMNS)
    hidden = [len(row) - columns for row in rows]
    right = _text_width(font, f"+{max(hidden)} more") + 3 * GAP if max(hidden) > 0 else 0
    rows_left = condensed.num_classes - len(names)
    bottom = 2 * FONT_SIZE if rows_left else 0

    size = (left + columns * (width + GAP) + right, GAP + len(rows) * (height + GAP) + bottom)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        top = GAP + number * (height + GAP)
        middle = top + height // 2
        draw.text((2 * GAP, middle), _shorten(font, name), "black", font, anchor="lm")
        for column, index in enumerate(row[:columns]):
            picture.paste(_cell(condensed, index, (width, height)), (left + column * (width + GAP), top))
        if hidden[number] > 0:
            draw.text((size[0] - right + GAP, middle), f"+{hidden[number]} more", "gray", font, anchor="lm")
    if rows_left:
        draw.text((2 * GAP, size[1] - FONT_SIZE), f"+{rows_left} more classes", "gray", font, anchor="lm")
    return picture


def _cell_size(height: int, width: int) -> tuple[int, int]:
    """Shown height and width of an image of that size."""
    least, greatest = CELL
    if height <= greatest:
        scale = max(1, -(-least // height))
        return height * scale, width * scale
    return greatest, max(1, round(width * greatest / height))


def _cell(condensed: Drawable, index: int, size: tuple[int, int]) -> Image.Image:
    pixels = condensed.images[index].permute(1, 2, 0).squeeze(2).cpu().numpy()
    image = Image.fromarray(pixels)
    return image.resize(size, Image.Resampling.NEAREST if size[1] >= image.height else Image.Resampling.BOX)


def _text_width(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return int(font.getlength(text)) + 1


def _drawable(name: str, label: int) -> str:
    """`name` on one line in the characters the embedded font has (ASCII); the label where none is left."""
    parts = (unicodedata.normalize("NFKD", character) for character in " ".join(name.split()))
    text = "".join(part.encode("ascii", "ignore").decode() or "?" for part in parts)
    return text if any(character.isalnum() for character in text) else f"class {label}"


def _shorten(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, name: str) -> str:
    """`name`, its end cut off with … where it is wider than the margin."""
    if _text_width(font, name) <= LABEL_WIDTH:
        return name
    while name and _text_width(font, f"{name}…") > LABEL_WIDTH:
        name = name[:-1]
    return f"{name.rstrip()}…"
