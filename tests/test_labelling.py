from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from m3d_condense import labelling
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.fitting import train
from m3d_condense.labelling import _as_condensed, ensemble, label
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import recorded, set_quiet
from m3d_condense.training.trained import TrainedNetwork

POOLED: dict[str, Any] = {"method": "m3d-pool", "network": "convnet1", "iterations": 2, "batch_real": 4, "factor": 2}
POOLED |= {"encoder_count": 2, "encoder_steps": 3}


@pytest.fixture(autouse=True)
def _quietly() -> None:
    set_quiet(True)


@pytest.fixture(scope="module")
def trained(digits: ImageDataset) -> list[TrainedNetwork]:
    plain = Execution(device="cpu", precision="float32", native=False, compile="no")
    return [train(digits, network="convnet1", epochs=1, seed=seed, execution=plain) for seed in (0, 1)]


def test_labels_are_the_mean_of_the_networks_softmax_at_a_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 2, 2, generator=generator)  # more than a piece
    layers = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2)]
    teachers = [(layers[0], lambda x: x), (layers[1], lambda x: -x)]
    for temperature in (0.5, 1.0, 4.0):
        with torch.no_grad():
            found = ensemble(teachers, images, temperature, torch.device("cpu"))
            logits = torch.stack([layers[0](images), layers[1](-images)]).double() / temperature
        powers = logits.exp()
        expected = (powers / powers.sum(2, keepdim=True)).mean(0)
        assert torch.allclose(found.double(), expected, atol=1e-7)


def test_trained_networks_label_the_decoded_images(
    digits: ImageDataset, trained: list[TrainedNetwork], plain: Execution
) -> None:
    condensed = condense(digits, ipc=2, method="random", factor=2)
    labelled = label(condensed, trained, temperature=2.0, execution=plain)
    assert condensed.soft_labels is None
    images = condensed.decode()[0]
    with torch.no_grad():
        said = [(one.network(one.normalise(images)) / 2.0).softmax(1) for one in trained]
    assert torch.allclose(labelled.decoded_labels("soft"), torch.stack(said).mean(0), atol=1e-3)
    assert labelled.soft_labels is not None
    told = labelled.soft_labels.origin
    assert told["temperature"] == 2.0
    assert [one["accuracy"] for one in told["networks"]] == [one.accuracy for one in trained]
    assert len({one["weights"] for one in told["networks"]}) == 2


def test_a_network_that_is_given_twice_counts_once(
    digits: ImageDataset, trained: list[TrainedNetwork], plain: Execution, tmp_path: Path
) -> None:
    file = trained[1].save(tmp_path / "again.safetensors")
    alone = label(condense(digits, ipc=1, method="random"), trained, execution=plain).soft_labels
    with recorded() as notices:
        again = label(condense(digits, ipc=1, method="random"), [*trained, trained[0], file], execution=plain)
    assert again.soft_labels is not None
    assert alone is not None
    assert again.soft_labels.origin == alone.origin
    assert torch.equal(again.soft_labels.probabilities, alone.probabilities)
    assert notices[-2:] == [f"{name}: is given twice, and counts once" for name in ("a network", file)]


def test_soft_labels_that_go_with_the_images_of_a_run_that_goes_on_are_told(
    digits: ImageDataset, trained: list[TrainedNetwork], plain: Execution, tmp_path: Path
) -> None:
    asked = {"method": "dm", "network": "convnet1", "iterations": 2, "batch_real": 4, "ipc": 1, "factor": 1}
    condense(digits, out=tmp_path / "set", time_limit=0.0, execution=plain, **asked)
    label(tmp_path / "set", trained, execution=plain)
    with recorded() as notices:
        assert condense(digits, out=tmp_path / "set", execution=plain, **asked).soft_labels is None
    assert any("its soft labels were of the earlier images" in line for line in notices)


def test_networks_that_saw_other_images_are_told(digits: ImageDataset, plain: Execution) -> None:
    condensed = condense(digits, ipc=1, method="random")
    other = dataclasses.replace(digits, train=digits.test, test=digits.train, name="other")
    for subject, name in ((condensed, "random"), (other, "other")):
        seen = train(subject, digits if subject is condensed else None, network="convnet1", epochs=1, execution=plain)
        with recorded() as notices:
            label(condensed, seen, execution=plain)
        assert any("are not the training images that the set was condensed from" in line for line in notices), name


def test_the_pool_of_a_set_labels_it(digits: ImageDataset, plain: Execution, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    made = condense(digits, ipc=1, out=folder, execution=plain, **POOLED)
    with recorded() as notices:
        labelled = label(folder, execution=plain)
    assert not any("Training network" in notice for notice in notices)  # they were in the cache
    stored = CondensedSet.load(folder)
    assert torch.equal(stored.decoded_labels("soft"), labelled.decoded_labels("soft"))
    assert torch.equal(stored.images, made.images)
    assert [one["pool"] for one in labelled.soft_labels.origin["networks"]] == [0, 1]  # type: ignore[union-attr]
    # The ends are trained on what the labels are of: they know the real images better than chance.
    again = condense(digits, ipc=1, out=folder, execution=plain, **POOLED)
    assert again.soft_labels is not None  # a finished run is found as it is


@pytest.mark.parametrize("in_hardware", [False, True])
@pytest.mark.parametrize("own", ["auto", "float32", "tf32", "bfloat16"])
def test_the_pool_is_that_of_the_precision_of_the_set(
    own: str, in_hardware: bool, digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = torch.bfloat16 if in_hardware else torch.float32
    monkeypatch.setattr(Execution, "resolve_dtype", lambda *_: auto)
    condensed = condense(digits, ipc=1, method="random")
    condensed.settings["precision"] = own
    taken = own if own == "float32" or (own == "bfloat16" and in_hardware) else "auto"
    assert _as_condensed(condensed, Execution()).precision == taken
    assert _as_condensed(condensed, Execution(precision="bfloat16")).precision == "bfloat16"


def test_labels_of_a_pool_say_what_it_was_trained_on(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, ipc=1, execution=plain, **POOLED)
    flipped = dataclasses.replace(digits, train=dataclasses.replace(digits.train, images=255 - digits.train.images))
    labelled = label(made, data=digits, execution=plain)
    other = label(labelled, data=flipped, overwrite=True, execution=plain)
    for one, data in ((labelled, digits), (other, flipped)):
        told = one.soft_labels.origin["networks"]  # type: ignore[union-attr]
        assert [network["trained_on"]["fingerprint"] for network in told] == [data.fingerprint] * 2
    with pytest.raises(UserError, match="has other soft labels"):
        label(labelled, data=flipped, execution=plain)


def test_a_pool_that_knows_groups_of_classes_labels_no_set(digits: ImageDataset, plain: Execution) -> None:
    made = condense(digits, ipc=1, class_groups=2, execution=plain, **POOLED)
    with pytest.raises(UserError, match="knows one group of its classes alone; name files of networks"):
        label(made, data=digits, execution=plain)


def test_a_callers_network_stays_as_it_is(digits: ImageDataset, trained: list[TrainedNetwork]) -> None:
    network = trained[0].network.train()
    label(condense(digits, ipc=1, method="random"), trained)
    assert network.training


def test_the_same_labels_are_not_made_again_and_others_only_when_that_is_asked(
    digits: ImageDataset, trained: list[TrainedNetwork], tmp_path: Path
) -> None:
    folder = condense(digits, ipc=1, method="random").save(tmp_path / "set")
    label(folder, trained)
    file = folder / "soft-labels.safetensors"
    before = file.stat().st_mtime_ns
    with recorded() as notices:
        label(folder, trained)
    assert notices == [f"{folder}: has these soft labels already"]
    assert file.stat().st_mtime_ns == before
    for others in ({"networks": trained[:1]}, {"networks": trained, "temperature": 2.0}):
        with pytest.raises(UserError, match="has other soft labels; overwrite=True replaces them"):
            label(folder, **others)
    soft = label(folder, trained[:1], overwrite=True).soft_labels
    assert soft is not None
    assert len(soft.origin["networks"]) == 1


def test_what_cannot_label_a_set_is_refused(
    digits: ImageDataset, trained: list[TrainedNetwork], tmp_path: Path
) -> None:
    condensed = condense(digits, ipc=1, method="random")
    with pytest.raises(UserError, match="no pool of networks is known of this set; name files"):
        label(condensed)
    with pytest.raises(UserError, match="takes images of"):
        label(condensed, [dataclasses.replace(trained[0], size=(9, 9))])
    with pytest.raises(UserError, match="its classes, or their order"):
        label(condensed, [dataclasses.replace(trained[0], class_names=digits.class_names[::-1])])
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="temperature="):
            label(condensed, trained, temperature=temperature)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"no network")
    with pytest.raises(UserError, match=r"other\.safetensors"):
        label(condensed, [other])
    assert condensed.soft_labels is None


def test_one_network_is_a_list_of_one(
    digits: ImageDataset, trained: list[TrainedNetwork], plain: Execution, tmp_path: Path
) -> None:
    condensed = condense(digits, ipc=1, method="random")
    file = trained[0].save(tmp_path / "one.safetensors")
    expected = label(condensed, [trained[0]], execution=plain).soft_labels
    for one in (trained[0], file, str(file)):
        assert label(condensed, one, execution=plain).soft_labels.fingerprint == expected.fingerprint  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [nn.Linear(1, 1), 3, nn.Sequential(nn.Linear(1, 1))])
def test_what_is_no_trained_network_is_refused(given: Any, digits: ImageDataset) -> None:
    with pytest.raises(UserError, match=r"^networks: a (Linear|int); give what train\(\)"):
        label(condense(digits, ipc=1, method="random"), given)


def test_a_folder_that_cannot_be_written_to_is_told_before_networks_are_trained(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    condense(digits, ipc=1, out=tmp_path / "set", **POOLED)

    def refuse(path: Path) -> None:
        raise UserError(f"{path}: the folder cannot be written to")

    def fail(*_: Any) -> None:
        raise AssertionError("networks are trained")

    monkeypatch.setattr(labelling, "check_writable", refuse)
    monkeypatch.setattr(labelling._OwnPool, "teachers", fail)
    with pytest.raises(UserError, match="set/condensed.json: the folder cannot be written to"):
        label(tmp_path / "set")
