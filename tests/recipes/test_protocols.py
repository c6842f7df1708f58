from __future__ import annotations

import pytest

from m3d_condense.recipes.protocols import protocol


@pytest.mark.parametrize(
    ("name", "channels", "flip", "factor", "cutmix"),
    [
        ("idc", 1, False, 2, 0.0),  # MNIST in tiles
        ("idc", 1, False, 1, 0.5),
        ("idc", 1, True, 2, 0.5),  # Fashion-MNIST
        ("idc", 3, False, 2, 0.5),  # SVHN
        ("quick", 1, False, 2, 0.5),
        ("dm", 1, False, 2, 0.0),
    ],
)
def test_idc_mixes_no_digits_that_come_out_of_tiles(
    name: str, channels: int, flip: bool, factor: int, cutmix: float
) -> None:
    made = protocol(name).adapted(epochs=None, whole=False, flip=flip, channels=channels, factor=factor)
    assert made.training.cutmix == cutmix
    assert ("flip" in str(made.training.augmentation)) == flip
