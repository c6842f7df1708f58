from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import yaml
from condensed_sets import make, make_packed, make_soft

from m3d_condense.data.sources import HUB_SETS
from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.sets.origins import ORIGINS

NASTY = ("pipe | and\nline", 'quo"ted', "Größe 汉字 🐱", "*star* <b>&amp; `tick` [link](x)", "x" * 200)


def test_card_has_a_valid_header_and_the_scores() -> None:
    text = card(make())
    _, header, body = text.split("---\n", 2)
    front = yaml.safe_load(header)
    assert front["task_categories"] == ["image-classification"]
    assert front["size_categories"] == ["n<1K"]
    assert "dataset-condensation" in front["tags"]
    assert "| convnet3 | idc, 10 epochs | 3 | 61.25 ± 1.15 |" in body
    assert "2×2 tiles" in body
    assert '"kernel": "gaussian"' in body
    assert "Not evaluated yet" in card(make(scores=[]))
    assert header_of(card(make(1, 1000)))["size_categories"] == ["1K<n<10K"]
    assert header_of(card(make(1, 1000, factor=4)))["size_categories"] == ["10K<n<100K"]  # as decoded


def header_of(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


@pytest.mark.parametrize(
    ("data", "licence", "sources"),
    [
        ("digits", "cc-by-4.0", None),
        ("cifar10", "unknown", ["uoft-cs/cifar10"]),
        ("uoft-cs/cifar10", "unknown", ["uoft-cs/cifar10"]),
        ("someone/pictures:small", None, ["someone/pictures"]),
        ("/home/someone/pictures", None, None),
        (["a.parquet", "b.parquet"], None, None),
        (None, None, None),
    ],
)
def test_card_says_where_the_source_is_and_its_licence(
    data: Any, licence: str | None, sources: list[str] | None
) -> None:
    text = card(make(source={"data": data, "name": "a name"}))
    header = header_of(text)
    assert (header.get("license"), header.get("source_datasets")) == (licence, sources)
    assert f"| Licence of the source | {licence or 'unknown'} |" in text
    assert "viewer" not in header


def test_what_the_card_knows_of_sources_agrees_with_where_data_come_from() -> None:
    assert set(ORIGINS) == {"digits", *HUB_SETS}
    assert {name: ORIGINS[name].hub_id for name in HUB_SETS} == {name: known.id for name, known in HUB_SETS.items()}


def test_card_links_the_paper() -> None:
    text = card(make())
    assert "https://arxiv.org/abs/2312.15927" in text
    assert "https://doi.org/10.1609/aaai.v38i8.28784" in text
    assert "arxiv:2312.15927" in header_of(text)["tags"]


def test_control_characters_do_not_reach_the_card() -> None:
    raw = "\x1b[31mred\x07\x7f\x9b\u2028\u202eneder\udce9\r\nend"
    condensed = make(
        num_classes=1,
        class_names=(raw,),
        method=raw,
        created=raw,
        source={"name": raw, "fingerprint": raw, raw: raw},
        settings={raw: raw},
        scores=[Score.of(raw, raw, [50.0], {})],
    )
    text = card(condensed)
    unseen = {character for character in text if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}
    assert unseen == {"\n"}
    assert "\u202e" not in text
    assert "| Classes | 1: �\\[31mred��� �neder� end |" in text
    block = re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0]
    assert json.loads(block)["settings"] == {raw: raw}


def test_nasty_names_break_neither_card_nor_preview(tmp_path: Path) -> None:
    condensed = make(num_classes=5, class_names=NASTY, source={"name": 'a: "b" | c\n---'}, method="x: [y")
    loaded = CondensedSet.load(condensed.save(tmp_path / "set"))
    assert loaded.class_names == NASTY
    text = (tmp_path / "set" / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("\n---\n")[0])
    assert header["tags"][-1] == "x: [y"
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3, 5}  # facts, scores
    assert r"pipe \| and line" in text
    assert "Größe 汉字 🐱" in text


@pytest.mark.parametrize(
    ("factor", "side", "bits"), [(1, 8, 8), (2, 8, 8), (3, 10, 8), (1, 5, 1), (2, 7, 2), (3, 9, 4)]
)
def test_the_cards_own_code_loads_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int, side: int, bits: int
) -> None:
    condensed = make_packed(bits, shape=(3, side, side), factor=factor)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(condensed.save(tmp_path / "set"))
    blocks = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    results: list[dict[str, Any]] = [{}, {}, {}]
    for block, names in zip(blocks, results, strict=True):
        exec(block, names)
    tables, ours, theirs = results
    images, labels = condensed.decode()
    assert tables["decoded"]["label"] == labels.tolist()
    assert tables["stored"]["label"] == condensed.labels.tolist()
    assert torch.equal(ours["images"], images)
    assert torch.allclose(theirs["images"], images)
    assert torch.equal(theirs["labels"], labels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (condensed.mean, condensed.std))
    assert torch.allclose(theirs["normalised"], (images - mean) / std)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_cards_own_code_loads_soft_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int) -> None:
    condensed = make_soft(factor=factor)
    monkeypatch.chdir(condensed.save(tmp_path / "set"))
    text = Path("README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    results: list[dict[str, Any]] = [{}, {}]
    for block, names in zip(blocks[1:], results, strict=True):
        exec(block, names)
    for names in results:
        assert torch.equal(names["probabilities"], condensed.decoded_labels("soft"))
    count = 6 * factor**2
    assert f"| Soft labels | 3 probabilities for each of {count} decoded images, float16, {6 * count} bytes |" in text
    assert f"| Stored in all | {6 * 192 + 6 * count:,} bytes |" in text
