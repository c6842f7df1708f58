from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from small_studies import PLAIN, TINY, WORK, job, score, scoring

from m3d_condense.condensing.condensation import condense
from m3d_condense.condensing.timetable import Timetable
from m3d_condense.condensing.trial import Trial
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.machine.engine import Engine
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.studies import scores, worker
from m3d_condense.studies.job import Job, job_for
from m3d_condense.studies.ledger import Ledger
from m3d_condense.studies.worker import Worker
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet

RANDOM, WHOLE = job("random"), job(None)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(PLAIN)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Have every score be 50 %, at no cost; return what was asked for."""
    asked: list[dict[str, Any]] = []

    def half(subject: object, data: object, **settings: Any) -> Score:
        asked.append({"subject": subject, "data": data} | settings)
        return score(50.0, network=settings["network"])

    monkeypatch.setattr(scores, "evaluate", half)
    return asked


def call(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[int], None]) -> None:
    """Have `act` called with the number of each call of a function that the worker calls, before it is."""
    original, numbers = getattr(WORK[name], name), iter(range(1, 100))

    def called(*arguments: Any, **settings: Any) -> Any:
        act(next(numbers))
        return original(*arguments, **settings)

    monkeypatch.setattr(WORK[name], name, called)


def in_folder(folder: Path, jobs: list[Job]) -> Ledger:
    return Ledger.open(folder, {}, jobs)


# What is made and scored


def test_each_job_has_its_own_data_set(digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]) -> None:
    fewer = load((digits.train.images[:300].numpy(), digits.train.labels[:300].numpy()))
    jobs = [RANDOM, job("random", data="fewer"), job(None, data="fewer")]
    ledger = Ledger({})
    Worker(ledger, engine, {"digits": digits, "fewer": fewer}.__getitem__).work(jobs)
    assert [asked["data"] for asked in scored] == [digits, fewer, fewer]
    assert scored[2]["subject"] is fewer
    assert [ledger.record(one).fingerprint for one in jobs] == [x.fingerprint for x in (digits, fewer, fewer)]
    assert [ledger.record(one).size_bytes for one in jobs] == [640, 640, fewer.train.images.nbytes]


def test_data_sets_are_asked_for_where_work_is_left(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]
) -> None:
    names: list[str] = []

    def dataset_of(name: str) -> ImageDataset:
        names.append(name)
        return digits

    ledger, jobs = Ledger({}), [RANDOM, job("random", data="mnist")]
    Worker(ledger, engine, dataset_of).work(jobs[:1])
    Worker(ledger, engine, dataset_of).work(jobs)
    assert names == ["digits", "mnist"]


def test_a_record_says_what_it_took_and_what_it_ran_on(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]
) -> None:
    one, ledger = job("dm", lr=0.5), Ledger({})
    Worker(ledger, engine, lambda name: digits).work([one])
    record = ledger.record(one)
    assert (record.iterations, record.size_bytes, record.settings["lr"]) == (3, 640, 0.5)
    assert record.seconds is not None
    assert record.peak_bytes is not None
    assert record.seconds > 0
    assert record.peak_bytes > 2**20
    assert record.versions["torch"]
    assert record.hardware["cores"] >= 1


@pytest.mark.parametrize(("epochs", "on_the_whole"), [(7, 7), (100, 44), (None, None)])
def test_the_whole_is_trained_for_no_more_epochs_than_its_protocol_has(
    digits: ImageDataset,
    engine: Engine,
    scored: list[dict[str, Any]],
    epochs: int | None,
    on_the_whole: int | None,
) -> None:
    jobs = [Job(data="digits", recipe=one.recipe, scoring=scoring(epochs=epochs)) for one in (RANDOM, WHOLE)]
    Worker(Ledger({}), engine, lambda name: digits).work(jobs)
    assert [asked["epochs"] for asked in scored] == [epochs, on_the_whole]


@pytest.mark.parametrize("flip", [None, True, False])
def test_images_are_mirrored_as_the_scoring_or_else_the_data_say(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]], flip: bool | None
) -> None:
    jobs = [Job(data="digits", recipe=one.recipe, scoring=scoring(flip=flip)) for one in (RANDOM, WHOLE)]
    Worker(Ledger({}), engine, lambda name: digits).work(jobs)
    assert [asked["flip"] for asked in scored] == [bool(flip), bool(flip)]  # digits are not mirrored


@pytest.mark.parametrize(
    ("other", "stored", "scores"),
    [
        ({}, {}, 1),
        *(({name: value}, {}, 2) for name, value in {"seed": 1, "repeats": 3, "epochs": 2, "flip": True}.items()),
        ({}, {"cutmix": 0.25}, 2),  # by what the protocol of this name was once
    ],
    ids=str,
)
def test_a_score_that_the_set_holds_is_taken_if_it_is_of_these_very_settings(
    digits: ImageDataset,
    engine: Engine,
    tmp_path: Path,
    other: dict[str, Any],
    stored: dict[str, Any],
    scores: int,
) -> None:
    """As after a power cut between a set's last file and its record, or a score by hand."""
    ledger = in_folder(tmp_path, [RANDOM])
    folder = ledger.set_folder(RANDOM)
    assert folder is not None
    assert RANDOM.recipe is not None
    made = condense(digits, out=folder, execution=PLAIN, **asdict(RANDOM.recipe))
    settings = RANDOM.scoring.settings() | other
    held = evaluate(made, digits, network="convnet1", execution=PLAIN, **settings)
    held = replace(held, settings=held.settings | stored)
    made.add_score(held, folder)
    Worker(ledger, engine, lambda name: digits).work([RANDOM])
    after = CondensedSet.load(folder).scores
    assert (after[0], len(after)) == (held, scores)
    assert ledger.record(RANDOM).scores["convnet1"] == after[-1]


def test_whoever_waits_for_results_is_told_of_each(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]
) -> None:
    ledger, heard, wide = Ledger({}), [], job("random", networks=("convnet1", "convnet2"))

    def hear() -> None:
        heard.append(ledger.missing(wide))

    Worker(ledger, engine, lambda name: digits, kept=hear).work([wide])
    assert heard == [["convnet1", "convnet2"], ["convnet2"], []]


# Failures and interrupts


def test_data_that_cannot_be_loaded_fail_their_own_jobs_only(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]
) -> None:
    def dataset_of(name: str) -> ImageDataset:
        if name == "gone":
            raise UserError("cannot find gone")
        return digits

    gone, ledger = job(data="gone"), Ledger({})
    Worker(ledger, engine, dataset_of).work([gone, RANDOM])
    assert ledger.record(gone).errors == {"convnet1": "cannot find gone"}
    assert (ledger.missing(gone), ledger.missing(RANDOM)) == (["convnet1"], [])


def test_data_that_have_changed_are_not_mixed_with_earlier_scores(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]]
) -> None:
    fewer = load((digits.train.images[:300].numpy(), digits.train.labels[:300].numpy()))
    ledger = Ledger({})
    Worker(ledger, engine, lambda name: digits).work([WHOLE])
    wide = job(None, networks=("convnet1", "convnet2"))
    Worker(ledger, engine, lambda name: fewer).work([wide])
    assert list(ledger.record(wide).scores) == ["convnet1"]
    assert "digits has changed since" in ledger.record(wide).errors["convnet2"]
    Worker(ledger, engine, lambda name: fewer).work([WHOLE, RANDOM])
    assert "digits has changed since" in ledger.record(RANDOM).errors["convnet1"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_too_little_memory_for_one_network_is_said_of_no_other(
    digits: ImageDataset,
    engine: Engine,
    scored: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def exhausted(number: int) -> None:
        if number == 2:
            raise error

    call(monkeypatch, "evaluate", exhausted)
    wide, ledger = job("random", networks=("convnet1", "convnet2", "convnet3")), Ledger({})
    Worker(ledger, engine, lambda name: digits).work([wide, WHOLE])
    assert list(ledger.record(wide).scores) == ["convnet1", "convnet3"]
    assert ledger.record(wide).errors["convnet2"].startswith("out of memory")
    failed = [ledger.record(one).failed(one.scorers) for one in (wide, WHOLE)]
    assert failed == [["convnet2"], []]


def test_what_failed_is_tried_again_and_its_error_forgotten_if_it_succeeds(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]], tmp_path: Path
) -> None:
    ledger = in_folder(tmp_path, [RANDOM])
    known = ledger.record(RANDOM)
    known.errors = {"convnet1": "out of memory", "convnet9": "of a network that is not asked for now"}
    ledger.keep(RANDOM, known)
    Worker(in_folder(tmp_path, [RANDOM]), engine, lambda name: digits).work([RANDOM])
    after = in_folder(tmp_path, [RANDOM])
    assert (after.missing(RANDOM), list(after.record(RANDOM).errors)) == ([], ["convnet9"])


@pytest.mark.parametrize("name", ["condense", "evaluate"])
def test_a_fault_of_the_program_is_not_hidden(
    digits: ImageDataset, engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(number: int) -> None:
        raise RuntimeError("shapes differ")

    call(monkeypatch, name, broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        Worker(Ledger({}), engine, lambda name: digits).work([RANDOM])


def test_an_interrupt_says_how_far_it_came(
    digits: ImageDataset,
    engine: Engine,
    scored: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    set_quiet(False)
    jobs = [RANDOM, WHOLE]
    with monkeypatch.context() as patch:
        call(patch, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Worker(in_folder(tmp_path, jobs), engine, lambda name: digits).work(jobs)
    assert "1 of 2 sets are scored; the same command goes on" in capsys.readouterr().err
    Worker(in_folder(tmp_path, jobs), engine, lambda name: digits).work(jobs)
    said = capsys.readouterr().err
    assert "1 of 2 sets were scored before" in said
    assert "[2/2] digits: the whole training split" in said
    assert "[1/2]" not in said


# The time limit


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every trial find that two iterations fit; return the methods that were tried."""
    tried: list[str] = []

    def trial(dataset: ImageDataset, recipe: Any, engine: Engine, limit: float) -> Trial:
        tried.append(recipe.method)
        return Trial(iterations=2, start=0.1, each=0.5, compiled=False)

    monkeypatch.setattr(worker, "try_out", trial)
    return tried


def test_the_iterations_that_fit_are_found_once_for_all_seeds_and_kept(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]], trials: list[str], tmp_path: Path
) -> None:
    jobs = [RANDOM, job("dm"), job("dm", seed=1)]
    Worker(in_folder(tmp_path, jobs), engine, lambda name: digits, time_limit=1.0).work(jobs)
    more = [*jobs, job("dm", seed=2)]
    ledger = in_folder(tmp_path, more)
    Worker(ledger, engine, lambda name: digits, time_limit=1.0).work(more)
    assert trials == ["dm"]  # neither random nor another seed
    assert [ledger.record(one).iterations for one in more] == [0, 2, 2, 2]
    fitted = ledger.fitted(more[-1])
    assert fitted is not None
    assert (fitted.iterations, fitted.compiled) == (2, False)
    for one in more[1:]:
        kept = CondensedSet.load(tmp_path / "sets" / one.name)
        assert (kept.settings["iterations"], kept.steps) == (2, 2)
        assert kept.settings["compile"] == "no"  # as the trial was


@pytest.mark.parametrize("given", [{}, {"encoder_count": 4}, {"encoder_steps": 1_200}, {"encoder_steps": 7}])
def test_a_limit_is_divided_but_for_what_was_given_the_preset_s_own_values_too(
    given: dict[str, int],
    digits: ImageDataset,
    engine: Engine,
    trials: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    divided: list[set[str]] = []

    def divide(timetable: Timetable, dataset: ImageDataset, recipe: Recipe, engine: Engine) -> Recipe:
        divided.append(set(timetable.given))
        return replace(recipe, encoder_steps=3)

    monkeypatch.setattr(Timetable, "made", divide)
    monkeypatch.setattr(worker, "condense", lambda dataset, **settings: condense(dataset, ipc=1, method="random"))
    one = job_for(digits, "m3d-plus", preset="quick", ipc=1, seed=0, scoring=scoring(), settings=TINY | given)
    ledger = Ledger({})
    Worker(ledger, engine, lambda name: digits, time_limit=60.0).work([one])
    fitted = ledger.fitted(one)
    assert fitted is not None
    asked = given.get("encoder_steps")
    assert fitted.encoder_steps == (asked or 3)
    assert divided == ([] if asked else [{"iterations", *given}])


def test_a_start_that_takes_too_long_is_a_failure_of_its_method(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(iterations=1, start=700.0, each=0.5, compiled=True)
    monkeypatch.setattr(worker, "try_out", lambda *_: trial)
    ledger, jobs = Ledger({}), [job("dm"), RANDOM]
    Worker(ledger, engine, lambda name: digits, time_limit=480.0).work(jobs)
    said = "time_limit=480s: too short: 700 s pass before the first step"
    assert [ledger.record(one).errors for one in jobs] == [{"convnet1": said}, {}]


def test_without_a_time_limit_nothing_is_tried(
    digits: ImageDataset, engine: Engine, scored: list[dict[str, Any]], trials: list[str]
) -> None:
    ledger = Ledger({})
    Worker(ledger, engine, lambda name: digits).work([job("dm")])
    assert (trials, ledger.record(job("dm")).iterations) == ([], 3)
