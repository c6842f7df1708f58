from __future__ import annotations

import pytest
import torch
from torch import nn

from m3d_condense.machine.costs import activations, at_rest, widest_activation


def network() -> nn.Sequential:
    """Of which one module alone is at rest."""
    made = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 8 * 8, 2))
    made[1].eval()
    return made


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_every_module_is_put_back_into_its_own_mode() -> None:
    made = network()
    before = modes(made)
    with at_rest(made):
        assert not any(modes(made))
    assert modes(made) == before == [True, True, False, True, True]


def test_a_network_that_fails_is_left_as_it_was() -> None:
    made = network()
    before = modes(made)
    with pytest.raises(RuntimeError):
        activations(made, torch.zeros(1, 3, 9, 9))
    assert modes(made) == before
    assert not any(module._forward_hooks for module in made.modules())


def test_layers_are_counted_by_what_they_make() -> None:
    image = torch.zeros(1, 3, 8, 8)
    assert activations(network(), image) == 3 * 4 * 64 + 2
    assert widest_activation(network(), image) == 4 * 64
