from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m3d_condense.cli.main import main
from m3d_condense.tools.cache import kept
from m3d_condense.tools.entries import entries


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "cache"))
    for kind in ("pools", "selectors"):
        kept(
            kind,
            {"network": "convnet", "fingerprint": "sha256:0123456789"},
            0,
            lambda: {"w": torch.zeros(256)},
        )
    return tmp_path / "cache"


def test_what_is_kept_is_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    pool, selector, total = capsys.readouterr().out.splitlines()
    assert pool.startswith("pools/")
    assert "1.2 KiB" in pool
    assert pool.endswith("convnet, of data sha256:01234567")
    assert selector.startswith("selectors/")
    assert total == f"2.5 KiB in {place}"


def test_what_is_named_is_removed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["cache", "list"])
    pool = capsys.readouterr().out.split()[0]
    assert main(["cache", "remove", pool]) == 0
    assert capsys.readouterr().out.splitlines() == [pool, "1 removed, 1.2 KiB"]
    assert main(["cache", "remove", pool]) == 2
    assert f"nothing of the name {pool} is kept in {place}" in capsys.readouterr().err
    assert main(["cache", "remove", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 removed")
    assert main(["cache", "list"]) == 0
    assert capsys.readouterr().out == f"0 B in {place}\n"


def test_what_another_process_is_making_stays(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m3d_condense.tools.entries.is_held", lambda path: path.parent.name == "pools")
    assert main(["cache", "remove", "--all"]) == 0
    shown = capsys.readouterr()
    assert "another process is making it; it stays" in shown.err
    assert shown.out.splitlines()[-1].startswith("1 removed")
    assert [entry.name.partition("/")[0] for entry in entries()] == ["pools"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["remove"], "name what to remove, as m3d cache list shows it, or give --all"),
        (["remove", "pools", "--all"], "name what to remove, as m3d cache list shows it, or give --all"),
        (["list", "pools"], "m3d cache list takes no names"),
        (["empty"], "empty"),
    ],
)
def test_nothing_is_removed_by_mistake(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = sorted(place.rglob("*"))
    assert main(["cache", *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("limit", ["abc", "-1", "nan", "8 GiB"])
def test_a_limit_that_is_no_size_is_refused(
    limit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M3D_CACHE_LIMIT", limit)
    assert main(["inspect", "digits"]) == 2
    assert f"m3d: the environment variable M3D_CACHE_LIMIT is a number of GiB, not '{limit}'" in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_cache_that_is_no_folder_is_said_once(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("M3D_CACHE", str(tmp_path / "file" / below))
    assert main(["cache", "list"]) == 0
    kept("pools", {"network": "convnet"}, 1, lambda: {"w": torch.zeros(2)})
    said = capsys.readouterr().err
    assert said.count("cannot be kept for the next run in") == 1
    assert "what is worked out cannot be kept" in said
    assert "(Not a directory); M3D_CACHE names another folder" in said
