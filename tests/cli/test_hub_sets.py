from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import SCORE, run
from condensed_sets import make
from hub_stand_in import Hub, Repository
from refusals import said

from m3d_condense.sets.condensed import CondensedSet

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.usefixtures("logged_in")
def test_a_pushed_set_is_used_by_its_id(saved: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", saved, "me/digits") == 0
    assert capsys.readouterr().out == f"{hub.address}/datasets/me/digits\n"
    pushed = dict(hub.repositories["me/digits"].files)

    assert run("evaluate", "me/digits", "--json", *SCORE[:-1]) == 0
    printed = capsys.readouterr()
    assert "me/digits: a set of the Hugging Face hub, in " in printed.err
    assert "; its scores are printed, and stored nowhere" in printed.err
    assert run("evaluate", saved, "--json", *SCORE) == 0
    (theirs,), (ours,) = json.loads(printed.out), json.loads(capsys.readouterr().out)
    assert theirs["accuracies"] == ours["accuracies"]
    cached = Path(printed.err.split("hub, in ")[1].split(";")[0])
    assert CondensedSet.load(cached).scores == []
    assert hub.repositories["me/digits"].files == pushed

    assert run("export", "me/digits", "--to", "npz", "--out", "set.npz", "-q") == 0
    with np.load("set.npz") as arrays:
        assert np.array_equal(arrays["images"], CondensedSet.load(saved).images[:, 0])

    capsys.readouterr()
    assert run("info", "me/digits", "-q") == 0
    shown = capsys.readouterr().out
    for word in ("set      me/digits", "method   random", "20 of 1×8×8", "score    none yet"):
        assert word in shown

    assert run("condense", "--config", "me/digits", "--out", "again", "-q") == 0
    assert capsys.readouterr().err == ""
    again = CondensedSet.load("again")
    assert (again.method, again.seed, again.ipc) == ("random", 3, 2)
    assert torch.equal(again.images, CondensedSet.load(saved).images)


@pytest.mark.usefixtures("logged_in")
def test_an_address_names_a_set_too(saved: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", saved, "me/digits", "-q") == 0
    assert run("info", "https://huggingface.co/datasets/me/digits", "-q") == 0
    assert "method   random" in capsys.readouterr().out


@pytest.mark.usefixtures("logged_in")
def test_a_folder_here_comes_before_an_id(saved: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", saved, "me/digits", "-q") == 0
    make().save("me/digits")
    hub.requests.clear()
    capsys.readouterr()
    assert run("info", "me/digits") == 0
    assert "method   m3d" in capsys.readouterr().out
    Path("me/photos").mkdir()
    assert "not a condensed set" in said(capsys, "info", "me/photos")
    assert "no such file" in said(capsys, "condense", "--config", "me/run.yaml")
    assert hub.requests == []


@pytest.mark.usefixtures("logged_in")
def test_a_set_of_the_hub_imports_no_code(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    make(settings={"method": "m3d", "network": "evil:net"}).save("one")
    assert run("push", "one", "me/evil", "-q") == 0
    told = said(capsys, "condense", "--config", "me/evil", "--out", "two")
    assert "its network is code, which no set may import; give --network evil:net yourself" in told
    assert not Path("ran").exists()


def test_a_data_set_of_the_hub_is_not_taken_for_a_set(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["me/photos"] = Repository(files={"README.md": b"mine"})
    assert "--whole or --random scores a data set itself" in said(capsys, "evaluate", "me/photos")
    assert "not a condensed set" in said(capsys, "export", "me/photos", "--to", "npz", "--out", "o")
    assert "there is no such data set, or it is private" in said(capsys, "evaluate", "me/none")


def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(
    saved: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("push", saved, "me/digits", "--private", "--dry-run", "-q") == 0
    lines = capsys.readouterr().out.splitlines()
    files = sorted(file.relative_to(saved).as_posix() for file in Path(saved).rglob("*") if file.is_file())
    assert [line.split()[0] for line in lines[:-1]] == files
    assert lines[-1].startswith("6 files, ")
    assert lines[-1].endswith("to me/digits (private); nothing sent")
    assert hub.requests == []


def test_a_source_on_this_machine_is_pointed_out_before_it_is_sent(
    hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make(source={"data": str(tmp_path / "photos"), "name": "photos"}).save("one")
    assert run("push", "one", "me/photos", "--dry-run") == 0
    assert f"name {tmp_path / 'photos'} as the source: who sees the set sees that" in capsys.readouterr().err


def test_pushes_that_cannot_be_are_told_in_one_line(saved: str, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert "m3d push SET OWNER/NAME" in said(capsys, "push", saved)
    assert "is no id of the hub" in said(capsys, "push", saved, "digits", "--dry-run")
    assert "not a condensed set" in said(capsys, "push", "nowhere", "me/digits")
    Path("one.checkpoint").touch()
    assert "is not finished" in said(capsys, "push", saved, "me/digits", "--dry-run")
    Path("one.checkpoint").unlink()
    assert "hf auth login" in said(capsys, "push", saved, "me/digits")
    assert hub.repositories == {}
