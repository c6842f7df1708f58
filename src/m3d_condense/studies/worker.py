"""The worker makes and scores the sets of a study, one job after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict

from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.trial import try_out
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.labelling import label
from m3d_condense.machine.engine import Engine
from m3d_condense.machine.environment import describe_environment
from m3d_condense.machine.group import ALONE, current, working_in
from m3d_condense.machine.memory import peak_memory, ran_out, too_little
from m3d_condense.moments import moment_distances
from m3d_condense.networks import code_named
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.sets.soft import HARD, SOFT
from m3d_condense.studies.job import Job, network_and_labels
from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.record import MOMENTS, Fitted, Record
from m3d_condense.studies.scores import score_of
from m3d_condense.subjects import Subject
from m3d_condense.tools.errors import UserError, another_out
from m3d_condense.tools.progress import notice
from m3d_condense.tools.text import listed

__all__ = ["Worker"]


class Worker:
    """Makes and scores what is missing of a ledger's jobs.

    Processes that work together are dealt the jobs one by one, and each does its own as if it were alone.

    Args:
        ledger: where everything found out is kept, as soon as it is.
        engine: what it runs on.
        dataset_of: gives a job's data set by its name; called for jobs with work left.
        time_limit: seconds for each set. A short trial finds beforehand how many iterations fit, so that the rate of
            learning ends where the run does.
        kept: called each time that something was kept by this process.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        dataset_of: Callable[[str], ImageDataset],
        *,
        time_limit: float | None = None,
        kept: Callable[[], None] = lambda: None,
    ) -> None:
        self.ledger, self.engine, self.dataset_of = ledger, engine, dataset_of
        self.time_limit, self.kept = time_limit, kept
        self.versions, self.hardware = describe_environment()
        self.group, self._warm = current(), False
        self._codes: dict[tuple[str, str], str] = {}

    def check(self, jobs: Sequence[Job]) -> None:
        """Compare what is known of jobs with the data and the code of users' networks that there are now.

        Raises:
            UserError: they have changed since; earlier versions stored no code.
        """
        for job in jobs:
            record = self.ledger.record(job)
            if not record.scores:
                continue
            dataset = self.dataset_of(job.data)
            self.ledger.check_data(job.data, dataset.fingerprint)
            stored = {} if job.recipe is None else {job.recipe.network: record.code}
            self._check_code(job, dataset, stored.items())
            scores = [(network_and_labels(name)[0], score) for name, score in record.scores.items()]
            self._check_code(job, dataset, [(name, score.settings.get("code")) for name, score in scores])

    def _check_code(self, job: Job, dataset: ImageDataset, stored: Iterable[tuple[str, str | None]]) -> None:
        """Raise `UserError` where a user's network has other code now than is stored for its name."""
        for network, code in stored:
            if code and code != self._code(network, dataset):
                raise UserError(f"{job.name}: made or scored with other code of {network}; {another_out()}")

    def _code(self, network: str, dataset: ImageDataset) -> str:
        """Return the digest of a user's network as it is now, "" of others."""
        key = network, dataset.fingerprint
        if key not in self._codes:
            self._codes[key] = code_named(network, **dataset.shape).get("code", "")
        return self._codes[key]

    def work(self, jobs: Sequence[Job]) -> None:
        """Do what is left to do; a failure is one job's, and an interrupt loses nothing that is finished.

        Of processes that work together each knows in the end what the others have found out.

        Raises:
            KeyboardInterrupt: after an interrupt or a termination.
        """
        finished = self.ledger.finished
        before = [job for job in jobs if finished(job)]
        if before:
            notice(f"{len(before)} of {len(jobs)} sets were scored before")
        places = {job.name: self.ledger.set_folder(job) for job in before}
        gone = [name for name, place in places.items() if place is not None and not is_condensed_set(place)]
        if gone:
            notice(f"Of these only the scores are left: {listed(gone)}")
        done: list[Job] = []
        try:
            for number in self.group.deal(len(jobs)):
                job = jobs[number]
                if not finished(job):
                    notice(f"[{number + 1}/{len(jobs)}] {job.title}")
                    with working_in(ALONE):
                        self.finish(job)
                    done.append(job)
        except KeyboardInterrupt:
            notice(f"{sum(map(finished, jobs))} of {len(jobs)} sets are scored; the same command goes on")
            raise
        self._learn_from_others(jobs, done)

    def _learn_from_others(self, jobs: Sequence[Job], done: Sequence[Job]) -> None:
        """Wait for the other processes, and take what they know of their jobs; the first one keeps it."""
        named = {job.name: job for job in jobs}
        own = {job.name: self.ledger.record(job) for job in done}
        for records in self.group.objects(own):
            for name, record in records.items():
                if name not in own:
                    self.ledger.take(named[name], record, store=self.group.leads)

    def finish(self, job: Job) -> None:
        """Make a job's set, or find it made, and have the networks score it that have not."""
        record, missing = self.ledger.record(job), self.ledger.missing(job)
        for name in (*missing, MOMENTS):
            record.errors.pop(name, None)
        record.versions, record.hardware = self.versions, self.hardware
        made: tuple[Subject, ImageDataset] | None = None
        with self._keeping(job, record, missing or [MOMENTS]):
            dataset = self._dataset(job, record)
            record.classes = dataset.num_classes
            made = self._subject(job, record, dataset), dataset
        if made is None:
            return
        for scorer in missing:
            with self._keeping(job, record, [scorer]):
                record.scores[scorer] = self._score(job, record, scorer, *made)
        if job.moments and record.moments is None:
            with self._keeping(job, record, [MOMENTS]):
                record.moments = moment_distances(*made, execution=self.engine.execution)

    @contextmanager
    def _keeping(self, job: Job, record: Record, networks: Sequence[str]) -> Iterator[None]:
        """Keep what is found out; a failure is said of these networks under this job, and of no other."""
        try:
            yield
        except (UserError, MemoryError, RuntimeError) as error:
            if not isinstance(error, UserError) and not ran_out(error):
                raise
            said = too_little() if ran_out(error) else str(error)
            record.errors |= dict.fromkeys(networks, said)
            notice(f"failed: {said}")
        self.ledger.keep(job, record)
        self.kept()

    def _dataset(self, job: Job, record: Record) -> ImageDataset:
        """Return a job's data set, which is still the one that all earlier scores are of."""
        dataset = self.dataset_of(job.data)
        self.ledger.check_data(job.data, dataset.fingerprint)
        record.fingerprint = dataset.fingerprint
        if not self._warm:  # what the first run of a process has to load is no method's
            with suppress(UserError):  # images that this network cannot take
                condense(dataset, method="dm", ipc=1, batch_real=1, iterations=1, execution=self.engine.execution)
            self._warm = True
        return dataset

    def _subject(self, job: Job, record: Record, dataset: ImageDataset) -> Subject:
        """Return what the networks train on: the whole training split, or a set condensed now or earlier."""
        if job.recipe is None:
            record.size_bytes = dataset.train.images.nbytes
            return dataset
        folder, execution = self.ledger.set_folder(job), self.engine.execution
        recipe = job.recipe
        if self.time_limit is not None and recipe.iterations > 0:
            fitted = self._fitted(job, recipe, dataset, self.time_limit)
            recipe = dataclasses.replace(recipe, **fitted.settings())
            # Compiled as in the trial: the decision for fewer iterations could be another, and with it their time.
            execution = dataclasses.replace(execution, compile="yes" if fitted.compiled else "no")
        found = folder is not None and is_condensed_set(folder)
        peak = peak_memory(self.engine.device)
        condensed = condense(dataset, out=folder, execution=execution, **asdict(recipe))
        if not found:
            record.peak_bytes, record.peak_of = peak()
        record.seconds, record.size_bytes = condensed.seconds, condensed.nbytes
        record.iterations, record.settings = recipe.iterations, asdict(recipe)
        record.code = condensed.settings.get("code", "")
        return condensed

    def _fitted(self, job: Job, recipe: Recipe, dataset: ImageDataset, limit: float) -> Fitted:
        """Return how many iterations fit in the time limit, found once for all the seeds of a series."""
        known = self.ledger.fitted(job)
        if known is not None:
            return known

        def fitted() -> Fitted:
            timetable = Timetable.asked(recipe, limit, {**job.given, "iterations": recipe.iterations})
            tried = recipe if timetable is None else timetable.made(dataset, recipe, self.engine)
            trial = try_out(dataset, tried, self.engine, limit)
            if trial.start + trial.each > limit:
                said = f"too short: {trial.start:.0f} s pass before the first step"
                raise UserError(said, setting="time_limit", value=f"{limit:g}s")
            notice(f"{job.label}: {trial.iterations} iterations fit in {limit:g} s ({trial.each:.2g} s each)")
            return Fitted(
                iterations=trial.iterations,
                compiled=trial.compiled,
                encoder_steps=tried.encoder_steps,
                encoder_count=tried.encoder_count,
            )

        found = self.group.once(f"{self.ledger.folder}/{job.series}/{limit}", fitted)
        self.ledger.keep_fitted(job, found)
        return found

    def _labelled(self, job: Job, record: Record, subject: Subject, dataset: ImageDataset) -> CondensedSet:
        """Return a job's set with soft labels from its pool, which are stored with it."""
        assert isinstance(subject, CondensedSet)
        labelled = label(self.ledger.set_folder(job) or subject, data=dataset, execution=self.engine.execution)
        record.label_bytes = labelled.bytes_for(SOFT) - labelled.bytes_for(HARD)
        return labelled

    def _score(self, job: Job, record: Record, scorer: str, subject: Subject, dataset: ImageDataset) -> Score:
        """Have one of a job's scorers score what was made, unless a set holds that very score already."""
        network, labels = network_and_labels(scorer)
        if labels == SOFT:
            subject = self._labelled(job, record, subject, dataset)
        return score_of(
            subject,
            dataset,
            job.scoring,
            network,
            labels,
            folder=self.ledger.set_folder(job),
            execution=self.engine.execution,
            code=self._code(network, dataset),
        )
