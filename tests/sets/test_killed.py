"""Programs that are killed before each of their file operations: a set can be loaded, and the command given again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from condensed_sets import make
from killing import kills

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.folder import is_condensed_set

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be forked")


def same(found: CondensedSet, expected: CondensedSet) -> bool:
    return torch.equal(found.images, expected.images) and found.scores == expected.scores


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def put(folder: Path, path: Path) -> None:
    """Have a copy of a folder at `path`, and nothing beside it."""
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(folder, path)


OLD = make(num_classes=2, ipc=1, shape=(1, 8, 8))
NEW = make(num_classes=2, ipc=2, shape=(1, 8, 8))
SCORE = Score.of("resnet10", "dm", [55.5], {})


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return OLD.save(tmp_path_factory.mktemp("sets") / "old")


def test_a_set_outlives_a_kill_while_another_takes_its_place(old: Path, tmp_path: Path) -> None:
    path, number = tmp_path / "sets" / "set", 0
    put(old, path)
    for number in kills(lambda: NEW.save(path)):
        found = CondensedSet.load(path)
        assert same(found, OLD) or same(found, NEW), number
        CondensedSet.check_target(path)
        NEW.save(path)
        assert same(CondensedSet.load(path), NEW)
        assert names(path.parent) == ["set"], number
        put(old, path)
    assert number > 20


def test_a_kill_while_the_first_set_is_saved_leaves_all_or_nothing(tmp_path: Path) -> None:
    path, number = tmp_path / "sets" / "set", 0
    for number in kills(lambda: NEW.save(path)):
        if is_condensed_set(path):
            assert same(CondensedSet.load(path), NEW)
        NEW.save(path)
        assert same(CondensedSet.load(path), NEW)
        assert names(path.parent) == ["set"], number
        shutil.rmtree(path.parent)
    assert number > 10


def test_a_set_outlives_a_kill_while_a_score_is_stored(old: Path, tmp_path: Path) -> None:
    path, number = tmp_path / "sets" / "set", 0
    put(old, path)
    for number in kills(lambda: CondensedSet.load(path).add_score(SCORE, path)):
        found = CondensedSet.load(path)
        assert found.scores in (OLD.scores, [*OLD.scores, SCORE])
        CondensedSet.check_target(path)
        found.add_score(SCORE, path)
        assert CondensedSet.load(path).scores == found.scores
        assert "| resnet10 | dm | 1 |" in (path / "README.md").read_text(encoding="utf-8")
        assert names(path) == names(old), number
        put(old, path)
    assert number > 5


def test_a_set_without_tables_outlives_a_kill_while_a_score_is_stored(old: Path, tmp_path: Path) -> None:
    path, number = tmp_path / "sets" / "set", 0

    def put_without_tables() -> None:
        put(old, path)
        shutil.rmtree(path / "data")
        shutil.rmtree(path / "stored")

    put_without_tables()
    for number in kills(lambda: CondensedSet.load(path).add_score(SCORE, path)):
        CondensedSet.check_target(path)
        CondensedSet.load(path).add_score(SCORE, path)
        for table in ("data", "stored"):
            assert names(path / table) == names(old / table), number
        put_without_tables()
    assert number > 10
