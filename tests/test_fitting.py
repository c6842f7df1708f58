from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m3d_condense import fitting
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.fitting import export_script, train
from m3d_condense.machine.execution import Execution
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet
from m3d_condense.training.trained import load_network


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


def test_it_is_the_first_network_that_scoring_trains(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution
) -> None:
    for seed in (0, 3):
        common: dict[str, Any] = {"protocol": "dm", "epochs": 3, "seed": seed, "execution": plain}
        scored = evaluate(chosen, digits, repeats=2, **common)
        found = train(chosen, digits, **common)
        assert found.accuracy == scored.accuracies[0]
        assert len(set(scored.accuracies)) == 2
        assert {name: found.settings[name] for name in scored.settings} == scored.settings
    whole = evaluate(digits, repeats=1, epochs=1, network="convnet1", execution=plain)
    assert train(digits, epochs=1, network="convnet1", execution=plain).accuracy == whole.accuracies[0]


@pytest.mark.parametrize("network", ["convnet1", "convnet1-batch"])
@pytest.mark.parametrize("native", [False, True])
def test_what_is_kept_is_what_was_tested(
    chosen: CondensedSet, digits: ImageDataset, tmp_path: Path, network: str, native: bool
) -> None:
    execution = Execution(device="cpu", precision="float32", native=native, compile="no")
    made = train(chosen, digits, network=network, epochs=5, execution=execution, out=tmp_path / "network")
    for found in (made, load_network(tmp_path / "network")):
        right = found.predict(digits.test.images) == digits.test.labels
        assert 100 * right.float().mean().item() == pytest.approx(found.accuracy, abs=100 / len(right))
        inputs = chosen.normalise(digits.test.images)
        assert torch.equal(found.normalise(digits.test.images), inputs)
    assert found.accuracy > 30
    assert found.class_names == digits.class_names
    assert found.trained_on == {
        "name": "digits, condensed by random",
        "images": 20,
        "fingerprint": chosen.fingerprint,
    }
    assert found.tested_on == {"name": "digits", "images": 359, "fingerprint": digits.fingerprint}


def test_a_folder_is_read_as_a_set_and_all_else_as_data(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"network": "convnet1", "epochs": 1, "execution": plain}
    chosen.save(tmp_path / "set")
    expected = train(chosen, digits, **common).accuracy
    assert train(str(tmp_path / "set"), **common).accuracy == train(tmp_path / "set", **common).accuracy == expected
    assert train("digits", **common).trained_on["images"] == len(digits.train)


def scored_by(protocol: str, **settings: Any) -> Score:
    return Score.of("convnet", protocol, [50.0], settings)


@pytest.mark.parametrize(
    ("scores", "asked", "expected"),
    [
        ([], {"epochs": 1}, ("quick", 1, False)),
        ([scored_by("dm", epochs=2, flip=True)], {}, ("dm", 2, True)),
        ([scored_by("idc", epochs=9), scored_by("dm", epochs=2)], {}, ("dm", 2, False)),
        ([scored_by("dm", epochs=2, flip=True)], {"epochs": 1, "flip": False}, ("dm", 1, False)),
        ([scored_by("dm", epochs=2, flip=True)], {"protocol": "idc", "epochs": 1}, ("idc", 1, False)),
        ([scored_by("someone's", epochs=2), scored_by("dm", epochs="many")], {"epochs": 3}, ("dm", 3, False)),
        ([scored_by("someone's", epochs=2)], {"epochs": 3}, ("quick", 3, False)),
    ],
)
def test_the_stored_protocol_is_followed_where_none_is_given(
    scores: list[Score],
    asked: dict[str, Any],
    expected: tuple[str, int, bool],
    chosen: CondensedSet,
    digits: ImageDataset,
    plain: Execution,
) -> None:
    chosen.scores = scores
    found = train(chosen, digits, network="convnet1", execution=plain, **asked)
    assert (found.protocol, found.settings["epochs"], found.settings["flip"]) == expected


def test_mistakes_are_found_before_training(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    odd = (np.zeros((20, 8, 8), np.uint8), np.arange(20) % 4)
    for subject, data, asked, message in (
        (chosen, digits, {"out": tmp_path / "notes.txt", "overwrite": True}, "is another file"),
        (chosen, digits, {"network": "x"}, "unknown network"),
        (chosen, digits, {"protocol": "x"}, "unknown protocol"),
        (chosen, digits, {"epochs": 0}, "epochs=0"),
        (chosen, odd, {}, "its classes are not those of the condensed set"),
        (digits, odd, {}, "so digits takes no other data"),
        (tmp_path / "none", None, {}, "none"),
    ):
        with pytest.raises(UserError, match=message):
            train(subject, data, execution=plain, **asked)  # type: ignore[arg-type]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_network_in_the_way_stays_unless_it_may_be_overwritten(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"network": "convnet1", "epochs": 1, "execution": plain, "out": tmp_path / "network"}
    first = train(chosen, digits, **common)
    with pytest.raises(UserError, match="holds a trained network"):
        train(chosen, digits, seed=1, **common)
    assert load_network(tmp_path / "network").accuracy == first.accuracy
    second = train(chosen, digits, seed=1, overwrite=True, **common)
    assert load_network(tmp_path / "network").settings["seed"] == second.settings["seed"] == 1


def test_an_interrupt_leaves_nothing_behind(
    chosen: CondensedSet, digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.SGD, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, digits, network="convnet1", execution=plain, out=tmp_path / "runs" / "network")
    assert list(tmp_path.iterdir()) == []


def test_the_script_follows_the_newest_score(chosen: CondensedSet, digits: ImageDataset, tmp_path: Path) -> None:
    chosen.scores = [Score.of("convnet2", "dm", [50.0], {"epochs": 7, "flip": True})]
    chosen.save(tmp_path / "set")
    made = export_script(chosen, tmp_path / "set", tmp_path / "train.py")
    text = made.read_text()
    assert "EPOCHS, BATCH, LR, H, W = 7, 256, 0.01, 8, 8" in text
    assert "Train convnet2 on digits, condensed by random, by the protocol dm" in text
    assert "mirror" in text
    stored = load_file(tmp_path / "train-test.safetensors")
    assert torch.equal(stored["images"], digits.test.images)
    assert torch.equal(stored["labels"], digits.test.labels)
    chosen.source.pop("data")
    with pytest.raises(UserError, match="say with data what to test on"):
        export_script(chosen, tmp_path / "set", tmp_path / "other.py")
    assert export_script(chosen, tmp_path / "set", tmp_path / "other.py", digits).exists()


def test_two_processes_do_not_train_into_one_file(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"network": "convnet1", "epochs": 1, "execution": plain, "out": tmp_path / "network"}
    original, refusals = fitting._trained, list[str]()

    def trained(*given: Any) -> Any:
        with pytest.raises(UserError) as caught:
            train(digits, **asked)
        refusals.append(str(caught.value))
        return original(*given)

    monkeypatch.setattr(fitting, "_trained", trained)
    train(digits, **asked)
    assert ["another process is writing there" in line for line in refusals] == [True]


def test_a_file_that_came_during_the_training_is_not_replaced(
    digits: ImageDataset, plain: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, original = tmp_path / "network", fitting._trained

    def trained(*given: Any) -> Any:
        out.write_text("mine")
        return original(*given)

    monkeypatch.setattr(fitting, "_trained", trained)
    with pytest.raises(UserError, match="is another file, which would be lost"):
        train(digits, network="convnet1", epochs=1, execution=plain, out=out)
    assert out.read_text() == "mine"
