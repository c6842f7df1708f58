from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from condensed_sets import make

from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.report.trials import Setup
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.stored import recipe_of


def scored(*scores: tuple[str, str, dict[str, Any]]) -> CondensedSet:
    return make(scores=[Score.of(network, protocol, [50.0], settings) for network, protocol, settings in scores])


def test_networks_are_trained_as_the_last_score_was_made() -> None:
    known = scored(("resnet10", "dm", {}), ("convnet2", "quick", {"epochs": 7, "seed": 3}))
    assert asdict(Setup.of(known)) == {"network": "convnet2", "protocol": "quick", "epochs": 7, "seed": 3}
    assert asdict(Setup.of(known, network="resnet10")) == {
        "network": "resnet10",
        "protocol": "dm",
        "epochs": None,
        "seed": 0,
    }
    assert Setup.of(known, network="resnet18").protocol == "quick"
    assert Setup.of(make(scores=[])) == Setup()


def test_the_protocols_own_epochs_are_no_choice() -> None:
    assert Setup.of(scored(("convnet", "quick", {"epochs": 1_000}))).epochs is None
    assert Setup.of(scored(("convnet", "quick", {"epochs": 150}))).epochs == 150


@pytest.mark.parametrize(("network", "protocol"), [("os:getcwd", "quick"), ("convnet", "of a paper")])
def test_a_score_of_code_or_of_an_unknown_protocol_is_not_followed(network: str, protocol: str) -> None:
    assert Setup.of(scored((network, protocol, {}))) == Setup()


def test_a_set_has_no_code_imported(digits: Any) -> None:
    settings = asdict(recipe_for(digits, "m3d", "quick", 1, {}))
    assert recipe_of(make(settings=settings)) is not None
    assert recipe_of(make(settings=settings | {"network": "os:getcwd"})) is None
    assert recipe_of(make()) is None


def test_a_set_older_than_a_setting_was_made_by_its_default(digits: Any) -> None:
    recipe = recipe_for(digits, "m3d", "quick", 1, {})
    settings = asdict(recipe)
    for name in ("bits", "share_real"):
        del settings[name]
    assert recipe_of(make(settings=settings)) == recipe
