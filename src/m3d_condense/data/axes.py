"""Which axis of an array of images is which.

Legend: N images, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m3d_condense.tools.errors import Setting, UserError

LAYOUTS = ("NHW", "NHWC", "NCHW")
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
FORMS = "N×H×W, N×H×W×C or N×C×H×W"


def checked(layout: str | None) -> str | None:
    """Return a layout in capital letters; raises UserError for one that is not of `LAYOUTS`."""
    if layout is None:
        return None
    if str(layout).upper() not in LAYOUTS:
        raise UserError(f"give {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}", setting="layout", value=layout)
    return str(layout).upper()


def layout_of(shape: Sequence[int], layout: str | None = None) -> str:
    """Return the one of `LAYOUTS` by which an array of this shape holds its images.

    Channels are an axis of 1, 3 or 4 at the second or the last place. Raises UserError where no layout fits, and
    where two do and `layout` does not say which.
    """
    shape = tuple(int(length) for length in shape)
    if 0 in shape:
        raise UserError(f"images of shape {shape}: there is no image or no pixel; give {FORMS}")
    fitting = _fitting(shape)
    if layout is not None:
        if not _allowed(shape, layout):
            fit = f"{fitting[0]} fits" if fitting else _advice(shape)
            raise UserError(f"images of shape {shape} cannot be {Setting('layout', layout)}: {fit}")
        return layout
    if not fitting:
        raise UserError(f"images of shape {shape}: {_advice(shape)}")
    if len(fitting) > 1:
        readings = " or ".join(f"{_reading(shape, one)} ({Setting('layout', one)})" for one in fitting)
        raise UserError(f"images of shape {shape} may be {readings}: say which")
    if fitting == ["NHW"] and {1, 3} & set(shape[1:]):
        raise UserError(
            f"images of shape {shape} may be {_reading(shape, 'NHW')} ({Setting('layout', 'NHW')}), or colours whose "
            "pixels stand in one row (reshape them to N×H×W×C or N×C×H×W): say which"
        )
    return fitting[0]


def layout_of_one(shape: Sequence[int], layout: str | None = None, what: str = "an image") -> str:
    """Return the layout of one image of a list, as of an array that holds it alone.

    Where `layout` has channels, a grey image of two axes may stand among others. `what` names it in messages.
    """
    if layout is not None and len(layout) == 4 and len(shape) == 2:
        layout = "NHW"
    try:
        return layout_of((1, *shape), layout)
    except UserError as error:
        message = str(error).replace("N×", "").replace(f"images of shape {(1, *shape)}", f"{what} of shape {shape}")
        raise UserError(message) from None


def channels_first(images: Any, layout: str) -> Any:
    """Return a view N×C×H×W of an array or a tensor in one of `LAYOUTS`."""
    if layout == "NHW":
        return images[:, None]
    return images.swapaxes(2, 3).swapaxes(1, 2) if layout == "NHWC" else images


def images_last(shape: Sequence[int], count: int) -> bool:
    """Whether an array has its `count` images along the last axis, as MATLAB writes them, and not along the first."""
    return len(shape) >= 3 and shape[-1] == count != shape[0]


def _fitting(shape: tuple[int, ...]) -> list[str]:
    """The layouts by which a shape can be read: RGBA counts where there is no axis of 1 or 3 in its place."""
    if len(shape) == 3:
        return ["NHW"]
    if len(shape) != 4:
        return []
    places = {"NHWC": shape[3], "NCHW": shape[1]}
    plain = [layout for layout, channels in places.items() if channels in (1, 3)]
    return plain or [layout for layout, channels in places.items() if channels in CHANNELS]


def _allowed(shape: tuple[int, ...], layout: str) -> bool:
    if len(shape) != len(layout):
        return False
    return layout == "NHW" or shape[layout.index("C")] in CHANNELS


def _reading(shape: tuple[int, ...], layout: str) -> str:
    sides = dict(zip(layout, shape, strict=True))
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[sides.get("C", 1)]
    place = {"NHWC": ", channels last", "NCHW": ", channels first", "NHW": ""}[layout]
    return f"{kind} images of {sides['H']}×{sides['W']} pixels{place}"


def _advice(shape: tuple[int, ...]) -> str:
    """What to do about a shape that no layout fits."""
    if len(shape) == 4:
        return f"neither the second nor the last axis has 1, 3 or 4 channels; give {FORMS}"
    if len(shape) != 2:
        return f"give {FORMS} with 1, 3 or 4 channels"
    form = FORMS
    for channels in (1, 3):
        side = round((shape[1] / channels) ** 0.5)
        if shape[1] > 1 and channels * side * side == shape[1]:
            form = f"N×{side}×{side}" if channels == 1 else f"N×3×{side}×{side} or N×{side}×{side}×3"
    return f"rows of {shape[1]} numbers; reshape them to {form}"
