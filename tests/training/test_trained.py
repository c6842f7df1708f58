from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from m3d_condense import networks
from m3d_condense.tools.errors import UserError
from m3d_condense.training import trained as trained_networks
from m3d_condense.training.trained import KEY, TrainedNetwork, check_target, load_network

IMAGES = torch.randint(256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(1)).byte()


def trained(architecture: str = "convnet1", **changes: Any) -> TrainedNetwork:
    network = networks.build(architecture, channels=3, num_classes=2, size=(8, 8))
    networks.initialise(network, 5)
    values: dict[str, Any] = {
        "network": network.eval(),
        "architecture": architecture,
        "channels": 3,
        "size": (8, 8),
        "class_names": ("cat", "dög"),
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "accuracy": 87.5,
        "protocol": "quick",
        "settings": {"epochs": 3, "milestones": (0.5,)},
        "trained_on": {"name": "pets", "images": 4, "fingerprint": "sha256:0"},
        "tested_on": {"name": "pets", "images": 8, "fingerprint": "sha256:1"},
        "seconds": 1.5,
        "created": "2026-01-02T03:04:05+00:00",
    }
    return TrainedNetwork(**values | changes)


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    return (images.float() / 255 - mean) / std


@pytest.mark.parametrize("changes", [{"mean": (0.1, math.nan, 0.3)}, {"std": (0.4, 0.0, 0.6)}, {"std": (0.4,)}])
def test_constants_that_cannot_normalise_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot normalise|deviations"):
        trained(**changes)


@pytest.mark.parametrize("architecture", ["convnet1", "convnet1-batch", "resnet10-width8"])
def test_a_network_comes_back_as_it_was_kept(architecture: str, tmp_path: Path) -> None:
    kept = trained(architecture)
    assert kept.save(tmp_path / "deep" / "network.safetensors") == tmp_path / "deep" / "network.safetensors"
    found = load_network(tmp_path / "deep" / "network.safetensors")
    assert not found.network.training
    inputs = found.normalise(IMAGES)
    torch.testing.assert_close(inputs, normalised(IMAGES))
    assert torch.equal(found.network(inputs), kept.network(inputs))
    for field in dataclasses.fields(TrainedNetwork):
        if field.name != "network":
            assert getattr(found, field.name) == getattr(kept, field.name)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["network.safetensors"]


def test_the_file_opens_without_this_package(tmp_path: Path) -> None:
    kept = trained()
    kept.save(tmp_path / "network.safetensors")
    weights = safetensors.torch.load_file(tmp_path / "network.safetensors")
    assert weights.keys() == kept.network.state_dict().keys()
    with safetensors.safe_open(tmp_path / "network.safetensors", framework="pt") as stored:
        said = json.loads(stored.metadata()[KEY])
    assert (said["architecture"], said["class_names"], said["accuracy"]) == ("convnet1", ["cat", "dög"], 87.5)


def test_labels_are_those_of_the_largest_logits() -> None:
    kept = trained()
    expected = kept.network(normalised(IMAGES)).argmax(1)
    for images in (IMAGES, IMAGES.float() / 255):
        found = kept.predict(images)
        assert torch.equal(found, expected)
        assert not found.requires_grad
    with pytest.raises(UserError, match=r"\(5, 3, 4, 8\) do not fit: the network takes \(N, \*\(3, 8, 8\)\)"):
        kept.predict(IMAGES[:, :, :4])
    with pytest.raises(UserError, match=r"images are torch.int64; give uint8"):
        kept.predict(IMAGES.long())
    with pytest.raises(UserError, match=r"\(3, 8, 8\) do not fit: a batch of N×C×H×W is wanted"):
        kept.predict(IMAGES[0])
    with pytest.raises(UserError, match="floats range from 0 to 255"):
        kept.predict(torch.tensor([0.0, 255.0]).expand(3, 8, 4, 2).reshape(1, 3, 8, 8))
    with pytest.raises(UserError, match="images are a ndarray; give a tensor"):
        kept.predict(IMAGES.numpy())


def test_many_images_are_named_in_pieces_to_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, sizes = trained("convnet1-batch"), []
    whole = kept.predict(IMAGES)
    kept.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr(trained_networks, "at_once", lambda images, device: 2)
    assert torch.equal(kept.predict(IMAGES), whole)
    assert sizes == [2, 2, 1]


def test_a_network_that_has_diverged_names_no_class() -> None:
    kept = trained()
    kept.network.classifier.weight.data[0, 0] = torch.nan
    with pytest.raises(UserError, match="a network has diverged"):
        kept.predict(IMAGES)


OWN = "from torch import nn\ndef small(channels, num_classes, size):\n"
OWN += "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], num_classes))\n"


def test_code_is_imported_only_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    kept = trained("own_networks:small")
    kept.save(tmp_path / "network.safetensors")
    with pytest.raises(UserError, match="its network is code, .* give network=own_networks:small yourself"):
        load_network(tmp_path / "network.safetensors")
    found = load_network(tmp_path / "network.safetensors", network="own_networks:small")
    assert torch.equal(found.network(normalised(IMAGES)), kept.network(normalised(IMAGES)))
    with pytest.raises(UserError, match="its weights are not those of convnet1"):
        load_network(tmp_path / "network.safetensors", network="convnet1")


def changed(**changes: Any) -> dict[str, str]:
    """The metadata of a file, of which something is wrong."""
    with safetensors.safe_open("network.safetensors", framework="pt") as stored:
        said = json.loads(stored.metadata()[KEY])
    kept = {name: value for name, value in (said | changes).items() if value is not None}
    return {KEY: json.dumps(kept)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2, not 1; update with pip"),
        ({"format_version": None}, "format version None, not 1; train the network again"),
        ({"size": None}, "damaged: it has no 'size'"),
        ({"size": [8]}, "damaged: Expected `array` of length 2"),
        ({"accuracy": "high"}, "damaged: Expected `float`, got `str`"),
        ({"mean": [0.5]}, r"damaged: 1 means and 3 deviations \(std\) for 3 channels"),
        ({"size": [-8, 8]}, r"damaged: it takes images of 3 channels and \(-8, 8\) pixels"),
        ({"std": [0.5, 0.0, 0.5]}, "damaged: mean .* cannot normalise: not finite, or a std not above 0"),
        ({"std": [0.5, -1.0, 0.5]}, "damaged: mean .* cannot normalise"),
        ({"mean": [0.5, math.nan, 0.5]}, "damaged"),
        ({"mean": [0.5, math.inf, 0.5]}, "damaged"),
        ({"architecture": "convnet2"}, "its weights are not those of convnet2"),
        ({"architecture": "conwnet"}, "unknown network 'conwnet'"),
        ({"class_names": ["cat"]}, "its weights are not those of convnet1"),
    ],
)
@pytest.mark.usefixtures("own_folder")
def test_a_damaged_file_is_refused(changes: dict[str, Any], message: str) -> None:
    trained().save("network.safetensors")
    weights = safetensors.torch.load_file("network.safetensors")
    safetensors.torch.save_file(weights, "damaged.safetensors", changed(**changes))
    with pytest.raises(UserError, match=message):
        load_network("damaged.safetensors")


@pytest.mark.usefixtures("own_folder")
def test_what_is_no_trained_network_is_refused() -> None:
    trained().save("network.safetensors")
    whole = Path("network.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:-9])
    safetensors.torch.save_file({"images": IMAGES}, "images.safetensors", {KEY + "s": "{}"})
    safetensors.torch.save_file({"images": IMAGES}, "text.safetensors", {KEY: "nothing"})
    for name, message in (
        ("none.safetensors", "is missing"),
        ("cut.safetensors", "is damaged or not in safetensors"),
        ("images.safetensors", "holds no network that m3d train wrote"),
        ("text.safetensors", "is damaged"),
    ):
        with pytest.raises(UserError, match=message):
            load_network(name)


@pytest.mark.usefixtures("own_folder")
def test_only_a_trained_network_is_ever_replaced() -> None:
    trained().save("network.safetensors")
    Path("notes.txt").write_text("mine")
    safetensors.torch.save_file({"images": IMAGES}, "images.safetensors")
    check_target(Path("new/network.safetensors"), overwrite=False)
    check_target(Path("network.safetensors"), overwrite=True)
    with pytest.raises(UserError, match="holds a trained network; choose another name, or give overwrite=True"):
        check_target(Path("network.safetensors"), overwrite=False)
    for overwrite in (False, True):
        for name in ("notes.txt", "images.safetensors"):
            with pytest.raises(UserError, match="is another file, which would be lost"):
                check_target(Path(name), overwrite)
        with pytest.raises(UserError, match="is a folder"):
            check_target(Path(), overwrite)
        with pytest.raises(UserError, match=r"notes.txt is a file, not a folder"):
            check_target(Path("notes.txt/network.safetensors"), overwrite)
