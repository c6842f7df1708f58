from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from condensed_sets import make

from m3d_condense.sets.card import card
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.preview import preview


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_has_a_row_a_class(channels: int) -> None:
    condensed = make(num_classes=4, ipc=12, shape=(channels, 8, 8))
    picture = preview(condensed)
    pixels = np.asarray(picture)
    assert (picture.mode, picture.height) == ("RGB", 3 + 4 * (64 + 3))
    painted = (pixels[:, 60:700] != 255).any(axis=(1, 2))  # rows of pixels that are not all white
    assert int((np.diff(painted.astype(int)) == 1).sum()) == 4
    last = condensed.images[-3].permute(1, 2, 0).numpy()  # tenth image of the last class: two are hidden
    right = int(np.flatnonzero((pixels[-8] != 255).any(axis=1) & (pixels[-60] != 255).any(axis=1))[-1])
    assert np.array_equal(pixels[-7, right - 3], np.broadcast_to(last[-1, -1], 3))


def test_preview_limits_rows_columns_and_size() -> None:
    small = make(num_classes=2, ipc=10, shape=(1, 8, 8))
    assert preview(make(num_classes=2, ipc=50, shape=(1, 8, 8))).width > preview(small).width  # "+40 more"
    many = preview(make(num_classes=103, ipc=1, shape=(1, 8, 8)))
    assert 100 * 67 < many.height < 101 * 67
    assert preview(make(num_classes=1, ipc=1, shape=(3, 200, 100))).height == 128 + 6
    unequal = make(num_classes=2, ipc=2, labels=torch.tensor([0, 1, 1, 1]))
    assert preview(unequal).height == 3 + 2 * 67


NASTY = ("pipe | and\nline", 'quo"ted', "Größe 汉字 🐱", "*star* <b>&amp; `tick` [link](x)", "x" * 200)


def test_card_has_a_valid_header_and_the_scores() -> None:
    text = card(make())
    _, header, body = text.split("---\n", 2)
    front = yaml.safe_load(header)
    assert front["task_categories"] == ["image-classification"]
    assert front["size_categories"] == ["n<1K"]
    assert "dataset-condensation" in front["tags"]
    assert "| convnet3 | idc | 3 | 61.25 ± 1.15 |" in body
    assert "2×2 tiles" in body
    assert '"kernel": "gaussian"' in body
    assert "Not evaluated yet" in card(make(scores=[]))
    assert yaml.safe_load(card(make(1, 1000)).split("---\n")[1])["size_categories"] == ["1K<n<10K"]


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


@pytest.mark.parametrize(("factor", "side"), [(1, 8), (2, 8), (3, 10)])
def test_the_cards_own_code_loads_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int, side: int
) -> None:
    condensed = make(shape=(3, side, side), factor=factor)
    monkeypatch.chdir(condensed.save(tmp_path / "set"))
    blocks = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    images, labels = condensed.decode()
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        assert torch.allclose(names["images"], images)
        assert torch.equal(names["labels"], labels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (condensed.mean, condensed.std))
    assert len(blocks) == 2
    assert torch.allclose(names["normalised"], (images - mean) / std)
