from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from recipes_to_test import objective_named

from m3d_condense.condensing.encoders.source import EncoderSource
from m3d_condense.recipes.methods import METHODS, PRESETS, recipe
from m3d_condense.recipes.names import ENCODERS, OBJECTIVES, SELECTIONS, find
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import KERNELS, Recipe, meanings
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.seeds import derive, generator


def paper(method: str, ipc: int = 10, side: int = 32) -> dict[str, Any]:
    return dataclasses.asdict(recipe(method, "paper", Problem(ipc=ipc, side=side), {}))


def test_small_images_are_not_cut_up() -> None:
    assert [paper("m3d", side=side)["factor"] for side in (8, 15, 16, 32, 64)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [8, 32, 224])
def test_every_row_is_a_whole_recipe(method: str, preset: str, side: int) -> None:
    made = recipe(method, preset, Problem(ipc=3, side=side), {})
    assert (made.method, made.preset, made.ipc) == (method, preset, 3)
    assert METHODS[method].title
    assert METHODS[method].citation


def test_every_row_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert {name for name in METHODS if f"`{name}`" not in text.partition("## Presets")[0]} == set()
    assert {name for name in ENCODERS if f"| `{name}` |" not in text} == set()


def test_overrides_take_precedence_and_none_does_not_count() -> None:
    made = recipe("m3d", "quick", Problem(ipc=1, side=8, mirrored=False), {"lr": 0.5, "kernel": None})
    assert (made.lr, made.kernel, made.flip) == (0.5, "gaussian", False)
    assert recipe("m3d", "quick", Problem(ipc=1, side=8, mirrored=False), {"flip": True}).flip


@pytest.mark.parametrize("method", ["random", *SELECTIONS])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_method_without_steps_takes_no_iterations(method: str, preset: str) -> None:
    assert recipe(method, preset, Problem(ipc=1, side=8), {"iterations": 0}).iterations == 0
    with pytest.raises(UserError, match=f"iterations=5: {method} takes no steps; name a method that does"):
        recipe(method, preset, Problem(ipc=1, side=8), {"iterations": 5})


def test_every_setting_has_a_type_and_a_meaning() -> None:
    found = meanings()
    assert found.keys() == Recipe.__dataclass_fields__.keys()
    made = paper("m3d")
    for name, (kind, text) in found.items():
        assert isinstance(made[name], kind)
        assert text == text.strip()
        assert text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ipc": 0}, "ipc=0: at least 1"),
        ({"ipc": 2**31}, "ipc=2147483648: at most 2147483647"),
        ({"factor": 0}, "factor=0: at least 1"),
        ({"iterations": -1}, "iterations=-1: at least 0"),
        ({"iterations_per_model": 0}, "iterations_per_model=0"),
        ({"batch_real": 0}, "batch_real=0"),
        ({"batch_synthetic": 0}, "batch_synthetic=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": 1e300}, "lr=1e[+]300: a number above 0, at most 1000000"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"kernel": "laplace"}, "kernel=laplace: one of gaussian, polynomial, linear"),
        ({"objective": "x"}, "objective=x"),
        ({"encoders": "x"}, "encoders=x"),
        ({"encoder_steps": -1}, "encoder_steps=-1"),
        ({"encoder_batch": 0}, "encoder_batch=0"),
        ({"encoder_count": 0}, "encoder_count=0"),
        ({"encoder_points": 1}, "encoder_points=1: at least 2"),
        ({"encoder_augmentation": "crop_warp"}, "encoder_augmentation=crop_warp: no 'warp' among color, crop"),
        ({"teacher_lead": 1.5}, "teacher_lead=1.5: a number from 0 to 1"),
        ({"encoder_lr": 0.0}, "encoder_lr=0.0"),
        ({"encoder_warmup": -1}, "encoder_warmup=-1"),
        ({"encoder_weight_decay": -1.0}, "encoder_weight_decay=-1.0"),
        ({"encoder_cutmix": 1.1}, "encoder_cutmix=1.1: a number from 0 to 1"),
        ({"mosaic": "x"}, "mosaic=x: one of antialiased, bilinear, nearest"),
        ({"class_steps": "x"}, "class_steps=x: one of joint, sequential"),
        ({"cross_entropy": -0.1}, "cross_entropy=-0.1"),
        ({"cross_entropy": 1e300}, "cross_entropy=1e[+]300"),
        ({"cross_entropy": float("nan")}, "cross_entropy=nan"),
        ({"initialisation": "x"}, "initialisation=x"),
        ({"optimizer": "x"}, "optimizer=x"),
        ({"augmentation_draw": "x"}, "augmentation_draw=x"),
    ],
)
def test_values_out_of_range_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    values = paper("m3d") | changes
    with pytest.raises(UserError, match=message):
        Recipe(**values)


@pytest.mark.parametrize(
    ("method", "preset", "overrides", "message"),
    [
        ("m4d", "quick", {}, "unknown method 'm4d': one of m3d, m3d-linear"),
        (["dm"], "quick", {}, r"unknown method \['dm'\]: one of m3d, m3d-linear"),
        ("m3d", "slow", {}, "unknown preset 'slow': one of quick, paper"),
        ("m3d", "quick", {"rate": 1}, "unknown setting 'rate'"),
    ],
)
def test_unknown_names_are_refused(method: str, preset: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(method, preset, Problem(ipc=1, side=8), overrides)


def test_everything_named_can_be_found() -> None:
    assert all(objective_named(name, kernel=kernel) for name in OBJECTIVES for kernel in KERNELS)
    assert all(issubclass(find(place), EncoderSource) for place in ENCODERS.values())
    assert all(callable(find(selection.function)) for selection in SELECTIONS.values())


def test_streams_are_functions_of_seed_and_name() -> None:
    assert derive(0, "step", 1) == derive(0, "step", 1)
    seeds = {derive(seed, *words) for seed in (0, 1) for words in (("a",), ("a", 0), ("a", 1), ("b",), ("a", 0, 1))}
    assert len(seeds) == 10
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert generator(3, "x").initial_seed() == derive(3, "x")
    assert derive(0, "encoder", 0) == 7_940_456_901_170_463_251  # the same on every machine and in every version


@pytest.mark.parametrize(
    ("ipc", "side", "iterations", "shared"),
    [(1, 32, 3_000, True), (3, 32, 3_000, True), (4, 32, 600, False), (10, 32, 600, False), (1, 64, 1_000, True)],
)
def test_few_images_share_their_real_ones_under_m3d_plus(ipc: int, side: int, iterations: int, shared: bool) -> None:
    made = recipe("m3d-plus", "quick", Problem(ipc=ipc, side=side), {})
    assert (made.iterations, made.share_real) == (iterations, shared)
    assert made.iterations_per_model == (10 if shared else 1)


@pytest.mark.parametrize(
    ("side", "ipc", "factor", "papers"),
    [
        (32, 1, 4, 2),
        (32, 2, 3, 2),
        (32, 3, 3, 2),
        (32, 4, 2, 2),
        (32, 10, 2, 2),
        (28, 1, 3, 2),
        (16, 1, 2, 2),
        (8, 1, 1, 1),
        (64, 1, 3, 3),
        (64, 5, 3, 3),
    ],
)
def test_few_images_are_cut_finer_under_m3d_plus(side: int, ipc: int, factor: int, papers: int) -> None:
    assert recipe("m3d-plus", "quick", Problem(ipc=ipc, side=side), {}).factor == factor
    for method, preset in (("m3d-plus", "paper"), ("m3d-pool", "quick"), ("m3d", "quick")):
        assert recipe(method, preset, Problem(ipc=ipc, side=side), {}).factor == papers


@pytest.mark.parametrize("method", ["m3d-pool", "m3d-plus"])
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_many_images_are_led_by_less_cross_entropy(method: str, preset: str) -> None:
    for side, ipc, weight in (
        (32, 1, 0.05),
        (32, 10, 0.05),
        (32, 20, 0.025),
        (32, 50, 0.01),
        (8, 50, 0.04),
        (64, 20, 1 / 90),
    ):
        found = recipe(method, preset, Problem(ipc=ipc, side=side), {}).cross_entropy
        assert found == pytest.approx(weight), (side, ipc)
    assert recipe(method, preset, Problem(ipc=50, side=32), {"cross_entropy": 0.05}).cross_entropy == 0.05


def test_digits_are_cut_as_their_papers_have_it_under_m3d_plus() -> None:
    for channels, mirrored in ((1, False), (1, True), (3, False)):
        problem = Problem(ipc=1, side=32, channels=channels, mirrored=mirrored)
        assert recipe("m3d-plus", "quick", problem, {}).factor == 2
