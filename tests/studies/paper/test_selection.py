from __future__ import annotations

import pytest

from m3d_condense.recipes.methods import METHODS
from m3d_condense.studies.paper.grids import GRIDS, Problem
from m3d_condense.studies.paper.selection import chosen_makings, chosen_problems
from m3d_condense.tools.errors import UserError

TABLE_2 = GRIDS["table2"]


def named(*only: str, grid: str = "table2") -> list[str]:
    return [str(problem) for problem in chosen_problems(GRIDS[grid], only)]


def methods(*names: str, grid: str = "table2") -> list[str]:
    return [making.method for making in chosen_makings(GRIDS[grid], names)]


def test_nothing_asked_for_is_the_whole_grid() -> None:
    assert len(chosen_problems(TABLE_2, None)) == 15
    assert len(chosen_makings(TABLE_2, None)) == 12


def test_a_data_set_alone_is_all_that_the_grid_has_of_it() -> None:
    assert named("cifar10") == ["cifar10/1", "cifar10/10", "cifar10/50"]
    assert named("digits") == ["digits/1", "digits/10", "digits/50"]


def test_names_are_read_with_a_capital_an_underscore_or_a_space() -> None:
    assert named("Fashion_MNIST/1", " cifar10 / 10 ") == ["fashion-mnist/1", "cifar10/10"]


def test_each_is_taken_once_in_the_order_asked_for() -> None:
    assert named("mnist/10", "mnist", "mnist/10") == ["mnist/10", "mnist/1", "mnist/50"]


def test_data_and_ipc_that_the_paper_does_not_have_may_be_named() -> None:
    assert named("fashion-mnist/10", grid="figure4") == ["fashion-mnist/10"]
    assert named("cifar10/7", "imagenette/2") == ["cifar10/7", "imagenette/2"]
    assert chosen_problems(TABLE_2, ["cifar10/007"]) == [Problem(data="cifar10", ipc=7)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "expected DATA/IPC"),
        ("/", "expected DATA/IPC"),
        ("/10", "expected DATA/IPC"),
        ("cifar10/", "expected DATA/IPC"),
        ("cifar10/x", "expected DATA/IPC"),
        ("cifar10/-1", "expected DATA/IPC"),
        ("cifar10/1.5", "expected DATA/IPC"),
        ("cifar10/1/2", "expected DATA/IPC"),
        ("cifar10/1,mnist/1", "expected DATA/IPC"),
        ("cifar10:1", "expected DATA/IPC"),
        ("cifar10/" + "9" * 5000, "expected DATA/IPC"),
        ("cifar10/²", "expected DATA/IPC"),
        ("../cifar10/1", "expected DATA/IPC"),
        ("cifar10/0", "at least 1"),
        ("cifar1O/1", "did you mean cifar10"),
        ("nothing-like-it/1", "one of digits, mnist"),
    ],
)
def test_what_names_no_problem_is_said(text: str, word: str) -> None:
    with pytest.raises(UserError, match=word) as raised:
        named(text)
    assert raised.value.args[0].count("\n") == 0
    assert "only" in str(raised.value)


def test_nothing_at_all_is_no_selection() -> None:
    with pytest.raises(UserError, match="at least one"):
        named()
    with pytest.raises(UserError, match="at least one"):
        methods()


def test_methods_keep_the_grids_order_and_others_are_added() -> None:
    assert methods("m3d", "random", "m3d-pool", "m3d") == ["random", "m3d", "m3d-pool"]
    assert methods("whole", "dm") == ["dm", "whole"]
    assert set(methods(*METHODS)) == set(METHODS)


def test_a_method_of_a_grid_may_be_made_in_several_ways() -> None:
    labels = [making.label for making in chosen_makings(GRIDS["figure11"], ["m3d"])]
    assert labels == ["initialisation of m3d", "m3d"]


@pytest.mark.parametrize(("name", "word"), [("dmm", "did you mean dm?"), ("zzzz", "some of m3d"), ("", "some of")])
def test_unknown_methods_are_said(name: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        methods(name)
