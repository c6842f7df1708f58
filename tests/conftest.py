from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hub_stand_in
import pytest
import torch

from m3d_condense.condensing.condensation import condense
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.execution import Execution
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.progress import set_quiet

# Images of 8×8 gain nothing from a second thread, and two that wait for each other on a busy machine lose much.
torch.set_num_threads(1)

# What a shell or nohup starts in the background may ignore these signals, and what is tested would inherit that.
for _sent, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_sent) is signal.SIG_IGN:
        signal.signal(_sent, _handler)


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    return load("digits")


@pytest.fixture
def chosen(digits: ImageDataset) -> CondensedSet:
    """Two digits a class, drawn at random."""
    return condense(digits, ipc=2, method="random")


@pytest.fixture(scope="session")
def plain() -> Execution:
    """The reference execution: eager float32 on the CPU."""
    return Execution(device="cpu", precision="float32", native=False, compile="no")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep trained networks away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M3D_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    yield
    set_quiet(False)  # a test of the command line's -q must not silence the next


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the command line: an empty folder to work in, and lines of a known width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def saved(digits: ImageDataset, own_folder: None) -> str:
    """A set of digits in the folder `one` of a folder of its own."""
    condense(digits, ipc=2, method="random", seed=3, out="one")
    return "one"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_stand_in.Hub]:
    """An empty stand-in of the hub, which is all that can be reached, asked by nobody in particular."""
    with hub_stand_in.running() as hub:
        hub_stand_in.point_to(hub.address, tmp_path / "fetched", monkeypatch)
        yield hub


@pytest.fixture
def logged_in(hub: hub_stand_in.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to the stand-in."""
    monkeypatch.setenv("HF_TOKEN", hub_stand_in.TOKEN)
