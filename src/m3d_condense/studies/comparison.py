"""Methods side by side: each condenses the data, and the same networks, under one protocol, score every set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from m3d_condense import networks
from m3d_condense.condensing.condensation import condense, recipe_for
from m3d_condense.condensing.trial import fitting_iterations
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine, Execution
from m3d_condense.machine.memory import peak_memory, ran_out, too_little
from m3d_condense.recipes import protocols
from m3d_condense.recipes.methods import METHODS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.folder import is_condensed_set
from m3d_condense.studies.ledger import ORDERS, SETS, Comparison, Job, kind, name_of, title
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

RANDOM, ALL = "random", "all"
OF_SELECTIONS = {"selection_features", "network", "flip"}  # the settings that a method without steps has a use for


def compare(
    data: Any,
    *,
    methods: Sequence[str] = (ALL,),
    ipc: int | Sequence[int] = 10,
    preset: str = "quick",
    seeds: int = 3,
    seed: int = 0,
    time_limit: float | None = None,
    networks: Sequence[str] = ("convnet",),
    protocol: str = "quick",
    repeats: int = 3,
    epochs: int | None = None,
    random: bool = True,
    whole: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    sort: str = "accuracy",
    execution: Execution | None = None,
    **settings: Any,
) -> Comparison:
    """Condense a data set by several methods and score every set by the same networks.

    With `out`, every finished set and score is kept there, the same call goes on where an earlier one stopped,
    and methods, ipc, seeds and networks may be added. A method that fails loses no other: its rows say why.

    Args:
        data: anything `load` takes, or what it returned.
        methods: rows of `METHODS`, or "all".
        ipc: stored images per class, one number or several.
        preset: "quick" or "paper".
        seeds: how many sets of each kind; their seeds are `seed`, `seed` + 1, …
        seed: of the first set, and of all networks, which thus start alike on every set.
        time_limit: seconds for each method and set. A short trial finds beforehand how many iterations fit,
            so that the rate of learning ends where the run does; at most the preset's.
        networks, protocol, repeats, epochs: of the scores, as of `evaluate`; each network scores every set. The whole
            data set, whose epochs are long, is trained on for no more of them than the protocol has.
        random, whole: whether random selection and the whole data set are compared with.
        out: folder of the comparison: ``comparison.json``, ``.csv`` and ``.md``, and the condensed sets.
        overwrite: discard the comparison in `out`, and its sets.
        sort: rows by "accuracy" (best first), "seconds", "method" or "bytes".
        execution: device, precision, compilation, memory.
        **settings: fields of `Recipe` in place of the presets', for every method that takes steps.

    Raises:
        UserError: for settings or data that cannot be used, before any work; an `out` of another comparison.
    """
    named = _named(methods, random, sort, settings)
    for name, count in (("seeds", seeds), ("repeats", repeats)):
        if count < 1:
            raise UserError("at least 1", setting=name, value=count)
    dataset = load(data)
    given = {name: value for name, value in settings.items() if value is not None}
    flip = given.get("flip", dataset.mirrored)
    scoring = {"protocol": protocol, "repeats": repeats, "seed": seed, "epochs": epochs, "flip": flip}
    _check_scoring(dataset, networks, protocol, epochs)
    engine = Engine(execution)
    machine = {name: value for name, value in asdict(engine.execution).items() if name != "memory"}
    per_class = dict.fromkeys([ipc] if isinstance(ipc, int) else ipc)
    kinds = [(method, preset, images) for images in per_class for method in named]
    numbers = range(seed, seed + seeds)
    jobs: list[Job] = [_recipe(dataset, *kind, number, given) for number in numbers for kind in kinds]
    jobs += [None] if whole else []
    if not jobs:
        choices = f"{Setting('random', False)} or {Setting('whole', False)}"
        raise UserError(f"nothing is left to compare; name a method, or leave out {choices}")
    shared = {"data": dataset.name, "fingerprint": dataset.fingerprint, "preset": preset, "time_limit": time_limit}
    shared |= scoring | machine | {"flip": None} | given
    comparison = Comparison(shared, jobs, list(dict.fromkeys(networks)), sort)
    if out is not None:
        comparison.open(Path(out), overwrite)
    _Worker(comparison, dataset, engine, scoring, time_limit).work()
    return comparison


class _Worker:
    """Makes and scores the sets of a comparison, one by one."""

    def __init__(
        self,
        comparison: Comparison,
        dataset: ImageDataset,
        engine: Engine,
        scoring: dict[str, Any],
        time_limit: float | None,
    ) -> None:
        self.comparison, self.dataset, self.engine = comparison, dataset, engine
        self.scoring, self.time_limit = scoring, time_limit

    def work(self) -> None:
        """Do what is left to do; an interrupt loses nothing that is finished."""
        jobs, missing = self.comparison.jobs, self.comparison.missing
        before = sum(not missing(job) for job in jobs)
        if before:
            notice(f"{before} of {len(jobs)} sets were scored before")
        if before < len(jobs):  # what the first run of a process has to load is no method's
            condense(self.dataset, ipc=1, method=RANDOM, execution=self.engine.execution)
        try:
            for number, job in enumerate(jobs, 1):
                if missing(job):
                    notice(f"[{number}/{len(jobs)}] {title(job)}")
                    self.attend(job)
        except KeyboardInterrupt:
            notice(f"{sum(not missing(job) for job in jobs)} of {len(jobs)} sets are scored; the same command goes on")
            raise

    def attend(self, job: Job) -> None:
        """Make a set, or find it made, and have the networks score it that have not."""
        record, missing = self.comparison.record(job), self.comparison.missing(job)
        record["errors"] = {}
        subject: CondensedSet | ImageDataset | None = None
        folder = self._folder(job)
        with self._recording(record, missing):
            subject = self._condensed(job, record, folder) if job is not None else self._whole(record)
        for network in missing if subject is not None else ():
            with self._recording(record, [network]):
                record["scores"][network] = asdict(self._score(subject, network, folder))

    def _score(self, subject: CondensedSet | ImageDataset, network: str, folder: Path | None) -> Score:
        """Score a set, and store that in it; a score that it holds of these very settings is not made again."""
        asked, training = self.scoring, protocols.protocol(self.scoring["protocol"])
        if isinstance(subject, ImageDataset) and asked["epochs"] is not None:
            asked = asked | {"epochs": min(asked["epochs"], training.whole_epochs)}
        training = training.adapted(epochs=asked["epochs"], whole=False, flip=True)
        expected = asked | {"n": asked["repeats"], "epochs": training.epochs, "fingerprint": self.dataset.fingerprint}
        for score in reversed(subject.scores if isinstance(subject, CondensedSet) else []):
            found = asdict(score) | score.settings
            if score.network == network and all(found.get(key, value) == value for key, value in expected.items()):
                return score
        score = evaluate(subject, self.dataset, network=network, execution=self.engine.execution, **asked)
        if folder is not None and isinstance(subject, CondensedSet):
            subject.add_score(score, folder)
        return score

    @contextmanager
    def _recording(self, record: dict[str, Any], scorers: Sequence[str]) -> Iterator[None]:
        """Save what was found out; a failure is one of these scorers' rows, and no other's."""
        try:
            yield
        except (UserError, MemoryError, RuntimeError) as error:
            if not isinstance(error, UserError) and not ran_out(error):
                raise
            said = too_little() if ran_out(error) else str(error)
            record["errors"] |= dict.fromkeys(scorers, said)
            notice(f"failed: {said}")
        self.comparison.save()

    def _whole(self, record: dict[str, Any]) -> ImageDataset:
        record["size_bytes"] = self.dataset.train.images.nbytes
        return self.dataset

    def _condensed(self, recipe: Recipe, record: dict[str, Any], folder: Path | None) -> CondensedSet:
        recipe, execution = self._fitted(recipe)
        found = folder is not None and is_condensed_set(folder)
        peak = peak_memory(self.engine.device)
        condensed = condense(self.dataset, out=folder, execution=execution, **asdict(recipe))
        if not found:
            record["peak_bytes"], record["peak_of"] = peak()
        record |= {"seconds": condensed.seconds, "size_bytes": condensed.nbytes, "iterations": recipe.iterations}
        record["settings"] = asdict(recipe)
        return condensed

    def _fitted(self, recipe: Recipe) -> tuple[Recipe, Execution]:
        """Return the recipe with as many iterations as fit in the time limit, found once for all its seeds.

        The run is compiled where the trial was: a decision on fewer iterations could be another, and so their time.
        """
        execution = self.engine.execution
        if self.time_limit is None or recipe.iterations == 0:
            return recipe, execution
        fitted = self.comparison.state["fitted"]
        if kind(recipe) not in fitted:
            count, start, each, compiled = fitting_iterations(self.dataset, recipe, self.engine, self.time_limit)
            if start + each > self.time_limit:
                raise UserError(
                    f"too short: {start:.0f} s pass before the first step",
                    setting="time_limit",
                    value=f"{self.time_limit:g}s",
                )
            fitted[kind(recipe)] = {"iterations": count, "compile": "yes" if compiled else "no"}
            self.comparison.save()
            notice(f"{recipe.method}: {count} iterations fit in {self.time_limit:g} s ({each:.2g} s each)")
        found = fitted[kind(recipe)]
        return (
            dataclasses.replace(recipe, iterations=found["iterations"]),
            dataclasses.replace(execution, compile=found["compile"]),
        )

    def _folder(self, job: Job) -> Path | None:
        folder = self.comparison.folder
        return folder / SETS / name_of(job) if folder is not None and job is not None else None


def _named(asked: Sequence[str], random: bool, sort: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the methods asked for, each once, random selection first if it was not named."""
    if "method" in settings:
        raise UserError(f"method={settings['method']!r}: several are compared; name them with methods=[…]")
    if sort not in ORDERS:
        raise UserError(f"one of {', '.join(ORDERS)}", setting="sort", value=sort)
    for name in asked:
        if name not in METHODS and name != ALL:
            raise UserError(f"unknown method {name!r}: {ALL}, or some of {', '.join(METHODS)}")
    names = dict.fromkeys([RANDOM, *(METHODS if ALL in asked else asked)])
    return [name for name in names if random or name != RANDOM]


def _check_scoring(dataset: ImageDataset, scorers: Sequence[str], protocol: str, epochs: int | None) -> None:
    """Raise `UserError` for what would fail for every set alike."""
    protocols.protocol(protocol).adapted(epochs=epochs, whole=False, flip=True)
    for name in scorers:
        networks.build(name, channels=dataset.channels, num_classes=dataset.num_classes, size=dataset.size)


def _recipe(
    dataset: ImageDataset, method: str, preset: str, ipc: int, seed: int, settings: Mapping[str, Any]
) -> Recipe:
    """Resolve a method's settings; those of the loop leave a method that takes no steps as it is."""
    takes_steps = recipe_for(dataset, method, preset, ipc, {}).iterations > 0
    dropped = set() if takes_steps else Recipe.__dataclass_fields__.keys() - OF_SELECTIONS
    kept = {name: value for name, value in settings.items() if name not in dropped}
    return recipe_for(dataset, method, preset, ipc, kept | {"seed": seed})
