"""The page as a reader meets it, in Chromium where there is one."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from m3d_condense.sets.condensed import CondensedSet

WIDTHS, SCHEMES = (375, 1280), ("light", "dark")
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))"
NAMELESS = """[...document.querySelectorAll('svg, [role=img], [role=region], nav')].filter(e => !(e.ariaLabel ||
    document.getElementById(e.getAttribute('aria-labelledby'))?.textContent)).length"""
OUTSIDE = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre') &&
    e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().right > innerWidth + 1).length"""
MARK = """(() => { const e = document.activeElement; if (e.matches('a, button, summary, input')) e.dataset.met = 1;
    return e.className || e.tagName; })()"""


@contextmanager
def opened(browser: Any, page: Path, width: int = 1280, scheme: str = "light", script: bool = True) -> Iterator[Any]:
    """Open a page, and fail where it has complained, or asked for anything but itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
    )
    said: list[str] = []
    asked: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    try:
        yield tab
    finally:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_says_nothing(
    browser: Any, report: Path, report_of_two: Path, width: int, scheme: str
) -> None:
    for page in (report, report_of_two):
        with opened(browser, page, width, scheme) as tab:
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness = sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
            assert (brightness > 600) == (scheme == "light")
            assert tab.evaluate(OUTSIDE) == 0


def test_headings_go_down_step_by_step_and_pictures_have_names(browser: Any, report: Path, report_of_two: Path) -> None:
    for page in (report, report_of_two):
        with opened(browser, page) as tab:
            levels = tab.evaluate(HEADINGS)
            assert levels.count(1) == 1
            assert levels[0] == 1
            assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
            assert tab.evaluate(NAMELESS) == 0
            ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
            assert len(ids) == len(set(ids))


def test_all_that_can_be_used_is_reached_by_the_keyboard(browser: Any, report: Path) -> None:
    with opened(browser, report) as tab:
        wanted = tab.evaluate("[...document.querySelectorAll('a, button, summary, input:checked')].length")
        tab.keyboard.press("Tab")
        assert tab.evaluate(MARK) == "skip"
        for _ in range(wanted + 10):
            tab.keyboard.press("Tab")
            tab.evaluate(MARK)
        assert tab.evaluate("document.querySelectorAll('[data-met]').length") == wanted
        tab.focus("input.small")
        tab.keyboard.press("ArrowRight")
        assert tab.evaluate("document.querySelector('input.middle').checked")


def test_images_are_enlarged_pixel_by_pixel_without_a_script(browser: Any, report: Path, sets: dict[str, Path]) -> None:
    stored = CondensedSet.load(sets["mosaics"]).images[0, 0].numpy()
    with opened(browser, report, script=False) as tab:
        for name, zoom in (("small", 6), ("large", 24)):
            tab.locator(f"input.{name}").first.check(force=True)
            shown = tab.locator(".stored .px").first
            picture = np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("L"))
            enlarged = stored.repeat(zoom, 0).repeat(zoom, 1)
            # The picture may have a row more, where the image begins between two pixels of the screen.
            parts = [picture[top : top + len(enlarged)] for top in range(len(picture) - len(enlarged) + 1)]
            assert any(np.array_equal(part, enlarged) for part in parts)


def test_mosaics_are_decoded_as_a_network_sees_them(browser: Any, report: Path, sets: dict[str, Path]) -> None:
    decoded = CondensedSet.load(sets["mosaics"]).decode()[0][:, 0].numpy() * 255
    with opened(browser, report) as tab:
        assert tab.locator(".cut").first.is_hidden()
        tab.locator("input.tiled").check(force=True)
        tab.wait_for_selector(".cut canvas")
        drawn = tab.evaluate("[...document.querySelectorAll('.cut canvas')].map(e => e.toDataURL())")
        assert len(drawn) == len(decoded)
        for url, expected in zip(drawn, decoded, strict=True):
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"))
            assert np.abs(picture - expected).max() < 3
        assert tab.locator(".stored > .px").first.is_hidden()


def test_a_table_is_sorted_by_its_headings(browser: Any, report_of_two: Path) -> None:
    with opened(browser, report_of_two) as tab:
        names = "[...document.querySelectorAll('#comparison tbody tr')].map(row => row.cells[0].textContent)"
        tab.get_by_role("button", name="set").click()
        assert tab.evaluate(names) == ["mosaics", "random"]
        tab.get_by_role("button", name="KiB a class").press("Enter")
        assert tab.evaluate(names) == ["random", "mosaics"]
        tab.get_by_role("button", name="KiB a class").press("Enter")
        assert tab.evaluate(names) == ["mosaics", "random"]
        assert tab.locator("th[aria-sort]").count() == 1
