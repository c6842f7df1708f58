"""A stored image as a picture of PIL's."""

from __future__ import annotations

from PIL import Image
from torch import Tensor


def as_picture(image: Tensor) -> Image.Image:
    """Return an image, C×H×W uint8 of one channel or three, as a grey picture or one in colours."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy())
