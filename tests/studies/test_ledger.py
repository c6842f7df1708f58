from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import condensed_sets
import pytest
import safetensors.torch
import torch
from small_studies import job, record, score

from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.record import Fitted
from m3d_condense.tools.errors import UserError

SHARED = {"data": "digits", "fingerprint": "sha256:1", "time_limit": None, "lr": 0.1}
FIRST, SECOND = job(), job(seed=1)
BOTH = [FIRST, SECOND]


def opened(folder: Path, **changes: Any) -> Ledger:
    return Ledger.open(folder, SHARED, BOTH, **changes)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The folder of a ledger that knows of one job, with its set, and of a trial."""
    folder = tmp_path / "study"
    ledger = opened(folder)
    ledger.keep(FIRST, record(FIRST, 50.0, 52.0))
    ledger.keep_fitted(FIRST, Fitted(iterations=7, compiled=True))
    condensed_sets.make().save(folder / "sets" / FIRST.name)
    safetensors.torch.save_file(
        {"pixels": torch.zeros(1)}, folder / "sets" / "b.checkpoint", {"identity": "", "progress": ""}
    )
    return folder


# Keeping


def test_without_a_folder_all_is_known_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(SHARED)
    ledger.keep(FIRST, record(FIRST, 50.0))
    ledger.keep_fitted(FIRST, Fitted(iterations=7, compiled=True))
    assert ledger.record(FIRST).scores["convnet1"].mean == 50.0
    assert (ledger.fitted(SECOND), ledger.set_folder(FIRST)) == (Fitted(iterations=7, compiled=True), None)
    assert list(tmp_path.iterdir()) == []


def test_what_one_ledger_keeps_the_next_takes_up(filled: Path) -> None:
    again = opened(filled)
    assert again.record(FIRST) == record(FIRST, 50.0, 52.0)
    assert again.fitted(SECOND) == Fitted(iterations=7, compiled=True)
    assert again.fitted(job(ipc=2)) is None
    assert again.set_folder(FIRST) == filled / "sets" / FIRST.name
    assert again.set_folder(job(None)) is None


def test_ledgers_of_several_processes_finish_jobs_in_one_folder(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.keep(FIRST, record(FIRST, 50.0))
    other.keep(SECOND, record(SECOND, 40.0))
    both = opened(tmp_path)
    assert [both.record(one).scores["convnet1"].mean for one in BOTH] == [50.0, 40.0]


def test_missing_and_failed_are_told_by_network() -> None:
    wide = job(networks=("convnet1", "convnet2", "convnet3"))
    ledger = Ledger({})
    assert ledger.missing(wide) == ["convnet1", "convnet2", "convnet3"]
    assert ledger.record(wide).failed(wide.scorers) == []
    ledger.keep(wide, record(wide, 50.0, errors={"convnet2": "too deep"}))
    failed = ledger.record(wide).failed(wide.scorers)
    assert (ledger.missing(wide), failed) == (["convnet2", "convnet3"], ["convnet2"])
    assert (ledger.missing(FIRST), ledger.record(FIRST).failed(FIRST.scorers)) == ([], [])


def test_a_record_is_added_to_in_place_and_stays_once_kept(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    known = ledger.record(FIRST)
    known.scores["convnet1"] = score(50.0)
    assert opened(tmp_path).missing(FIRST) == ["convnet1"]
    ledger.keep(FIRST, known)
    assert opened(tmp_path).missing(FIRST) == []


def test_records_of_jobs_not_asked_for_stay(filled: Path) -> None:
    before = tree(filled)
    other = Ledger.open(filled, SHARED, [SECOND])
    other.keep(SECOND, record(SECOND, 40.0))
    assert before.items() <= tree(filled).items()


def test_a_deleted_cell_is_missing_again_and_no_other(filled: Path) -> None:
    opened(filled).keep(SECOND, record(SECOND, 40.0))
    (filled / "cells" / f"{FIRST.name}.json").unlink()
    again = opened(filled)
    assert (again.missing(FIRST), again.missing(SECOND)) == (["convnet1"], [])


@pytest.mark.parametrize(("count", "scores"), [("0", 0), ("1", 1)])
def test_a_command_that_torchrun_starts_again_discards_nothing(
    filled: Path, monkeypatch: pytest.MonkeyPatch, count: str, scores: int
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
    assert len(opened(filled, overwrite=True).record(FIRST).scores) == scores


# What is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.5}, "other lr;"),
        ({"lr": None, "time_limit": 1.0}, "other time_limit, lr;"),
        ({"data": "mnist", "fingerprint": "sha256:2"}, "other data;"),
        ({"scored_on": "a fifth"}, "other hold_out;"),
        ({"kernel": "linear"}, "other kernel;"),
    ],
)
def test_a_study_with_other_settings_is_refused_by_their_names(
    filled: Path, changes: dict[str, Any], said: str
) -> None:
    before = tree(filled)
    with pytest.raises(UserError, match=f"holds a study with {said} give another out, or overwrite=True"):
        Ledger.open(filled, SHARED | changes, BOTH)
    assert tree(filled) == before


def test_a_setting_that_was_not_given_is_no_difference(filled: Path) -> None:
    assert Ledger.open(filled, SHARED | {"kernel": None}, BOTH).missing(FIRST) == []


def test_a_job_made_with_other_settings_is_refused_by_their_names(filled: Path) -> None:
    """As after an update that changes what a preset is."""
    with pytest.raises(UserError, match=f"{FIRST.name}.json: made with other lr, momentum; give another out"):
        Ledger.open(filled, SHARED, [job(lr=0.25, momentum=0.1)])


def test_a_record_that_is_older_than_a_setting_is_of_its_default(filled: Path) -> None:
    file = filled / "cells" / f"{FIRST.name}.json"
    stored = json.loads(file.read_text())
    del stored["job"]["recipe"]["bits"]
    file.write_text(json.dumps(stored))
    assert opened(filled).missing(FIRST) == []
    with pytest.raises(UserError, match=f"{FIRST.name}.json: made with other bits"):
        Ledger.open(filled, SHARED, [job(bits=2)])


def test_two_jobs_of_one_name_are_not_taken_for_one_another() -> None:
    ledger = Ledger({})
    ledger.keep(FIRST, record(FIRST, 50.0))
    with pytest.raises(UserError, match=f"{FIRST.name}: made with other lr"):
        ledger.record(job(lr=0.25))


@pytest.mark.parametrize("file", ["study.json", f"cells/{FIRST.name}.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 3, "job": {}, "seconds": "long"}'])
def test_a_damaged_file_is_named_and_nothing_changed(filled: Path, file: str, content: str) -> None:
    (filled / file).write_text(content)
    before = tree(filled)
    with pytest.raises(UserError, match=f"{file} is damaged"):
        opened(filled)
    assert tree(filled) == before


def test_a_damaged_trial_is_named(filled: Path) -> None:
    (filled / "trials" / f"{FIRST.series}.json").write_text('{"iterations": "many", "compiled": true}')
    with pytest.raises(UserError, match=f"{FIRST.series}.json is damaged.*iterations.*delete it"):
        opened(filled).fitted(FIRST)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        opened(tmp_path, overwrite=overwrite)
    with pytest.raises(UserError, match="is a file"):
        opened(tmp_path / "notes.txt", overwrite=overwrite)
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_settings_that_json_cannot_hold_are_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="settings cannot be stored"):
        Ledger.open(tmp_path, {"lr": float("nan")}, BOTH)
    assert list(tmp_path.iterdir()) == []


# Overwriting


def test_overwrite_discards_records_trials_and_sets(filled: Path) -> None:
    (filled / "notes.txt").write_text("mine")
    (filled / "cells" / ".a.json.0123abcd.partial").write_text("left by a killed process")
    (filled / "sets" / ".a.0123abcd.partial").mkdir()
    (filled / "sets" / ".a.0123abcd.partial" / "preview.png").write_text("and this")
    fresh = Ledger.open(filled, SHARED | {"lr": 0.5}, BOTH, overwrite=True)
    assert set(tree(filled)) == {"study.json", "notes.txt"}
    assert (fresh.missing(FIRST), fresh.fitted(FIRST)) == (["convnet1"], None)
    assert Ledger.open(filled, SHARED | {"lr": 0.5}, BOTH).missing(FIRST) == ["convnet1"]


def test_overwrite_discards_cells_of_another_version_and_with_wrong_values(filled: Path) -> None:
    (filled / "cells" / "a.json").write_text('{"job": {}, "format_version": 0}')
    (filled / "cells" / "b.json").write_text('{"job": {}, "format_version": 1, "seconds": "long"}')
    opened(filled, overwrite=True)
    assert set(tree(filled)) == {"study.json"}


def test_overwrite_leaves_what_a_link_names(filled: Path, tmp_path: Path) -> None:
    elsewhere = condensed_sets.make().save(tmp_path / "elsewhere")
    before = tree(elsewhere)
    (filled / "sets" / "linked").symlink_to(elsewhere)
    opened(filled, overwrite=True)
    assert set(tree(filled)) == {"study.json"}
    assert tree(elsewhere) == before


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def json_of_others(path: Path) -> None:
    path.write_text(json.dumps({"job": "gardener"}))


def tensors_of_others(path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(1)}, path)


def a_set(path: Path) -> None:
    condensed_sets.make().save(path)


def a_set_and_more(path: Path) -> None:
    condensed_sets.make().save(path)
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("place", "make"),
    [
        ("study.json", json_of_others),
        ("cells/notes.txt", a_file),
        ("cells/mine.json", json_of_others),
        ("cells/mine", a_folder),
        ("trials/mine.json", json_of_others),
        ("sets/notes.txt", a_file),
        ("sets/mine", a_folder),
        ("sets/mine", a_set),
        (f"sets/{FIRST.name}", a_set_and_more),
        ("sets/mine.checkpoint", tensors_of_others),
        ("sets/mine.checkpoint", a_file),
        ("sets/mine.checkpoint", a_folder),
    ],
)
def test_overwrite_deletes_nothing_where_anything_is_not_ours(
    filled: Path, place: str, make: Callable[[Path], None]
) -> None:
    make(filled / place)
    before = tree(filled)
    with pytest.raises(UserError, match=place):
        opened(filled, overwrite=True)
    assert tree(filled) == before


def test_the_metrics_of_a_run_that_was_killed_at_once_are_discarded_and_others_are_not(filled: Path) -> None:
    logged = filled / "sets" / "digits-dm.metrics.jsonl"
    logged.write_text('{"step": 1, "loss": 0.5, "seconds": 0.1}\n')
    logged.with_name("digits-dm.preview.png").touch()
    opened(filled, overwrite=True)
    assert not logged.exists()
    assert not logged.with_name("digits-dm.preview.png").exists()
    for text in ("mine", "[]", '{"step": 1}\n'):
        logged.write_text(text)
        with pytest.raises(UserError, match="is not of this study"):
            opened(filled, overwrite=True)


def test_what_a_kill_left_in_a_set_is_swept_when_the_study_is_opened(tmp_path: Path) -> None:
    Ledger.open(tmp_path, {}, [job()])
    made = tmp_path / "sets" / "one"
    made.mkdir(parents=True)
    for name in (".README.md.0123abcd.partial", "README.md", ".hidden"):
        (made / name).touch()
    Ledger.open(tmp_path, {}, [job()])
    assert sorted(path.name for path in made.iterdir()) == [".hidden", "README.md"]
