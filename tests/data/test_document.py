"""docs/data.md names a test for each kind of data; here these are held to exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "data.md"
NAMED = re.findall(r"`(tests/[\w/]+\.py|test_\w+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_each_test_that_the_page_names_exists(file: str, test: str) -> None:
    code = (ROOT / file if "/" in file else Path(__file__).parent / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", code, re.MULTILINE)


def test_each_kind_on_the_page_names_its_test() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    kinds = [line for line in lines if line.startswith("| ") and not line.startswith("| what there is")]
    assert len(kinds) >= 60
    assert all("::" in line for line in kinds)
