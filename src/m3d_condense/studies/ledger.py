"""The ledger keeps what is known of every job: in memory, or in a folder that a later call takes up.

The folder holds one file of settings, ``study.json``; a record of each job, ``cells/NAME.json``; what the trials
of a time limit found, ``trials/SERIES.json``; and the condensed sets, ``sets/NAME``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from m3d_condense.condensing.working import is_ours
from m3d_condense.machine.process import restarted
from m3d_condense.recipes.recipe import Recipe, completed
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.soft import SOFT
from m3d_condense.studies.job import Job, Scoring, network_and_labels
from m3d_condense.studies.record import MOMENTS, Fitted, Record, as_json, read
from m3d_condense.tools import files
from m3d_condense.tools.errors import Setting, UserError, another_out
from m3d_condense.tools.leftovers import BESIDE, CHECKPOINT, sweep_within, written_name

__all__ = ["Ledger", "check_target", "data_scored", "is_study", "set_folder"]

STUDY, CELLS, TRIALS, SETS = "study.json", "cells", "trials", "sets"
SETTING_OF = {"fingerprint": "data", "scored_on": "hold_out"}  # what a study is told by, and who decides it
NO_SETTINGS = ("data", "label", "recipe", "scoring")  # names in a job's identity that are no keywords


class Ledger:
    """What is known of the jobs of a study.

    Attributes:
        settings: what all the jobs share, as JSON holds it; a folder takes no jobs with others.
        folder: where all is kept; None keeps it in memory only.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings: dict[str, Any] = files.plain_json("settings", dict(settings))
        self.folder: Path | None = None
        self._records: dict[str, Record] = {}
        self._fitted: dict[str, Fitted] = {}

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any], jobs: Sequence[Job], *, overwrite: bool = False) -> Ledger:
        """Keep a ledger in a folder, and take up what is known there of these jobs.

        Args:
            folder: a study's, or a new or empty one.
            settings: what all the jobs share.
            jobs: those asked for; the records of others stay as they are.
            overwrite: discard the study that the folder holds, with its sets; but not where torchrun starts the command
                again, which has done so before.

        Raises:
            UserError: the folder holds other files, a study or job with other settings, or a damaged record;
                nothing there has been changed.
        """
        ledger = cls(settings)
        check_target(folder)
        ledger.folder = folder
        overwrite = overwrite and not restarted()
        if is_study(folder) and not overwrite:
            _check_settings(folder, ledger.settings)
            for made in (folder / SETS).glob("*/"):
                sweep_within(made)  # what a process left that was killed while it stored a score
            ledger.take_up(jobs)
            return ledger
        if overwrite:
            _discard(folder, {job.name for job in jobs})
        files.write_file_atomic(folder / STUDY, as_json(_Study(settings=ledger.settings)))
        return ledger

    def record(self, job: Job) -> Record:
        """Return what is known of a job, to be added to; `keep` has it stay.

        Raises:
            UserError: what is known under the job's name was made with other settings.
        """
        known = self._records.setdefault(job.name, Record(job=job.identity()))
        stored = known.job
        if isinstance(stored.get("recipe"), dict):
            stored = stored | {"recipe": completed(stored["recipe"])}
        other = _differing(stored, job.identity())
        if other:
            where = job.name if self.folder is None else self.folder / CELLS / f"{job.name}.json"
            raise UserError(f"{where}: made with other {other}; {another_out()}")
        return known

    def keep(self, job: Job, record: Record) -> None:
        """Store what is known of a job, all of it or nothing."""
        self.take(job, record, store=True)

    def take(self, job: Job, record: Record, *, store: bool) -> None:
        """Take what another process has found out of a job, and store it where that process may have no access."""
        self._records[job.name] = record
        if store and self.folder is not None:
            files.write_file_atomic(self.folder / CELLS / f"{job.name}.json", as_json(record))

    def missing(self, job: Job) -> list[str]:
        """Return the networks that have not scored a job's set yet."""
        return self.record(job).missing(job.scorers)

    def finished(self, job: Job) -> bool:
        """Return whether all that a job asks for is known."""
        return not self.missing(job) and (not job.moments or self.record(job).moments is not None)

    def scored_on(self, data: str) -> set[str]:
        """Return the fingerprints of the data of this name that scores are of."""
        return {one.fingerprint for one in self._records.values() if one.job["data"] == data and one.scores}

    def check_data(self, data: str, fingerprint: str) -> None:
        """Raise `UserError` where scores are of other data of this name than those with this fingerprint."""
        if self.scored_on(data) - {fingerprint}:
            raise UserError(f"{data} has changed since sets of it were scored; {another_out()}")

    def fitted(self, job: Job) -> Fitted | None:
        """Return what the trial for a job's series found; None where there was none."""
        if self.folder is not None and job.series not in self._fitted:
            file = self.folder / TRIALS / f"{job.series}.json"
            if file.is_file():
                self._fitted[job.series] = read(file, Fitted, "delete it to have the trial made again")
        return self._fitted.get(job.series)

    def keep_fitted(self, job: Job, fitted: Fitted) -> None:
        """Store what the trial for a job's series found."""
        self._fitted[job.series] = fitted
        if self.folder is not None:
            files.write_file_atomic(self.folder / TRIALS / f"{job.series}.json", as_json(fitted))

    def set_folder(self, job: Job) -> Path | None:
        """Return where a job's condensed set is; None where nothing is kept, and for the whole training split."""
        return None if self.folder is None else set_folder(self.folder, job)

    def take_up(self, jobs: Sequence[Job]) -> None:
        """Read what the folder holds of these jobs; other processes may have added to it.

        Raises:
            UserError: a record is damaged, or of a job with other settings.
        """
        if self.folder is None:
            return
        for job in jobs:
            file = self.folder / CELLS / f"{job.name}.json"
            if file.is_file():
                self._records[job.name] = read(file, Record, "delete it to have the job done again")
                self.record(job)

    def known(self, jobs: Sequence[Job]) -> list[Job]:
        """Return these jobs, and behind them the others that the folder has a record of, with all that scored them.

        A record that this version cannot read is left out.
        """
        known = [_with_scorers(job, self.record(job)) for job in jobs]
        names = {job.name for job in jobs}
        for file in sorted((self.folder / CELLS).glob("*.json")) if self.folder is not None else ():
            if file.stem in names:
                continue
            with contextlib.suppress(UserError, TypeError, KeyError):
                record = read(file, Record, "")
                other = _with_scorers(None, record)
                self._records[other.name] = record
                known.append(other)
        return known


def check_target(folder: Path) -> None:
    """Raise `UserError` unless a folder holds a study, or nothing."""
    with contextlib.suppress(OSError):  # which is said below
        if (folder / CELLS).is_dir() and not is_study(folder):
            raise UserError(f"{folder} has lost its {STUDY}: put that back, or move the folder away")
    files.check_folder(folder, is_study)


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What study.json holds."""

    settings: dict[str, Any]
    format_version: Literal[1] = 1


def is_study(folder: Path) -> bool:
    """Return whether a folder holds a study."""
    return (folder / STUDY).is_file()


def data_scored(folder: Path) -> set[str]:
    """Return the names of the data that the records in a study's folder have scores of, those that can be read."""
    found: set[str] = set()
    for file in (folder / CELLS).glob("*.json"):
        with contextlib.suppress(UserError, TypeError, KeyError):
            record = read(file, Record, "")
            found |= {record.job["data"]} if record.scores else set()
    return found


def set_folder(folder: Path, job: Job) -> Path | None:
    """Return where a job's condensed set is in the folder of a study; None for the whole training split."""
    return None if job.recipe is None else folder / SETS / job.name


def _with_scorers(job: Job | None, record: Record) -> Job:
    """Return a job, or else that of the record, as one that asks for every score that the record holds."""
    scorers = [*(job.scorers if job else ()), *record.scores, *record.errors.keys() - {MOMENTS}]
    named = [network_and_labels(scorer) for scorer in scorers]
    networks, soft = tuple(dict.fromkeys(network for network, _ in named)), any(labels == SOFT for _, labels in named)
    if job is not None:
        return dataclasses.replace(job, scoring=dataclasses.replace(job.scoring, networks=networks), soft_labels=soft)
    told = record.job
    recipe = None if told["recipe"] is None else Recipe(**told["recipe"])
    variant = "" if recipe is None or told["label"] == recipe.method else told["label"]
    scoring = Scoring(networks=networks, **told["scoring"])
    return Job(data=told["data"], recipe=recipe, scoring=scoring, variant=variant, soft_labels=soft)


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise `UserError` unless a folder's study has these settings."""
    stored = read(folder / STUDY, _Study, f"give another {Setting('out')}")
    other = _differing(stored.settings, settings)
    if other:
        raise UserError(f"{folder}: holds a study with other {other}; {another_out()}")


def _differing(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say which settings differ; a setting that one of them lacks was not given."""
    names = [SETTING_OF.get(name, name) for name in _different_names(stored, asked)]
    return ", ".join(name if name in NO_SETTINGS else str(Setting(name)) for name in dict.fromkeys(names))


def _different_names(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for name in {**stored, **asked}:
        one, other = stored.get(name), asked.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            names += _different_names(one, other)
        elif one != other:
            names.append(name)
    return names


def _discard(folder: Path, asked: Collection[str]) -> None:
    """Delete a study's records and sets, once all are known to be its own: sets recorded, begun, or of a job asked for.

    Raises:
        UserError: something else is among them; nothing has been deleted.
    """
    if is_study(folder) and not _holds(folder / STUDY, "settings"):
        raise UserError(f"{folder / STUDY} is damaged, or of another program; give another {Setting('out')}")
    names = {file.stem for file in (folder / CELLS).glob("*.json")} | set(asked)
    names |= {file.name.removesuffix(CHECKPOINT) for file in (folder / SETS).glob(f"*{CHECKPOINT}")}
    parts: dict[str, Callable[[Path], bool]] = {
        CELLS: lambda file: _holds(file, "job"),
        TRIALS: lambda file: _holds(file, "iterations"),
        SETS: lambda entry: _is_set(entry, names),
    }
    found: list[Path] = []
    for name, belongs in parts.items():
        for entry in sorted((folder / name).iterdir()) if (folder / name).is_dir() else ():
            if not (written_name(entry) is not None or belongs(entry)):
                raise UserError(f"{entry} is not of this study, or damaged; move it elsewhere to overwrite the rest")
            found.append(entry)
    for entry in found:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _holds(file: Path, name: str) -> bool:
    """Whether a file is one of our JSON files with this value in it, whatever its version."""
    try:
        return file.suffix == ".json" and {name, "format_version"} <= files.read_json(file).keys()
    except UserError:
        return False


def _is_set(entry: Path, names: Collection[str]) -> bool:
    """Whether an entry of the folder of sets is a set of one of these names, a link to one, or lies beside one."""
    if entry.name.endswith(BESIDE):
        return is_ours(entry)
    try:
        CondensedSet.check_target(entry)
    except UserError:
        return False
    return entry.is_symlink() or entry.name in names
