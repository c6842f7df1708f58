"""The commands that README.md and docs/ show are commands that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import m3d_condense
from m3d_condense.cli.arguments import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words behind ``m3d`` of each command in the page's blocks of code."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.S | re.M)
    blocks = [block for language, block in fenced if language in ("", "console", "bash", "sh")]
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in re.sub(r"\\\n *", "", block).splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=\S*", words[0]):
            del words[0]
        if words[:1] == ["m3d"]:
            yield words[1:]


def test_the_pages_hold_commands() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        if any(word in ("--help", "…") or word.isupper() for word in words):  # a help, or a pattern
            continue
        asked = parse(words)
        assert asked is not None, words
        assert asked[0] == words[0]


def test_the_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    local = {link.partition("#")[0] for link in links if "://" not in link}
    assert len(local) > 5
    assert [link for link in sorted(local) if not (ROOT / link).exists()] == []


def test_the_page_of_names_has_all_of_them() -> None:
    named = re.findall(r"^::: m3d_condense\.(\w+)$", Path("docs/api.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(m3d_condense.__all__)
