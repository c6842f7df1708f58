from __future__ import annotations

import math

import numpy as np
import pytest
import references
import torch
from torch import Tensor

from m3d_condense.recipes.augmentation import DRAWS, Augmentation
from m3d_condense.tools.errors import UserError
from m3d_condense.training import augment
from m3d_condense.training.augment import Parameters, apply

ALL = "color_crop_cutout_flip_scale_rotate"
IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def draw(operations: str, groups: int, size: tuple[int, int], stream: torch.Generator, form: str = "idc") -> Parameters:
    return augment.draw(Augmentation.parse(operations, form), groups, size, stream)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def in_pixels(affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn G×2×3 on [-1, 1] coordinates into G×2×3 on pixels from the centre."""
    half = torch.tensor([size[1] / 2, size[0] / 2])
    linear = half.view(2, 1) * affine[..., :2] / half
    return torch.cat((linear, (half * affine[..., 2]).unsqueeze(-1)), -1)


def applied(parameters: Parameters, size: tuple[int, int]) -> dict[str, Tensor]:
    """Tell by the parameters alone which group has which operation (G booleans each)."""
    assert parameters.color is not None
    assert parameters.cutout is not None
    assert parameters.affine is not None
    pixels = in_pixels(parameters.affine, size)
    linear, shift = pixels[..., :2], pixels[..., 2]
    mirrored = torch.det(linear) < 0
    linear = torch.where(mirrored.view(-1, 1, 1), linear * torch.tensor([-1.0, 1.0]), linear)
    turned = linear[:, 0, 1].abs() > 1e-5
    return {
        "color": (parameters.color != torch.tensor([0.0, 1.0, 1.0])).any(1),
        "cutout": parameters.cutout[:, 1] > parameters.cutout[:, 0],
        "flip": mirrored,
        "rotate": turned,
        "scale": ~turned & ((linear.diagonal(dim1=1, dim2=2) - 1).abs() > 1e-5).any(1),
        "crop": (shift.abs() > 1e-4).any(1),
    }


def share(mask: Tensor) -> float:
    return float(mask.float().mean())


def test_ranges_of_the_colours() -> None:
    color = draw("color", 20_000, (32, 32), seeded()).color
    assert color is not None
    for column, (low, high) in zip(color.T, ((-0.5, 0.5), (0.0, 2.0), (0.5, 1.5)), strict=True):
        assert low <= float(column.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(column.max()) <= high
        assert float(column.mean()) == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (20, 12)])
def test_crop_shifts_by_whole_pixels_up_to_an_eighth(size: tuple[int, int]) -> None:
    affine = draw("crop", 20_000, size, seeded()).affine
    assert affine is not None
    pixels = in_pixels(affine, size)
    torch.testing.assert_close(pixels[..., :2], torch.eye(2).expand(20_000, 2, 2))
    for shift, length in zip(pixels[..., 2].T, reversed(size), strict=True):
        reach = int(length * 0.125 + 0.5)
        values, counts = shift.round().unique(return_counts=True)
        torch.testing.assert_close(shift, shift.round(), rtol=0, atol=1e-4)
        assert values.tolist() == list(range(-reach, reach + 1))
        assert float(counts.min() / counts.max()) > 0.85  # uniform


def test_scale_is_drawn_for_each_axis() -> None:
    affine = draw("scale", 20_000, (16, 24), seeded()).affine
    assert affine is not None
    assert (affine[:, 0, 1:] == 0).all()
    assert (affine[:, 1, ::2] == 0).all()
    for scale in (affine[:, 0, 0], affine[:, 1, 1]):
        assert 1 / 1.2 - 1e-6 <= float(scale.min()) < 0.837
        assert 1.197 < float(scale.max()) <= 1.2 + 1e-6
    assert abs(float(torch.corrcoef(affine[:, [0, 1], [0, 1]].T)[0, 1])) < 0.05


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (30, 10)])
def test_rotation_is_one_in_pixels_and_of_15_degrees_at_most(size: tuple[int, int]) -> None:
    affine = draw("rotate", 5_000, size, seeded()).affine
    assert affine is not None
    linear = in_pixels(affine, size)[..., :2]
    torch.testing.assert_close(linear @ linear.mT, torch.eye(2).expand(5_000, 2, 2), rtol=0, atol=1e-5)
    assert (torch.det(linear) > 0).all()
    degrees = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -15.001 <= float(degrees.min()) < -14.9
    assert 14.9 < float(degrees.max()) <= 15.001


def test_flip_mirrors_half_of_the_groups() -> None:
    affine = draw("flip", 10_000, (8, 8), seeded()).affine
    assert affine is not None
    mirrored = affine[:, 0, 0] == -1
    assert share(mirrored) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(affine[~mirrored], IDENTITY.expand(int((~mirrored).sum()), 2, 3))


@pytest.mark.parametrize("size", [(32, 32), (7, 10)])
def test_cutout_is_half_the_side_around_any_pixel(size: tuple[int, int]) -> None:
    cutout = draw("cutout", 20_000, size, seeded()).cutout
    assert cutout is not None
    for axis, length in enumerate(size):
        start, stop = cutout[:, 2 * axis], cutout[:, 2 * axis + 1]
        extent = int(length * 0.5 + 0.5)
        assert (stop - start == extent).all()
        # DSA draws the offset out of length + 1 - extent % 2 values and takes half the extent from it.
        expected = [float(k - extent // 2) for k in range(length + 1 - extent % 2)]
        assert start.unique().tolist() == expected


def test_idc_applies_colour_flip_and_cutout_always_and_one_of_the_rest() -> None:
    got = applied(draw(ALL, 9_000, (32, 32), seeded(), "idc"), (32, 32))
    assert share(got["color"]) == share(got["cutout"]) == 1.0
    assert share(got["flip"]) == pytest.approx(0.5, abs=0.02)
    rest = torch.stack([got[name] for name in ("crop", "scale", "rotate")]).sum(0)
    assert int(rest.max()) == 1
    assert share(got["scale"]) == pytest.approx(1 / 3, abs=0.02)
    assert share(got["rotate"]) == pytest.approx(1 / 3, abs=0.02)
    assert share(got["crop"]) == pytest.approx(1 / 3 * 80 / 81, abs=0.02)  # one of 81 shifts is none


def test_dsa_applies_one_operation_of_the_list() -> None:
    got = applied(draw(ALL, 12_000, (32, 32), seeded(), "dsa"), (32, 32))
    assert int(torch.stack(list(got.values())).sum(0).max()) == 1
    expected = dict.fromkeys(got, 1 / 6) | {"flip": 1 / 12, "crop": 1 / 6 * 80 / 81}
    for name, mask in got.items():
        assert share(mask) == pytest.approx(expected[name], abs=0.015), name


def test_m3ds_strategy_crops_always() -> None:
    parameters = draw("color_crop_cutout", 4_000, (32, 32), seeded(), "idc")
    got = applied(parameters, (32, 32))
    assert share(got["color"]) == share(got["cutout"]) == 1.0
    assert share(got["crop"]) == pytest.approx(80 / 81, abs=0.01)
    assert not (got["flip"] | got["scale"] | got["rotate"]).any()


def test_the_order_of_the_list_does_not_matter_to_what_may_apply() -> None:
    one = applied(draw("rotate_cutout_color", 50, (8, 8), seeded(), "idc"), (8, 8))
    assert share(one["rotate"]) == share(one["cutout"]) == share(one["color"]) == 1.0


def test_draws_are_a_function_of_the_generator() -> None:
    first, again, other = (draw(ALL, 5, (8, 8), seeded(seed)) for seed in (1, 1, 2))
    for name in ("color", "affine", "cutout"):
        a, b, c = (getattr(drawn, name) for drawn in (first, again, other))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_strategies_by_name() -> None:
    assert draw("none", 3, (8, 8), seeded()) == Parameters()


@pytest.mark.parametrize("channels", [1, 3])
def test_identity_parameters_leave_images_as_they_are(channels: int) -> None:
    images = noise(2, 3, channels, 6, 9)
    assert torch.equal(apply(images, Parameters()), images)
    identity = Parameters(
        color=torch.tensor([[0.0, 1.0, 1.0]] * 2), affine=IDENTITY.expand(2, 2, 3), cutout=torch.zeros(2, 4)
    )
    torch.testing.assert_close(apply(images, identity), images, rtol=0, atol=1e-5)


def test_an_operation_not_drawn_leaves_the_group_exactly() -> None:
    parameters = draw("cutout_color", 40, (8, 8), seeded(), "dsa")
    images = noise(40, 1, 3, 8, 8)
    changed = (apply(images, parameters) - images).abs().amax((1, 2, 3, 4)) > 1e-5
    assert parameters.cutout is not None
    zeroed = (apply(images, parameters) == 0).any(4).any(3).any(2).any(1)
    assert changed.all()  # one of two always applies
    assert torch.equal(zeroed, parameters.cutout[:, 1] > parameters.cutout[:, 0])


@pytest.mark.parametrize("form", DRAWS)
def test_siamese_real_and_synthetic_are_transformed_alike(form: str) -> None:
    real, synthetic = noise(6, 5, 3, 10, 8), noise(6, 2, 3, 10, 8, seed=1)
    parameters = draw(ALL, 6, (10, 8), seeded(), form)
    together = apply(torch.cat((real, synthetic), 1), parameters)
    apart = torch.cat((apply(real, parameters), apply(synthetic, parameters)), 1)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)
    torch.testing.assert_close(apply(real[:, :1], parameters), together[:, :1], rtol=0, atol=1e-6)


def test_a_group_does_not_depend_on_the_others() -> None:
    images = noise(5, 3, 3, 8, 8)
    parameters = draw(ALL, 5, (8, 8), seeded())
    together = apply(images, parameters)
    for part in (range(0, 1), range(1, 4), range(4, 5)):
        alone = apply(images[part.start : part.stop], parameters.of(part, torch.device("cpu")))
        torch.testing.assert_close(alone, together[part.start : part.stop], rtol=0, atol=1e-6)


def test_of_takes_the_rows_and_keeps_what_is_none() -> None:
    parameters = draw("color_cutout", 5, (8, 8), seeded())
    part = parameters.of(range(2, 4), torch.device("cpu"))
    assert part.affine is None
    assert torch.equal(part.color, parameters.color[2:4])  # type: ignore[index, arg-type]
    assert torch.equal(part.cutout, parameters.cutout[2:4])  # type: ignore[index, arg-type]


@pytest.mark.parametrize("operations", [ALL, "crop", "resizedcrop_flip_jitter_lighting", "none"])
def test_several_generators_draw_what_each_would_alone(operations: str) -> None:
    images, strategy = noise(6, 1, 3, 8, 8), Augmentation.parse(operations, "idc")
    alone = [augment.draw(strategy, 3, (8, 8), seeded(seed)) for seed in (1, 2)]
    expected = torch.cat([apply(part, one) for part, one in zip(images.split(3), alone, strict=True)])
    together = augment.draw(strategy, 3, (8, 8), seeded(1), seeded(2))
    torch.testing.assert_close(apply(images, together), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_formulae_image_by_image(channels: int) -> None:
    images = noise(2, 3, channels, 4, 5, dtype=torch.float64)
    color = torch.tensor([[0.3, 1.7, 0.6], [-0.4, 0.1, 1.4]], dtype=torch.float64)
    got = apply(images, Parameters(color=color))
    for g, (brightness, saturation, contrast) in enumerate(color.tolist()):
        for n in range(3):
            x = images[g, n] + brightness
            grey = sum(x[c] for c in range(channels)) / channels
            x = torch.stack([(x[c] - grey) * saturation + grey for c in range(channels)]) if channels > 1 else x
            mean = sum(x.flatten().tolist()) / x.numel()
            torch.testing.assert_close(got[g, n], (x - mean) * contrast + mean)


def test_cutout_box_image_by_image() -> None:
    images = noise(3, 2, 3, 6, 7)
    boxes = [(1, 4, 2, 6), (-2, 1, 5, 9), (3, 3, 2, 2)]  # inside; over two borders; none
    got = apply(images, Parameters(cutout=torch.tensor(boxes, dtype=torch.float32)))
    for g, (top, bottom, left, right) in enumerate(boxes):
        expected = images[g].clone()
        expected[:, :, max(top, 0) : bottom, max(left, 0) : right] = 0
        assert torch.equal(got[g], expected)


def test_crop_shifts_and_fills_with_zeros() -> None:
    size = (8, 12)
    images = noise(30, 2, 3, *size)
    parameters = draw("crop", 30, size, seeded())
    assert parameters.shift is not None
    shifts = parameters.shift.tolist()
    assert len({tuple(shift) for shift in shifts}) > 5
    for group, got, (down, right) in zip(images, apply(images, parameters), shifts, strict=True):
        expected = torch.zeros_like(group)
        for i in range(8):
            for j in range(12):
                if 0 <= i - down < 8 and 0 <= j - right < 12:
                    expected[:, :, i, j] = group[:, :, i - down, j - right]
        assert torch.equal(got, expected)


@pytest.mark.parametrize("size", [(8, 8), (20, 12)])
def test_slices_and_samples_crop_alike(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(30, 2, 3, *size)
    sliced = draw("crop", 30, size, seeded())
    monkeypatch.setattr(augment, "SLICES", 0)
    sampled = draw("crop", 30, size, seeded())
    assert sliced.affine is None
    assert sampled.shift is None
    torch.testing.assert_close(apply(images, sampled), apply(images, sliced), rtol=0, atol=1e-5)


def test_flip_reverses_the_columns() -> None:
    images = noise(20, 2, 3, 5, 7)
    parameters = draw("flip", 20, (5, 7), seeded())
    assert parameters.affine is not None
    for group, got, affine in zip(images, apply(images, parameters), parameters.affine, strict=True):
        expected = group[..., list(range(6, -1, -1))] if affine[0, 0] < 0 else group
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
@pytest.mark.parametrize("strategy", ["scale", "rotate", "flip_rotate"])
def test_geometry_against_a_sampler_by_hand(strategy: str, size: tuple[int, int]) -> None:
    images = noise(4, 1, 2, *size, dtype=torch.float64)
    parameters = draw(strategy, 4, size, seeded(3), "idc")
    assert parameters.affine is not None
    got = apply(images, parameters)
    matrices = in_pixels(parameters.affine, size).double()
    for image, result, ((a, b, _), (c, d, _)) in zip(images[:, 0], got[:, 0], matrices.tolist(), strict=True):
        mirror = -1.0 if a * d - b * c < 0 else 1.0
        if strategy == "scale":

            def source(x: float, y: float, a: float = a, d: float = d) -> tuple[float, float]:
                return a * x, d * y
        else:
            angle = math.atan2(c * mirror, d)

            def source(x: float, y: float, t: float = angle, mirror: float = mirror) -> tuple[float, float]:
                x = mirror * x
                return math.cos(t) * x - math.sin(t) * y, math.sin(t) * x + math.cos(t) * y

        torch.testing.assert_close(result, references.sample(image, source), rtol=0, atol=1e-5)


def test_gradients_flow_through_the_whole() -> None:
    parameters = draw(ALL, 3, (4, 5), seeded(2), "idc")
    images = noise(3, 2, 3, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply(x, parameters), images)


@pytest.mark.parametrize("wrong", [255.0, -0.5, float("nan")])
def test_floats_beyond_their_range_are_refused_and_not_read_as_pixels(wrong):
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 2, 2] = wrong
    with pytest.raises(UserError, match="floats range from"):
        augment.normalised(images, (0.5,), (0.5,))


def test_what_is_no_tensor_is_refused_in_one_line():
    with pytest.raises(UserError, match="ndarray"):
        augment.normalised(np.zeros((1, 4, 4), dtype=np.float32), (0.5,), (0.5,))
