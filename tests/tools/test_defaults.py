from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from m3d_condense.tools.defaults import torchs_own


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
def test_a_thread_that_ends_first_takes_the_type_from_no_other() -> None:
    entered, left = threading.Event(), threading.Event()
    seen: list[torch.dtype] = []

    def longer() -> None:
        with torchs_own():
            entered.set()
            left.wait(10)
            seen.append(torch.get_default_dtype())

    other = threading.Thread(target=longer)
    with torchs_own():
        other.start()
        assert entered.wait(10)
    left.set()
    other.join()
    assert (seen, torch.get_default_dtype()) == ([torch.float32], torch.float64)


@pytest.mark.usefixtures("double")
def test_the_type_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), torchs_own(), torchs_own():
        raise ZeroDivisionError
    assert torch.get_default_dtype() == torch.float64
