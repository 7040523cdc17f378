"""The page in a real browser: the chooser, the keyboard, both schemes, a narrow screen, and no request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from nextchar_training.insight.page import write_page
from nextchar_training.insight.tints import Scheme, tint

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

TEXT = "그는 said:\nyes, " * 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cells() -> NDArray[np.float32]:
    values = np.random.default_rng(0).uniform(-0.4, 0.4, (2, len(TEXT), 5))
    values[0, :, 2] = np.where(np.arange(len(TEXT)) // 20 % 2, 0.9, -0.9)  # the most telling one
    values[1, :, 4] = 0.77
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, cells: NDArray[np.float32]) -> Path:
    path = tmp_path_factory.mktemp("page") / "cells.html"
    write_page(TEXT, cells, path, title="Cells in a text", layer=0, unit=2)
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    with browser.new_context(color_scheme="light") as context:
        page, faults = context.new_page(), list[str]()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        yield page
        assert faults == []


def tints_of(page: Page) -> list[int]:
    found = page.evaluate("[...document.querySelectorAll('#text span')].map((one) => +one.className.slice(1))")
    return [int(step) for step in found]


def test_the_page_opens_with_the_first_cell(page: Page, cells: NDArray[np.float32]) -> None:
    assert page.locator("#cell").input_value() == "2"
    assert tints_of(page) == np.rint(10 * cells[0, :, 2]).tolist()
    assert page.locator("#previous").is_disabled()


def test_another_cell_of_another_layer_colours_the_text(page: Page) -> None:
    page.get_by_label("Layer").select_option("1")
    page.get_by_label("Cell", exact=True).select_option("4")
    assert set(tints_of(page)) == {8}
    assert page.evaluate("location.hash") == "#1:4"


def test_an_address_names_a_cell(page: Page, file: Path) -> None:
    page.goto(f"{file.as_uri()}#1:4")
    page.wait_for_function("document.getElementById('cell').value === '4'")
    assert set(tints_of(page)) == {8}


def test_the_keyboard_reaches_cells_and_characters(page: Page, cells: NDArray[np.float32]) -> None:
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    unit = int(page.locator("#cell").input_value())
    assert unit != 2
    page.locator("#text").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    value = float(cells[0, 1, unit])
    assert page.locator("#value").inner_text() == f"Character 2, 는: {'−' if value < 0 else '+'}{abs(value):.2f}"
    assert page.locator("#text [aria-current]").inner_text() == "는"


def test_the_pointer_over_a_character_shows_its_value(page: Page) -> None:
    page.locator("#text span").nth(3).hover()
    assert page.locator("#value").inner_text() == "Character 4, s: −0.90"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tints_follow_the_scheme(page: Page, scheme: Scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.querySelector('#text span')).backgroundColor")
    red, green, blue = (int(tint(-9, scheme)[n : n + 2], 16) for n in (1, 3, 5))
    assert colour == f"rgb({red}, {green}, {blue})"


def test_nothing_is_wider_than_a_narrow_screen(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_without_scripts_the_page_shows_the_first_cell(browser: Browser, file: Path) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.locator("#text span.t-9").count() == len(TEXT) // 2
        assert page.locator("#chooser").is_hidden()
