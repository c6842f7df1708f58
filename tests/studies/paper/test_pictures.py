from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from small_grids import asked
from small_studies import PLAIN

from m3d_condense.studies.paper.grids import GRIDS
from m3d_condense.studies.paper.pictures import draw
from m3d_condense.studies.paper.reproduction import reproduce

TEXT = re.compile(r"<!-- (.*?) -->")  # matplotlib names each text of an SVG in a comment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures on digits; they share their sets."""
    out = tmp_path_factory.mktemp("figures") / "paper"
    for name, changes in {
        "figure3": {"methods": ["dm", "m3d", "random"]},
        "figure6a": {},
        "figure6b": {"only": ["digits/1", "digits/2"], "methods": ["m3d", "m3d-linear"]},
        "figure4": {},
        "figure7": {"only": ["digits/1", "digits/2"]},
    }.items():
        reproduce(asked(name, **changes), out=out, execution=PLAIN)
    return out


def texts(folder: Path, name: str) -> list[str]:
    return TEXT.findall((folder / f"{name}.svg").read_text())


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure6a", "figure6b", "figure7"])
def test_a_figure_is_a_picture_in_two_formats(folder: Path, name: str) -> None:
    with Image.open(folder / f"{name}.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 300
        colours = picture.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10
    assert "<svg" in (folder / f"{name}.svg").read_text()[:1000]


def test_curves_name_their_methods_and_their_axes(folder: Path) -> None:
    assert {"dm", "m3d", "random", "steps", "Figure 3: Accuracy against steps"} <= set(texts(folder, "figure3"))
    found = set(texts(folder, "figure6a"))
    assert {"m3d", "I_pm", "1", "5", "50", "test accuracy, %", "minutes of condensing (dashed)"} <= found


def test_bars_name_what_differs_among_them(folder: Path) -> None:
    found = " ".join(texts(folder, "figure6b"))
    for word in ("m3d-linear", "digits/1", "digits/2", "here"):
        assert word in found


def test_images_stand_under_the_method_and_the_accuracy_of_their_set(folder: Path) -> None:
    found = "\n".join(texts(folder, "figure4"))
    for word in ("digits/1, random", "digits/1, dm", "digits/1, m3d-no-factor", "convnet1: "):
        assert word in found
    with Image.open(folder / "figure4.png") as one, Image.open(folder / "figure7.png") as two:
        assert two.height > 1.5 * one.height  # a line for each of two problems
        assert two.width < one.width  # two sets in place of three


def test_images_of_dm_and_m3d_start_from_the_same_real_ones(folder: Path) -> None:
    from m3d_condense.sets.condensed import CondensedSet

    sets = [folder / "sets" / f"digits-{name}-quick-ipc1-seed0" for name in ("random", "dm", "m3d-no-factor")]
    start, *others = (CondensedSet.load(one).images.float() for one in sets)
    for other in others:
        assert 0 < (other - start).abs().max() <= 0.03 * 255  # two steps of 0.01, and rounding


def test_the_same_figure_is_the_same_file(folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in ("figure6b.svg", "figure4.png", "figure4.svg")}
    changes = {"only": ["digits/1", "digits/2"], "methods": ["m3d", "m3d-linear"]}
    reproduce(asked("figure6b", **changes), out=folder, execution=PLAIN)
    reproduce(asked("figure4"), out=folder, execution=PLAIN)
    assert (folder / "figure6b.svg").read_bytes() == before["figure6b.svg"]
    assert (folder / "figure4.svg").read_bytes() == before["figure4.svg"]
    with Image.open(folder / "figure4.png") as one, Image.open(io.BytesIO(before["figure4.png"])) as two:
        assert one.tobytes() == two.tobytes()


def test_nothing_known_is_nothing_drawn(tmp_path: Path) -> None:
    for name in ("figure3", "figure4", "figure6b", "table2"):
        reproduce(asked(name, only=["cifar10/10"]), data_root=tmp_path, out=tmp_path / "out", execution=PLAIN)
    assert list((tmp_path / "out").glob("*.svg")) == []
    assert (tmp_path / "out" / "figure3.md").is_file()
    assert draw(GRIDS["table2"], [], [], tmp_path) == []
