from __future__ import annotations

from pathlib import Path

import datasets
import huggingface_hub.constants as constants
import numpy as np
import pytest
import torch
from condensed_sets import make, make_soft
from hub_stand_in import READER, Hub, Repository

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.hub import fetch, push, to_push
from m3d_condense.tools.errors import UserError

FILES = [
    "README.md",
    "condensed.json",
    "data/train-00000-of-00001.parquet",
    "images.safetensors",
    "metrics.jsonl",
    "preview.png",
    "stored/train-00000-of-00001.parquet",
]
logged_in = pytest.mark.usefixtures("logged_in")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return make().save(tmp_path / "set")


def refused(folder: Path, hub_id: str = "me/digits") -> str:
    with pytest.raises(UserError) as caught:
        push(folder, hub_id)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Pushing


@logged_in
def test_a_set_is_pushed_whole_and_in_one_commit(saved: Path, hub: Hub) -> None:
    assert push(saved, "me/digits") == f"{hub.address}/datasets/me/digits"
    repository = hub.repositories["me/digits"]
    assert {name: (saved / name).read_bytes() for name in FILES} == {name: repository.files[name] for name in FILES}
    assert set(repository.files) == {*FILES, ".gitattributes"}
    assert (repository.private, repository.commits) == (False, 1)


@logged_in
def test_what_is_listed_is_what_is_sent(saved: Path, hub: Hub) -> None:
    listed = to_push(saved)
    assert hub.requests == []
    push(saved, "me/digits")
    files = hub.repositories["me/digits"].files
    assert listed == {name: len(files[name]) for name in files if name != ".gitattributes"}


@logged_in
def test_a_new_repository_may_be_private(saved: Path, hub: Hub) -> None:
    push(saved, "me/digits", private=True)
    assert hub.repositories["me/digits"].private


@logged_in
def test_a_set_pushed_again_takes_the_place_of_the_older(saved: Path, hub: Hub) -> None:
    (saved / "report.html").write_text("a report")
    push(saved, "me/digits")
    assert "report.html" in hub.repositories["me/digits"].files
    hub.repositories["me/digits"].files["LICENSE"] = b"theirs"
    (saved / "report.html").unlink()
    CondensedSet.load(saved).add_score(Score.of("resnet10", "dm", [55.5], {}), saved)
    push(saved, "me/digits")
    files = hub.repositories["me/digits"].files
    assert set(files) == {*FILES, ".gitattributes", "LICENSE"}
    assert files["condensed.json"] == (saved / "condensed.json").read_bytes()


@logged_in
def test_a_repository_of_other_things_is_left_alone(saved: Path, hub: Hub) -> None:
    hub.repositories["me/digits"] = Repository(files={"README.md": b"mine", "photos.zip": b"mine"})
    assert "holds other files (README.md, photos.zip), and no condensed set" in refused(saved)
    assert hub.repositories["me/digits"].files == {"README.md": b"mine", "photos.zip": b"mine"}


@logged_in
def test_an_empty_repository_is_filled(saved: Path, hub: Hub) -> None:
    hub.repositories["me/digits"] = Repository(files={".gitattributes": b""})
    push(saved, "me/digits")
    assert set(FILES) < set(hub.repositories["me/digits"].files)


@logged_in
def test_what_is_no_finished_set_is_not_pushed(saved: Path, hub: Hub, tmp_path: Path) -> None:
    assert "is not a condensed set" in refused(tmp_path)
    checkpoint = saved.with_name("set.checkpoint")
    checkpoint.touch()
    assert "is not finished" in refused(saved)
    checkpoint.unlink()
    (saved / "notes.txt").write_text("mine")
    assert "holds other files" in refused(saved)
    (saved / "notes.txt").unlink()
    table = saved / "data" / "train-00000-of-00001.parquet"
    content = table.read_bytes()
    table.unlink()
    assert "lacks data/train-00000-of-00001.parquet" in refused(saved)
    table.write_bytes(content)
    (saved / "images.safetensors").write_bytes(b"cut")
    assert "damaged" in refused(saved)
    assert hub.requests == []


@logged_in
@pytest.mark.parametrize("name", ["data/train-00000-of-00001.parquet", "stored/train-00000-of-00001.parquet"])
def test_a_table_of_another_set_is_not_pushed(saved: Path, hub: Hub, tmp_path: Path, name: str) -> None:
    other = make(labels=torch.tensor([0, 1, 0, 1, 2, 2])).save(tmp_path / "other")
    (saved / name).write_bytes((other / name).read_bytes())
    assert f"{name} is damaged, or of another set" in refused(saved)
    assert hub.requests == []


@logged_in
@pytest.mark.parametrize("name", [FILES[0], FILES[2], FILES[5], FILES[6]])
@pytest.mark.parametrize("start", [0, 1])
def test_damaged_files_for_readers_are_not_pushed(saved: Path, hub: Hub, name: str, start: int) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[start : start * len(content) // 2])
    assert f"{name} is damaged, or of another set" in refused(saved)
    assert hub.requests == []


@pytest.mark.parametrize("hub_id", ["digits", "me/", "/digits", "me/a/b", "me/dig its", "me/a--b", "me/a.git", "é/b"])
def test_names_that_are_no_ids_are_refused(saved: Path, hub: Hub, hub_id: str) -> None:
    assert "is no id of the hub, which is OWNER/NAME" in refused(saved, hub_id)
    assert hub.requests == []


def test_nobody_pushes_without_a_token(saved: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hf auth login" in refused(saved)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert "you may not (403)" in refused(saved)
    assert hub.repositories == {}


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(
    saved: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert "me/digits: not pushed: the hub cannot be reached" in refused(saved)
    with pytest.raises(UserError, match="no local path, and the hub did not give it: the hub cannot be reached"):
        fetch("me/digits")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(saved)
    assert hub.requests == []


# Fetching


@logged_in
def test_a_pushed_set_is_fetched_as_it_was(saved: Path, hub: Hub) -> None:
    push(saved, "me/digits")
    folder = fetch("me/digits")
    assert folder is not None
    fetched, condensed = CondensedSet.load(folder), CondensedSet.load(saved)
    assert torch.equal(fetched.images, condensed.images)
    assert (fetched.settings, fetched.source) == (condensed.settings, condensed.source)
    assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == ["condensed.json", "images.safetensors"]


@logged_in
def test_soft_labels_go_to_the_hub_and_come_back(tmp_path: Path, hub: Hub) -> None:
    condensed = make_soft()
    push(condensed.save(tmp_path / "soft"), "me/digits")
    folder = fetch("me/digits")
    assert folder is not None
    fetched = CondensedSet.load(folder)
    assert torch.equal(fetched.decoded_labels("soft"), condensed.decoded_labels("soft"))
    push(make().save(tmp_path / "hard"), "me/digits")
    assert "soft-labels.safetensors" not in hub.repositories["me/digits"].files


@logged_in
def test_what_was_fetched_before_needs_no_network(saved: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    push(saved, "me/digits")
    folder = fetch("me/digits")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch("me/digits") == folder


def test_a_data_set_of_the_hub_is_no_condensed_set(hub: Hub) -> None:
    hub.repositories["me/photos"] = Repository(files={"README.md": b"mine", "train.parquet": b"mine"})
    assert fetch("me/photos") is None


def test_sets_that_are_not_there_or_private_are_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["me/secret"] = Repository(files={"condensed.json": b"{}"}, private=True)
    for token in (None, READER):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        for name in ("me/none", "me/secret"):
            with pytest.raises(UserError, match="there is no such data set, or it is private"):
                fetch(name)


# Opened by datasets


@logged_in
def test_datasets_opens_a_pushed_set(saved: Path, hub: Hub) -> None:
    push(saved, "me/digits")
    condensed = CondensedSet.load(saved)
    decoded = datasets.load_dataset("me/digits", split="train")
    images, labels = condensed.decode()
    assert decoded.features["label"].names == list(condensed.class_names)
    assert decoded["label"] == labels.tolist()
    expected = (images * 255).round().byte().permute(0, 2, 3, 1)
    assert np.array_equal(np.stack([np.asarray(image) for image in decoded["image"]]), expected)
    stored = datasets.load_dataset("me/digits", "stored", split="train")
    pixels = np.stack([np.asarray(image) for image in stored["image"]])
    assert np.array_equal(pixels, condensed.images.permute(0, 2, 3, 1))
