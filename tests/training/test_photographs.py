from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from m3d_condense.recipes.augmentation import Augmentation
from m3d_condense.training.augment import Normalisation, Parameters, apply, draw

ALL = "resizedcrop_flip_jitter_lighting"
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(operations: str, groups: int, size: tuple[int, int], form: str = "idc") -> Parameters:
    return draw(Augmentation.parse(operations, form), groups, size, seeded())


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def window_in_pixels(window: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the left, top, width and height (G×4) of windows, in pixels."""
    sides = torch.tensor([size[1], size[0]])
    extent = window.diagonal(dim1=1, dim2=2) * sides
    return torch.cat(((window[..., 2] + 1) * sides / 2 - extent / 2, extent), 1)


@pytest.mark.parametrize("size", [(224, 224), (64, 96)])
def test_a_window_is_at_least_half_of_the_image_and_lies_within_it(size: tuple[int, int]) -> None:
    window = drawn("resizedcrop", 5_000, size).window
    assert window is not None
    assert (window[:, [0, 1], [1, 0]] == 0).all()
    found = window_in_pixels(window, size)
    torch.testing.assert_close(found, found.round(), rtol=0, atol=2e-4)
    left, top, wide, high = found.round().unbind(1)
    assert min(left.min(), top.min()) == 0
    assert (left + wide).max() == size[1]
    assert (top + high).max() == size[0]
    area, aspect = wide * high / (size[0] * size[1]), wide / high
    rounding = 2 / min(wide.min(), high.min())
    assert 0.5 - rounding <= area.min() < 0.51
    assert area.max() <= 1
    low, high_aspect = (3 / 4, 4 / 3) if size[0] == size[1] else (3 / 4, 3 / 2)  # an image of 3:2 may stay whole
    assert low - rounding <= aspect.min()
    assert aspect.max() <= high_aspect + rounding


def test_windows_are_those_of_a_draw_that_is_repeated_until_one_fits() -> None:
    """Area and place against a plain loop over numbers of its own: means over many, and shares by quarters."""
    side, count = 100, 20_000
    window = drawn("resizedcrop", count, (side, side)).window
    assert window is not None
    found = window_in_pixels(window, (side, side)).round()
    plain, stream = [], seeded(1)
    while len(plain) < count:
        area, aspect, x, y = torch.rand(4, generator=stream).tolist()
        area, aspect = (0.5 + area / 2) * side**2, math.exp(math.log(3 / 4) + aspect * math.log(16 / 9))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if wide <= side and high <= side:
            plain.append((int(x * (side - wide + 1)), int(y * (side - high + 1)), wide, high))
    expected = torch.tensor(plain, dtype=torch.float32)
    quarters = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    torch.testing.assert_close(found.quantile(quarters, 0), expected.quantile(quarters, 0), rtol=0, atol=1.5)
    areas = [some[:, 2:].prod(1).mean() for some in (found, expected)]
    torch.testing.assert_close(*areas, rtol=0.005, atol=0)


def test_a_window_is_enlarged_to_the_whole_image_by_image() -> None:
    size = (7, 9)
    images = pixels(6, 1, 2, *size)
    parameters = drawn("resizedcrop", 6, size)
    assert parameters.window is not None
    found = window_in_pixels(parameters.window.double(), size).tolist()
    for image, got, (left, top, wide, high) in zip(images[:, 0], apply(images, parameters)[:, 0], found, strict=True):
        for i in range(size[0]):
            for j in range(size[1]):
                y, x = top + (i + 0.5) * high / size[0] - 0.5, left + (j + 0.5) * wide / size[1] - 0.5
                y, x = min(max(y, 0.0), size[0] - 1.0), min(max(x, 0.0), size[1] - 1.0)
                rows, columns = (int(y), min(int(y) + 1, size[0] - 1)), (int(x), min(int(x) + 1, size[1] - 1))
                above, below = (
                    image[:, row, columns[0]] * (1 - x % 1) + image[:, row, columns[1]] * (x % 1) for row in rows
                )
                torch.testing.assert_close(got[:, i, j], above * (1 - y % 1) + below * (y % 1), rtol=0, atol=1e-5)


def test_nothing_comes_in_from_beyond_the_border() -> None:
    images = torch.ones(200, 1, 3, 16, 16)
    torch.testing.assert_close(apply(images, drawn("resizedcrop", 200, (16, 16))), images)


def test_factors_of_the_jitter_are_within_two_fifths_of_one() -> None:
    jitter = drawn("jitter", 20_000, (8, 8)).jitter
    assert jitter is not None
    for column in jitter.T:
        assert 0.6 <= float(column.min()) < 0.605
        assert 1.395 < float(column.max()) <= 1.4
        assert float(column.mean()) == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(jitter.T).fill_diagonal_(0).abs().max() < 0.05


def test_light_changes_along_the_principal_components_of_imagenet() -> None:
    lighting = drawn("lighting", 200_000, (8, 8)).lighting
    assert lighting is not None
    vectors = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    deviations = (lighting @ vectors).std(0)  # the components are orthonormal, to four digits
    torch.testing.assert_close(deviations, 0.1 * torch.tensor([0.2175, 0.0188, 0.0045]), rtol=0.02, atol=1e-5)
    assert lighting.mean(0).abs().max() < 2e-4


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_colours_image_by_image_in_any_order(order: tuple[int, ...]) -> None:
    images = pixels(2, 3, 3, 4, 5)
    jitter = torch.tensor([[1.3, 0.7, 0.6], [0.8, 1.4, 1.2]], dtype=torch.float64)
    lighting = torch.tensor([[0.02, -0.03, 0.01], [0.0, 0.01, 0.05]], dtype=torch.float64)
    got = apply(images, Parameters(jitter=jitter, lighting=lighting))

    def luminance(x: Tensor) -> Tensor:
        return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]

    for g in range(2):
        brightness, saturation, contrast = jitter[g].tolist()
        for n in range(3):
            x = images[g, n]
            for operation in order:
                if operation == 0:
                    x = x * brightness
                elif operation == 1:
                    grey = luminance(x)
                    x = torch.stack([grey + saturation * (channel - grey) for channel in x])
                else:
                    mean = float(luminance(x).mean())
                    x = mean + contrast * (x - mean)
            expected = torch.stack([channel + lighting[g, c] for c, channel in enumerate(x)])
            torch.testing.assert_close(got[g, n], expected)


def test_grey_images_are_what_colour_images_of_three_like_channels_are_in_luminance() -> None:
    grey = pixels(2, 1, 1, 4, 4)
    parameters = drawn("jitter_lighting", 2, (4, 4))
    coloured = apply(grey.expand(2, 1, 3, 4, 4), parameters)
    luminance = (coloured * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2, keepdim=True)
    torch.testing.assert_close(apply(grey, parameters), luminance)


def test_normalised_images_are_changed_as_their_pixels_are() -> None:
    normalised = Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.3), CPU)
    images = pixels(4, 2, 3, 8, 8)
    parameters = drawn(ALL, 4, (8, 8))
    plain = apply(images, Parameters(window=parameters.window, jitter=parameters.jitter, lighting=parameters.lighting))
    mirrored = apply(normalised(plain), Parameters(affine=parameters.affine))
    torch.testing.assert_close(apply(normalised(images), parameters, normalised), mirrored, rtol=0, atol=1e-5)


def test_in_idc_s_form_all_are_applied_and_in_dsa_s_one() -> None:
    for form, least in (("idc", 3), ("dsa", 1)):
        parameters = drawn("resizedcrop_jitter_lighting", 500, (32, 32), form)
        assert parameters.window is not None
        assert parameters.jitter is not None
        assert parameters.lighting is not None
        changed = [
            (parameters.window != torch.eye(2, 3)).flatten(1).any(1),
            (parameters.jitter != 1).any(1),
            (parameters.lighting != 0).any(1),
        ]
        counts = torch.stack(changed).sum(0)
        assert (counts <= least).all()
        assert (counts == least).float().mean() > 0.95  # a window may be the whole image


def test_other_operations_are_drawn_as_they_are_without_these() -> None:
    alone, beside = drawn("color_flip", 5, (8, 8)), drawn("color_flip_jitter", 5, (8, 8))
    assert torch.equal(alone.color, beside.color)  # type: ignore[arg-type]
    assert torch.equal(alone.affine, beside.affine)  # type: ignore[arg-type]


def test_gradients_flow_through() -> None:
    parameters = drawn(ALL, 2, (4, 5))
    normalised = Normalisation((0.5,) * 3, (0.25,) * 3, CPU)
    images = pixels(2, 2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply(x, parameters, normalised), images)
