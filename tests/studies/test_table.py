from __future__ import annotations

import csv
import io
import statistics
from dataclasses import asdict
from typing import Any

import pytest
from small_studies import job, record, score

from m3d_condense.studies.job import Job
from m3d_condense.studies.record import Record
from m3d_condense.studies.table import environments, make_rows, notes, to_csv, to_text
from m3d_condense.studies.writing import markdown

Known = list[tuple[Job, Record]]


def known(*pairs: tuple[Job, tuple[float, ...], dict[str, Any]]) -> Known:
    return [(one, record(one, *accuracies, **values)) for one, accuracies, values in pairs]


SOME = known(
    (
        job("random", ipc=1),
        (40.0, 44.0),
        {"seconds": 0.01, "size_bytes": 640, "peak_bytes": 5 * 2**20},
    ),
    (
        job("dm", ipc=1),
        (60.0, 61.0),
        {"seconds": 9.0, "size_bytes": 640, "classes": 10, "peak_of": "run", "iterations": 3},
    ),
    (job("dm", ipc=1, seed=1), (62.0, 63.0), {"seconds": 12.0, "size_bytes": 640, "peak_of": "run", "iterations": 3}),
    (job("dm", ipc=2), (70.0,), {"seconds": 99.5, "size_bytes": 1280, "peak_bytes": 2**30, "iterations": 3}),
    (job("m3d", ipc=1), (), {"errors": {"convnet1": "larger than the images"}}),
    (job("cafe", ipc=1), (), {}),
    (job(None), (99.0, 98.0), {"size_bytes": 92_000}),
)
PLACES = {row.method: row for row in make_rows(SOME)}


def order(sort: str) -> list[tuple[str, int | None]]:
    return [(row.method, row.ipc) for row in make_rows(SOME, sort)]


def test_a_row_is_of_all_seeds_of_its_series() -> None:
    row = next(row for row in make_rows(SOME) if (row.method, row.ipc) == ("dm", 1))
    assert (row.data, row.preset, row.network, row.n) == ("digits", "quick", "convnet1", 4)
    assert row.mean == 61.5
    assert row.std == pytest.approx(statistics.stdev([60, 61, 62, 63]))
    assert (row.seconds, row.size_bytes, row.iterations, row.peak_of) == (10.5, 640, 3, "run")
    assert [(one.seed, one.mean, one.accuracies) for one in row.seeds] == [(0, 60.5, [60, 61]), (1, 62.5, [62, 63])]


def test_what_is_not_known_is_none_and_a_job_of_which_nothing_is_has_no_row() -> None:
    assert "cafe" not in PLACES
    failed, whole = PLACES["m3d"], PLACES["whole"]
    assert (failed.mean, failed.std, failed.n, failed.error) == (None, None, 0, "larger than the images")
    assert whole.ipc is whole.preset is whole.seconds is whole.iterations is whole.peak_bytes is None


def test_one_network_has_no_spread() -> None:
    row = next(row for row in make_rows(SOME) if row.ipc == 2)
    assert (row.n, row.std, row.accuracy) == (1, 0.0, "70.0")


def test_each_network_has_a_row() -> None:
    one = job(networks=("convnet1", "convnet2"))
    half = record(one, 50.0, errors={"convnet2": "too deep"})
    rows = {row.network: row for row in make_rows([(one, half)])}
    assert (rows["convnet1"].mean, rows["convnet1"].error) == (50.0, "")
    assert (rows["convnet2"].mean, rows["convnet2"].error) == (None, "too deep")


def test_rows_are_sorted_and_the_unknown_comes_last() -> None:
    assert order("accuracy") == [("whole", None), ("dm", 2), ("dm", 1), ("random", 1), ("m3d", 1)]
    assert order("seconds") == [("random", 1), ("dm", 1), ("dm", 2), ("m3d", 1), ("whole", None)]
    assert order("method") == [("dm", 1), ("dm", 2), ("m3d", 1), ("random", 1), ("whole", None)]
    assert order("bytes") == [("random", 1), ("dm", 1), ("dm", 2), ("whole", None), ("m3d", 1)]


def test_as_text_every_figure_has_its_unit_and_few_digits() -> None:
    lines = {(line["method"], line["ipc"]): line for line in to_text(make_rows(SOME))}
    assert lines["dm", "1"] == {
        "method": "dm",
        "ipc": "1",
        "accuracy, %": "61.5 ± 1.3",
        "n": "4",
        "seconds": "10",
        "memory": "",
        "KiB a class": "0.0625",
        "iterations": "3",
    }
    assert (lines["random", "1"]["seconds"], lines["random", "1"]["memory"]) == ("0.0", "5.0 MiB")
    assert (lines["m3d", "1"]["accuracy, %"], lines["m3d", "1"]["n"]) == ("failed", "0")
    assert lines["whole", ""]["iterations"] == ""


@pytest.mark.parametrize(
    ("others", "columns"),
    [
        ([job(seed=1)], ["method", "ipc"]),
        ([job(None)], ["method", "ipc"]),
        ([job(data="mnist")], ["data", "method", "ipc"]),
        ([job(preset="paper")], ["method", "preset", "ipc"]),
        ([job(networks=("convnet2",), ipc=2)], ["method", "ipc", "network"]),
    ],
)
def test_what_all_rows_share_has_no_column(others: list[Job], columns: list[str]) -> None:
    lines = to_text(make_rows([(one, record(one, 50.0)) for one in (job(), *others)]))
    assert [name for name in lines[0] if name in ("data", "method", "preset", "ipc", "network")] == columns


def test_csv_and_markdown_agree_with_the_rows() -> None:
    rows = make_rows(SOME)
    comma = list(csv.DictReader(io.StringIO(to_csv(rows))))
    text = markdown(to_text(rows))
    lines = [line.strip("|\n").split("|") for line in text.splitlines() if line.startswith("|")]
    header, _, *marked = [[cell.strip() for cell in line] for line in lines]
    assert len(rows) == len(comma) == len(marked) == 5
    for row, values, cells in zip(rows, comma, marked, strict=True):
        full = asdict(row)
        assert values == {name: str(full[name] if full[name] is not None else "") for name in values}
        assert full.keys() - values.keys() == {"seeds"}
        assert dict(zip(header, cells, strict=True)) in to_text(rows)


def test_a_table_without_rows_is_empty_in_every_form() -> None:
    assert make_rows([]) == to_text([]) == []
    assert to_csv([]).count("\n") == 1
    assert markdown([]) == ""


def test_notes_say_what_the_figures_are_and_what_failed() -> None:
    jobs = [one for one, _ in SOME]
    figures, *failures = notes(jobs, make_rows(SOME))
    assert figures == (
        "digits: test accuracy, mean ± sample standard deviation of n networks, 2 for each set, protocol quick, "
        "1 epoch; seconds of condensing, preset quick, the median over the seeds; memory at its peak, "
        "the process's during the run"
    )
    assert failures == ["m3d, ipc 1: larger than the images"]


def test_notes_of_several_data_sets_name_them_all() -> None:
    pairs = known((job(), (50.0,), {}), (job(data="mnist"), (), {"errors": {"convnet1": "not found"}}))
    figures, failure = notes([one for one, _ in pairs], make_rows(pairs))
    assert figures.startswith("digits, mnist: test accuracy")
    assert failure == "mnist, dm, ipc 1: not found"


def test_a_failure_of_the_whole_training_split_has_no_ipc() -> None:
    pairs = known((job(None), (), {"errors": {"convnet1": "out of memory"}}))
    assert notes([job(None)], make_rows(pairs))[1:] == ["whole: out of memory"]


def test_every_machine_is_named_once() -> None:
    here: dict[str, Any] = {"versions": {"torch": "2"}, "hardware": {"cores": 2}}
    there: dict[str, Any] = {"versions": {"torch": "2"}, "hardware": {"cores": 64}}
    records = [record(job(), 1.0, **values) for values in (here, there, {}, here)]
    assert environments(records) == [here, there]


def test_a_network_that_has_not_scored_yet_has_an_empty_row() -> None:
    one = job(networks=("convnet1", "convnet2"))
    waiting = record(one)
    waiting.scores["convnet2"] = score(50.0, network="convnet2")
    assert [line["accuracy, %"] for line in to_text(make_rows([(one, waiting)]))] == ["50.0", ""]
