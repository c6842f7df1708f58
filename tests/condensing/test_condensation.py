from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import references
import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.condensing.condensation import condense, random_selections
from m3d_condense.condensing.run import begin
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.machine import memory
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.recipes import methods
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet
from m3d_condense.tools.seeds import derive, generator
from m3d_condense.training import augment

TINY: dict[str, Any] = {"ipc": 2, "factor": 2, "iterations": 6, "batch_real": 8}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


# What a run makes


def test_the_same_seed_makes_the_same_pixels(digits: ImageDataset, plain: Execution) -> None:
    first, again, other = (condense(digits, seed=seed, execution=plain, **TINY) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.labels.tolist() == [k for k in range(10) for _ in range(2)]
    assert first.images.shape == (20, 1, 8, 8)


def test_other_draws_in_the_process_do_not_matter(digits: ImageDataset, plain: Execution) -> None:
    torch.manual_seed(1)
    first = condense(digits, execution=plain, **TINY)
    torch.manual_seed(2)
    assert torch.equal(condense(digits, execution=plain, **TINY).images, first.images)


@pytest.mark.parametrize("method", ["m3d", "dm"])
def test_steps_change_the_pixels(digits: ImageDataset, plain: Execution, method: str) -> None:
    start, end = (condense(digits, method=method, execution=plain, **TINY | {"iterations": n}) for n in (0, 6))
    # Six of Adam's steps, which fall from 0.01 to nothing, add up to at most 9 of 255 levels in one direction.
    assert (start.images.int() - end.images.int()).abs().max() > 5


@pytest.mark.parametrize(
    ("mode", "method"), [(torch.no_grad, "m3d"), (torch.inference_mode, "m3d"), (torch.inference_mode, "dsa")]
)
def test_pixels_move_where_the_caller_has_turned_gradients_off(plain: Execution, mode: Any, method: str) -> None:
    few = TINY | {"iterations": 2}
    expected = condense("digits", method=method, execution=plain, **few)
    with mode():
        made = condense(load("digits"), method=method, execution=plain, **few)
    assert torch.equal(made.images, expected.images)


@pytest.mark.parametrize("method", ["random", "herding", "m3d"])
def test_classes_of_fewer_images_than_are_asked_for_are_named(
    plain: Execution, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    labels = ["ant"] * 2 + ["bee"] * 7 + ["cat"] * 3
    data = load((images, labels), test=(images, labels))
    set_quiet(False)
    options: dict[str, Any] = {"ipc": 3, "factor": 1, "iterations": 1, "selection_features": "pixels"}
    options = {"ipc": 3} if method == "random" else options if method == "m3d" else options | {"iterations": 0}
    condense(data, method=method, execution=plain, **options)
    said = capsys.readouterr().err
    assert "1 of 3 classes have fewer than the 3 training images a class that are asked for" in said
    assert "and repeat them: ant (2)" in said
    condense(data, method="random", ipc=2, execution=plain)
    assert "fewer" not in capsys.readouterr().err


def reference_steps(digits: ImageDataset, recipe: Recipe, steps: int) -> tuple[Tensor, Tensor]:
    """M3D class by class in plain loops, out of RECIPE.md: the initial and the final pixels K×M×C×H×W."""
    sampler = ClassSampler(digits.train.labels, 10)
    l2, seed = recipe.factor**2, recipe.seed
    mean, std = torch.tensor(digits.mean).view(1, 1, 1, 1), torch.tensor(digits.std).view(1, 1, 1, 1)
    chosen = sampler.draw(range(10), recipe.ipc * l2, generator(seed, "initialise"))
    pixels = torch.zeros(10, recipe.ipc, 1, 8, 8)
    for k in range(10):
        for m in range(recipe.ipc):
            for t in range(l2):  # 2×2 small images of 4×4 in each
                image = digits.train.images[chosen[k, m * l2 + t]].float()[None] / 255
                small = image[0, :, ::2, ::2]  # the paper preset's mosaic: the nearest pixel
                top, left = 4 * (t // 2), 4 * (t % 2)
                pixels[k, m, :, top : top + 4, left : left + 4] = small
    start, momentum = pixels.clone(), torch.zeros_like(pixels)
    in_turn = recipe.class_steps == "sequential"
    network = networks.build("convnet", channels=1, num_classes=10, size=(8, 8))
    for step in range(steps):
        number = step // recipe.iterations_per_model
        networks.initialise(network, derive(seed, "encoder", number))
        first = number * recipe.iterations_per_model if recipe.share_real else step
        draws = augment.draw(recipe.siamese, 10, (8, 8), generator(seed, "augment", first))
        new = pixels.clone()
        for k in range(10):
            learned = (new if in_turn else pixels)[k].clone().requires_grad_()
            stream = generator(seed, "step", step, k)
            index = sampler.draw([k], recipe.batch_real, stream)[0]
            if recipe.share_real:
                index = sampler.draw([k], recipe.batch_real, generator(seed, "step", first, k))[0]
            real = digits.train.images[index].float() / 255
            decoded = torch.cat(
                [
                    torch.nn.functional.interpolate(tile[None], (8, 8), mode="bilinear", align_corners=False)
                    for image in learned
                    for tile in references.tiles(image, recipe.factor)
                ]
            )
            if len(decoded) > recipe.batch_synthetic:
                decoded = decoded[torch.randperm(len(decoded), generator=stream)[: recipe.batch_synthetic]]
            mine = draws.of(range(k, k + 1), torch.device("cpu"))
            inputs = [augment.apply(((x - mean) / std)[None], mine)[0] for x in (real, decoded)]
            features = [torch.cat([network.features(image[None]) for image in images]) for images in inputs]  # type: ignore[operator]
            loss = references.mmd(features[0].detach().double(), features[1].double(), recipe.kernel)
            (gradient,) = torch.autograd.grad(loss, learned)
            moved = slice(None) if in_turn else slice(k, k + 1)  # in its turn a class moves the others as well
            momentum[moved] *= recipe.momentum
            momentum[k] += gradient
            new[moved] = (new[moved] - recipe.lr * momentum[moved]).clamp(0, 1)
        pixels = new
    return start, pixels


@pytest.mark.parametrize(
    ("kernel", "lr", "limit", "class_steps", "share_real"),
    [
        ("gaussian", 10.0, 200, "joint", False),
        ("linear", 0.02, 3, "joint", False),
        ("gaussian", 10.0, 200, "sequential", False),
        ("linear", 0.02, 3, "joint", True),
        ("gaussian", 10.0, 200, "sequential", True),
    ],
)
def test_steps_equal_plain_loops_class_by_class(
    digits: ImageDataset, plain: Execution, kernel: str, lr: float, limit: int, class_steps: str, share_real: bool
) -> None:
    changes = {
        "share_real": share_real,
        "class_steps": class_steps,
        "lr": lr,
        "kernel": kernel,
        "batch_real": 4,
        "batch_synthetic": limit,
        "seed": 3,
        "factor": 2,
    }
    overrides = changes | {"iterations": 3, "iterations_per_model": 2, "class_steps": class_steps}
    recipe = methods.recipe("m3d", "paper", Problem(ipc=1, side=8, mirrored=False), overrides)
    assert (recipe.optimizer, recipe.momentum, recipe.factor) == ("sgd", 0.5, 2)
    start, expected = reference_steps(digits, recipe, 3)
    run = begin(digits, recipe, Engine(plain))
    torch.testing.assert_close(run.pixels.values.detach(), start, rtol=0, atol=1e-6)
    for _ in range(3):
        run.take_step()
    got = run.pixels.values.detach()
    assert (expected - start).abs().mean() > 0.005
    # float32 against kernels in float64: the squared distances lose most, about 1e-6 of their size.
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("memory", [0.0, 0.001])  # all classes at once, or in chunks
def test_steps_that_share_real_images_see_them_once(digits: ImageDataset, plain: Execution, memory: float) -> None:
    overrides = {"iterations": 7, "iterations_per_model": 3, "share_real": True, "batch_real": 4, "factor": 1}
    recipe = methods.recipe("m3d", "quick", Problem(ipc=2, side=8), overrides)
    run = begin(digits, recipe, Engine(dataclasses.replace(plain, memory=memory)))
    assert (len(run.plan.chunks) > 1) == bool(memory)
    asked, original = [], run.draws.at

    def at(step: int, classes: range, real: bool = True) -> tuple[Tensor | None, Tensor]:
        asked.append((step, real))
        return original(step, classes, real)

    run.draws.at = at  # type: ignore[method-assign]
    for _ in range(7):
        run.take_step()
    assert {step for step, real in asked if real} == {0, 3, 6}
    assert len(run.seen) == len(run.plan.chunks)


def test_encoders_in_training_share_no_real_images() -> None:
    with pytest.raises(UserError, match="share_real=True: queue encoders are trained between the steps"):
        condense("digits", method="idm", share_real=True, ipc=1, iterations=1)


def test_what_compares_all_classes_cannot_step_class_by_class(digits: ImageDataset, plain: Execution) -> None:
    with pytest.raises(UserError, match="class_steps=sequential: this objective needs all classes at once"):
        condense(digits, method="cafe", class_steps="sequential", execution=plain, ipc=1, iterations=1)


def test_a_draw_of_some_classes_is_part_of_the_draw_of_all(digits: ImageDataset, plain: Execution) -> None:
    recipe = methods.recipe(
        "m3d", "quick", Problem(ipc=2, side=8), {"batch_synthetic": 3, "batch_real": 5, "factor": 2}
    )
    run = begin(digits, recipe, Engine(plain))
    whole = run.draws.at(0, range(10))
    assert [x.shape for x in whole] == [(10, 5, 1, 8, 8), (10, 3, 1, 8, 8)]
    for part in (range(0, 1), range(3, 7)):
        for some, every in zip(run.draws.at(0, part), whole, strict=True):
            torch.testing.assert_close(some, every[part.start : part.stop], rtol=0, atol=1e-5)


def test_pixels_stay_in_range(digits: ImageDataset, plain: Execution) -> None:
    recipe = methods.recipe("m3d", "paper", Problem(ipc=1, side=8), {"lr": 1e5, "batch_real": 4})
    run = begin(digits, recipe, Engine(plain))
    run.take_step()
    assert float(run.pixels.values.detach().min()) == 0.0
    assert float(run.pixels.values.detach().max()) == 1.0


def test_flip_is_taken_out_where_images_do_not_stand_it(digits: ImageDataset) -> None:
    for flip, expected in ((False, "color_crop"), (True, "color_crop_flip")):
        overrides = {"augmentation": "color_crop_flip", "flip": flip}
        recipe = methods.recipe("m3d", "quick", Problem(ipc=1, side=8), overrides)
        assert str(recipe.siamese) == expected
    assert condense(digits, method="random", ipc=1).settings["flip"] is False


# What it starts from


def test_random_is_exactly_real_images_of_the_class(digits: ImageDataset) -> None:
    made = condense(digits, method="random", ipc=5, seed=4)
    for k in range(10):
        real = {image.numpy().tobytes() for image in digits.train.images[digits.train.labels == k]}
        chosen = [image.numpy().tobytes() for image in made.images[made.labels == k]]
        assert len(set(chosen)) == 5
        assert set(chosen) <= real
    assert (made.factor, made.history, made.steps) == (1, [], 0)


def test_mosaics_hold_down_scaled_real_images_of_the_class(digits: ImageDataset) -> None:
    made = condense(digits, ipc=2, iterations=0, factor=2)
    assert made.factor == 2
    for k in range(10):
        real = digits.train.images[digits.train.labels == k].float() / 255
        small = torch.nn.functional.interpolate(real, (4, 4), mode="bilinear", antialias=True)
        for image in made.images[made.labels == k].float() / 255:
            for tile in references.tiles(image, 2):
                assert float((small - tile).abs().amax((1, 2, 3)).min()) <= 0.5 / 255 + 1e-6


def test_noise_initialisation(digits: ImageDataset) -> None:
    made = condense(digits, method="random", initialisation="noise", ipc=20)
    values = made.images.float()
    assert float(values.mean()) == pytest.approx(127.5, abs=2)
    assert float(values.std()) == pytest.approx(255 / 12**0.5, abs=2)
    assert len({image.numpy().tobytes() for image in made.images}) == 200


def test_a_class_of_fewer_images_than_asked_for_repeats_them(plain: Execution) -> None:
    images = np.random.default_rng(0).random((8, 8, 8), dtype=np.float32)
    data = load((images, [0, 0, 0, 1, 1, 1, 1, 1]), test=(images, [0, 0, 0, 1, 1, 1, 1, 1]))
    made = condense(data, method="random", ipc=5)
    for k, different in ((0, 3), (1, 5)):
        real = {image.numpy().tobytes() for image in data.train.images[data.train.labels == k]}
        chosen = [image.numpy().tobytes() for image in made.images[made.labels == k]]
        assert len(chosen) == 5
        assert set(chosen) == real
        assert len(set(chosen)) == different
    assert condense(data, ipc=3, iterations=2, batch_real=16, execution=plain).ipc == 3


@pytest.mark.parametrize("moved", [{"batch_real": 1, "optimizer": "sgd", "lr": 1.0}, {"batch_real": 64}])
def test_a_class_of_one_image_can_be_condensed(plain: Execution, moved: dict[str, Any]) -> None:
    # Without a factor the synthetic image starts as the real one, and the features of the class all coincide.
    images = np.random.default_rng(0).random((2, 8, 8), dtype=np.float32)
    data = load((images, [0, 1]), test=(images, [0, 1]))
    made = condense(data, ipc=1, factor=1, iterations=10, execution=plain, **moved)
    assert torch.equal(made.images, data.train.images)  # it is at the minimum


# Settings


def test_stored_settings_are_complete_and_repeat_the_run(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, seed=5, kernel="polynomial", lr=0.03, execution=plain, time_limit=1000, **TINY)
    names = [field.name for field in dataclasses.fields(Recipe)]
    execution = [field.name for field in dataclasses.fields(Execution)]
    assert set(made.settings) == {*names, *execution, "time_limit"}
    again = condense(
        digits,
        execution=Execution(**{name: made.settings[name] for name in execution}),
        **{name: made.settings[name] for name in names},
    )
    assert torch.equal(again.images, made.images)
    assert {**again.settings, "time_limit": 1000} == made.settings
    assert (made.seed, made.method, made.source["name"]) == (5, "m3d", "digits")
    assert made.source["fingerprint"] == digits.fingerprint


def test_history_has_every_tenth_loss(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, execution=plain, **TINY | {"iterations": 21})
    assert [entry["step"] for entry in made.history] == [1, 11, 21]
    assert all(entry["loss"] > 0 for entry in made.history)
    assert made.seconds > 0


def test_settings_that_are_none_of_a_recipe_are_refused(digits: ImageDataset) -> None:
    with pytest.raises(UserError, match="unknown setting 'rate'"):
        condense(digits, rate=1)
    with pytest.raises(UserError, match="network=convnet9"):
        condense(digits, network="convnet9", **TINY)
    with pytest.raises(UserError, match="ipc=0"):
        condense(digits, ipc=0)


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("batch_real", {"batch_real": 50_000}),
        ("batch_synthetic", {"ipc": 50_000, "batch_synthetic": 50_000, "initialisation": "noise"}),
    ],
)
def test_more_images_of_a_class_than_a_network_has_room_for_are_refused(
    digits: ImageDataset, plain: Execution, setting: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 2**30  # the images themselves are 13 MB, and 128 MB of ten classes
    monkeypatch.setattr(memory, "available_memory", lambda: free)
    with pytest.raises(UserError, match=rf"^{setting}=50000: this takes .* of memory, and 1.0 GiB are free"):
        condense(digits, execution=plain, **TINY | {"factor": 1} | changes)


@pytest.mark.parametrize("augmentation", ["blur", "color-crop", "color_"])
def test_unknown_augmentations_are_the_users_mistake(digits: ImageDataset, augmentation: str) -> None:
    with pytest.raises(UserError):
        condense(digits, augmentation=augmentation, **TINY)


@pytest.mark.parametrize("ipc", [None, "1", 1.5])
def test_a_number_of_images_is_needed(digits: ImageDataset, ipc: Any) -> None:
    with pytest.raises(UserError, match="ipc"):
        condense(digits, ipc=ipc, method="random")
    with pytest.raises(UserError, match="ipc"):
        random_selections(digits, ipc, 1)
