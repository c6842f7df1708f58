from __future__ import annotations

import pytest

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.tools.errors import UserError


def test_operations_are_written_with_lines_between_them() -> None:
    made = Augmentation.parse("color_crop_flip", "dsa")
    assert (made.operations, made.draw, str(made)) == (("color", "crop", "flip"), "dsa", "color_crop_flip")
    assert Augmentation.parse("") == Augmentation.parse("none") == Augmentation()
    assert str(Augmentation()) == "none"


def test_an_operation_can_be_left_out() -> None:
    made = Augmentation.parse("color_flip", "dsa")
    assert made.without("flip") == Augmentation(("color",), "dsa")
    assert made.without("crop") == made


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="^augmentation=color_blur: no 'blur' among color, crop"):
        Augmentation.parse("color_blur")
    with pytest.raises(UserError, match="^augmentation_draw=once: one of idc, dsa"):
        Augmentation.parse("color", "once")
