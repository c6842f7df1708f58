"""What only a GPU of NVIDIA's can show; the other tests run on one too, where there is one."""

from __future__ import annotations

import pytest
import torch

from m3d_condense import networks
from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset, Split
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.execution import Execution
from m3d_condense.scoring import evaluate

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of NVIDIA's")


@pytest.mark.parametrize("name", ["convnet", "resnet10-batch", "densenet121"])
def test_a_seed_makes_the_same_network_on_a_gpu_as_on_the_cpu(name: str) -> None:
    here, there = (networks.build(name, channels=3, num_classes=4, size=(32, 32)) for _ in range(2))
    there.cuda()
    kept = [parameter.data_ptr() for parameter in there.parameters()]
    for network in (here, there):
        networks.initialise(network, 7)
    assert kept == [parameter.data_ptr() for parameter in there.parameters()]
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, other.cpu())


def test_ten_networks_are_tested_at_once_on_many_images() -> None:
    grey = torch.randint(0, 256, (10_000, 1, 28, 28), dtype=torch.uint8)
    split = Split(images=grey, labels=torch.arange(10_000) % 10)
    names = tuple("abcdefghij")
    noise = ImageDataset(name="noise", train=split, test=split, class_names=names, source={})
    made = condense(noise, ipc=1, method="random")
    assert evaluate(made, noise, repeats=10, epochs=1).mean == pytest.approx(10.0, abs=3.0)


def test_a_piece_holds_fewer_images_where_they_are_larger_or_several_networks_run_as_one() -> None:
    network, example = networks.build("convnet", channels=3, num_classes=4, size=(32, 32)), torch.zeros(1, 3, 32, 32)
    placed = Engine(Execution(compile="no")).place(network, example, 1)
    assert placed.piece(example) == 4096
    assert placed.piece(torch.zeros(1, 3, 64, 64)) == 1024
    assert placed.piece(example, together=10) == 409
