from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_studies import FLAGS, SCORED, TINY

from m3d_condense import compare, networks, study
from m3d_condense.cli.main import main
from m3d_condense.cli.settings import variants
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.studies import scores
from m3d_condense.tools.errors import UserError

pytestmark = pytest.mark.usefixtures("own_folder")

ALIKE: dict[str, Any] = {"ipc": 1, "networks": ["convnet1"]} | TINY | SCORED
ASKED: dict[str, Any] = {"method": "dm"} | ALIKE
VARIED: dict[str, Any] = {"lr": [0.01, 0.02], "batch_real": [8]}


def labels(results: Any) -> list[str]:
    return [job.label for job in results.jobs]


def test_each_value_is_tried_while_the_others_stay(digits: ImageDataset) -> None:
    results = study(digits, vary=VARIED, **ASKED)
    assert labels(results) == ["dm", "lr=0.02", "batch_real=8"]  # dm has a rate of 0.01
    assert [(job.recipe.lr, job.recipe.batch_real) for job in results.jobs if job.recipe] == [
        (0.01, 4),
        (0.02, 4),
        (0.01, 8),
    ]
    assert [row.n for row in results.rows] == [2, 2, 2]


def small(**asked: Any) -> Any:
    """A user's own network."""
    return networks.build("convnet1", **asked)


def test_numbers_of_numpy_and_torch_and_a_network_as_a_function_are_stored(
    digits: ImageDataset, tmp_path: Path
) -> None:
    given = {"epochs": np.int64(1), "batch_real": torch.tensor(4), "network": small, "networks": small}
    vary = {"lr": [np.float32(0.5)], "network": [small]}
    first = study(digits, vary=vary, out=tmp_path / "study", **ASKED | given)
    assert labels(first) == ["dm", "lr=0.5"]  # with the network that it has
    again = study(digits, vary=vary, out=tmp_path / "study", **ASKED | given)
    assert [row.mean for row in again.rows] == [row.mean for row in first.rows]
    compared = compare(digits, methods="dm", whole=False, out=tmp_path / "compared", **ALIKE | given)
    assert {row.network for row in compared.rows} == {f"{__name__}:small"}


def test_together_every_combination_is_tried(digits: ImageDataset) -> None:
    results = study(digits, vary={"lr": [0.02, 0.03], "batch_real": [4, 8]}, together=True, seeds=2, **ASKED)
    combined = [f"lr={lr} batch_real={batch}" for lr in (0.02, 0.03) for batch in (4, 8)]
    assert labels(results) == ["dm", *combined] * 2


def test_the_sets_and_their_scores_have_not_seen_the_test_split(
    digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ImageDataset] = []
    original = scores.evaluate

    def evaluate(subject: Any, data: ImageDataset, **asked: Any) -> Any:
        seen.append(data)
        return original(subject, data, **asked)

    monkeypatch.setattr(scores, "evaluate", evaluate)
    held = study(digits, vary={}, **ASKED)
    plain = study(digits, vary={}, hold_out=0, **ASKED)
    assert "accuracy on 0.1 of the training images, held out" in held.notes()[0]
    assert "test accuracy" in plain.notes()[0]
    count = len(digits.train)
    assert (len(seen[0].train), len(seen[0].test)) == (count - len(seen[0].test), pytest.approx(count / 10, abs=6))
    assert torch.equal(seen[1].test.images, digits.test.images)


def test_a_study_goes_on_and_values_are_added(digits: ImageDataset, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    first = study(digits, vary={"lr": [0.02]}, out=folder, **ASKED)
    made = {path: path.stat().st_mtime_ns for path in folder.glob("sets/*/*")}
    assert made
    more = study(digits, vary={"lr": [0.02, 0.03]}, out=folder, **ASKED)
    assert labels(more) == ["dm", "lr=0.02", "lr=0.03"]
    assert {row.method: row.mean for row in first.rows}.items() <= {row.method: row.mean for row in more.rows}.items()
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())
    assert CondensedSet.load(folder / "sets" / "digits-lr-0.03-quick-ipc1-seed0").settings["lr"] == 0.03


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vary": {"rate": [1]}}, "no setting of a recipe that can be varied"),
        ({"vary": {"method": ["dm"]}}, "methods are what compare compares"),
        ({"vary": {"seed": [1]}}, "give seeds=N"),
        ({"vary": {"lr": []}}, "lr has no values"),
        ({"vary": {"lr": 0.1}}, r"lr: give a list of values, such as \[0.1\]"),
        ({"vary": {"kernel": "linear"}}, r"kernel: give a list of values, such as \['linear'\]"),
        ({"vary": {"lr": [-1.0]}}, "a number above 0"),
        ({"vary": ["lr"]}, 'settings and their values, such as {"lr": '),
        ({"vary": {}, "method": "random"}, "random takes no steps"),
        ({"vary": {"iterations": [2, 0]}}, "iterations=0 takes no steps"),
        ({"vary": {}, "hold_out": 1.5}, "a number between 0 and 1"),
        ({"vary": {}, "hold_out": None}, "hold_out: a number"),
        ({"vary": {}, "hold_out": "0.1"}, "hold_out=0.1: a number"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_any_work(
    digits: ImageDataset, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        study(digits, out=tmp_path / "study", **ASKED | changes)
    assert not (tmp_path / "study").exists()


def test_values_are_read_by_the_type_of_their_setting() -> None:
    assert variants(["lr=0.01, 2e-2", "--batch-real=4,8", "kernel=linear", "flip=false", "lr=1"]) == {
        "lr": [0.01, 0.02, 1.0],
        "batch_real": [4, 8],
        "kernel": ["linear"],
        "flip": [False],
    }


@pytest.mark.parametrize("text", ["lr", "rate=1", "lr=", "lr=x", "batch_real=1.5", "flip=maybe", "=1", ""])
def test_values_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        variants([text])


@pytest.mark.parametrize("text", ["lr=", "lr=0.1,", "kernel= "])
def test_a_missing_value_is_said(text: str) -> None:
    with pytest.raises(UserError, match=f"a value of {text.partition('=')[0]} is missing"):
        variants([text])


def test_a_study_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "digits", "--method", "dm"]) == 2
    assert "--vary: name a setting to vary, and its values" in capsys.readouterr().err


def test_the_command_prints_the_table_and_what_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    without = FLAGS[: FLAGS.index("--seeds")] + FLAGS[FLAGS.index("--seeds") + 2 :]
    assert main(["study", "digits", *without, "--method", "dm", "--vary", "lr=0.02", "--out", "out"]) == 0
    said = capsys.readouterr()
    assert "lr=0.02" in said.out
    assert "accuracy on 0.1 of the training images, held out" in " ".join(said.out.split())
    assert Path("out/variants.csv").exists()
