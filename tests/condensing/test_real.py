from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from together import together
from torch import Tensor

from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.real import RealImages
from m3d_condense.condensing.shards import Shard
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.machine.group import Group
from m3d_condense.tools.progress import set_quiet

CPU = torch.device("cpu")
SECOND: Any = SimpleNamespace(rank=1, size=3)  # of three processes: classes 1, 4, 7


def graphics(room: int = 2**30) -> Any:
    """What a run asks of an engine on a GPU, whose tensors hold nothing here."""

    def fits(nbytes: int) -> bool:
        return nbytes <= room

    device = torch.device("meta")
    return SimpleNamespace(
        device=device, fits=fits, resident=lambda images: images.to(device) if fits(images.nbytes) else images
    )


def of(dataset: ImageDataset, group: Group, engine: Any, held: Tensor | None = None) -> RealImages:
    return RealImages.of(dataset, Shard(num_classes=10, group=group), engine, held)


def test_a_gpu_holds_the_images_of_the_classes_that_are_drawn(digits: ImageDataset) -> None:
    images, labels = digits.train.images, digits.train.labels
    own = int((labels % 3 == 1).sum())
    assert of(digits, SECOND, graphics()).images.shape == (own, 1, 8, 8)
    assert of(digits, Group(), graphics()).images.shape == images.shape
    held = images.to("meta")
    assert of(digits, SECOND, graphics(), held).images is held  # all are there anyway
    assert of(digits, SECOND, graphics(own * 64), images).images.shape == (own, 1, 8, 8)  # all found no room there
    assert of(digits, SECOND, graphics(own * 64 - 1), images).images is images
    assert of(digits, SECOND, Engine(Execution(device="cpu"))).images is images  # which processes share


def test_an_image_is_found_by_its_number_wherever_it_lies(digits: ImageDataset) -> None:
    images, own = digits.train.images, digits.train.labels % 3 == 1
    some = RealImages.some(images, own, Engine(Execution(device="cpu")))
    assert len(some.images) == int(own.sum()) < len(images)
    numbers = own.nonzero().flatten().flip(0)[:12].view(3, 4)
    assert torch.equal(some.of_numbers(numbers, CPU), images[numbers])
    assert torch.equal(RealImages(images=images).of_numbers(numbers, CPU), images[numbers])
    with pytest.raises(IndexError):
        some.of_numbers((~own).nonzero()[:1], CPU)  # of a class that is another process's


@pytest.mark.parametrize("method", ["m3d", "m3d-plus"])
def test_processes_with_their_own_images_make_the_set_of_one_with_all(
    digits: ImageDataset, plain: Execution, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_quiet(True)
    asked: dict[str, Any] = {"ipc": 1, "method": method, "iterations": 4, "batch_real": 6, "network": "convnet1"}
    if method == "m3d-plus":
        asked |= {"encoder_count": 2, "encoder_steps": 2, "encoder_batch": 8}
    alone = condense(digits, execution=plain, **asked)

    def some(dataset: ImageDataset, shard: Shard, engine: Engine, held: Tensor | None = None) -> RealImages:
        return RealImages.some(
            dataset.train.images, torch.isin(dataset.train.labels, torch.tensor(shard.classes)), engine
        )

    monkeypatch.setattr(RealImages, "of", some)
    for made in together(3, lambda: condense(digits, execution=plain, **asked)):
        assert torch.equal(made.images, alone.images)
