from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_studies import job, record, score

from m3d_condense.studies.record import Record, as_json, read
from m3d_condense.tools.errors import UserError

FULL: dict[str, Any] = {
    "fingerprint": "sha256:1",
    "errors": {"convnet2": "out of memory"},
    "seconds": 1.25,
    "peak_bytes": 2**30,
    "peak_of": "run",
    "size_bytes": 640,
    "iterations": 3,
    "settings": {"lr": 0.5, "network": "convnet1"},
    "versions": {"torch": "2"},
    "hardware": {"cores": 2},
}


@pytest.mark.parametrize("values", [{}, FULL])
def test_a_record_comes_back_from_its_file_as_it_was(values: dict[str, Any], tmp_path: Path) -> None:
    one = record(job(), 61.5, 62.25, **values)
    (tmp_path / "a.json").write_text(as_json(one))
    assert read(tmp_path / "a.json", Record, "") == one


DAMAGED: dict[str, tuple[str, str]] = {
    "cut short": ('{"job": {', "truncated"),
    "empty": ("", "truncated"),
    "a list": ("[]", "array"),
    "no job": ("{}", "`job`"),
    "text for a number": ('{"job": {}, "seconds": "long"}', "seconds"),
    "a fraction for a count": ('{"job": {}, "iterations": 1.5}', "iterations"),
    "a number for text": ('{"job": {}, "errors": {"convnet1": 3}}', "errors"),
    "a list for a table": ('{"job": {}, "scores": []}', "scores"),
    "half a score": ('{"job": {}, "scores": {"convnet1": {"network": "convnet1"}}}', "scores"),
    "a later version": ('{"job": {}, "format_version": 2}', "format_version"),
    "no number": ('{"job": {}, "seconds": NaN}', "malformed"),
}


@pytest.mark.parametrize(("text", "word"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_line_that_names_it_the_place_and_the_remedy(
    text: str, word: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"^{file} is damaged.*{word}.*; delete it$") as raised:
        read(file, Record, "delete it")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("accuracies", [["high"], [101.0], [], None])
def test_accuracies_that_cannot_be_are_said(accuracies: Any, tmp_path: Path) -> None:
    content = json.loads(as_json(record(job(), 50.0)))
    content["scores"]["convnet1"]["accuracies"] = accuracies
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="a.json is damaged"):
        read(tmp_path / "a.json", Record, "")


@pytest.mark.parametrize("name", ["missing.json", "folder.json", "bytes.json"])
def test_a_file_that_is_no_text_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "bytes.json").write_bytes(b'{"job": {"data": "\xff"}}')
    with pytest.raises(UserError, match=name):
        read(tmp_path / name, Record, "")


def test_a_record_knows_which_networks_are_missing_and_failed() -> None:
    one = record(job(), 50.0, errors={"convnet2": "too deep"})
    one.scores["convnet3"] = score(40.0, network="convnet3")
    assert one.missing(["convnet3", "convnet2", "convnet4"]) == ["convnet2", "convnet4"]
    assert one.failed(["convnet1", "convnet2"]) == ["convnet2"]
