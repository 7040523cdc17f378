"""The page on screens, in languages and colours, and by the keyboard alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import nextchar_server.http
from tests.server.http.page.conftest import Open
from tests.support.playground import TEXT, pane, text_of, write

WORDS = Path(nextchar_server.http.__file__).parent / "page/words"


def keys(file: str) -> list[str]:
    return re.findall(r"^  (\w+):", (WORDS / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_both_languages_have_all_words() -> None:
    assert keys("en.js") == keys("ko.js")


def test_a_word_has_the_same_values_in_both_languages(page: Page) -> None:
    script = """async () => {
        const [{english}, {korean}] = await Promise.all(
            ["en", "ko"].map((name) => import(`/playground/words/${name}.js`)));
        const values = (words) => (words.match(/\\{\\w+\\}/g) ?? []).sort().join();
        return Object.keys(english).filter((key) => values(english[key]) !== values(korean[key]));
    }"""
    assert page.evaluate(script) == []


def test_the_language_switches_without_losing_the_text(page: Page) -> None:
    write(page)
    text = text_of(pane(page))
    page.get_by_role("button", name="한국어").click()
    expect(page.locator(".pane .state")).to_have_text("정한 길이에 이르렀습니다")
    expect(page.get_by_label("온도")).to_have_value("1")
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert text_of(pane(page)) == text
    shown = page.locator("body").inner_text().replace(text, "")
    assert set(re.findall(r"[A-Za-z]{3,}", shown)) <= {
        "nextchar",
        "verse",
        "korean",
        "Top",
        "Min",
        "Ctrl",
        "JSON",
        "ROMEO",
    }


def test_a_korean_browser_has_the_page_in_korean(open_page: Open, ports: tuple[int, int]) -> None:
    with open_page(ports[1], locale="ko-KR") as page:
        expect(page.get_by_role("tab", name="쓰기")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_can_be_read_on_every_tint(open_page: Open, ports: tuple[int, int], scheme: str) -> None:
    with open_page(ports[1], color_scheme=scheme) as page:
        script = """() => [...document.querySelectorAll(".scale i")].map((step) => {
            const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
            const {backgroundColor, color} = getComputedStyle(step);
            return [backgroundColor, color].map((one) => {
                canvas.fillStyle = one;
                canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
            });
        })"""
        tints = page.evaluate(script)
    assert len(tints) == 16
    assert all(contrast(ground, letter) >= 7 for ground, letter in tints)


def contrast(one: list[int], other: list[int]) -> float:
    """The contrast of WCAG 2.2."""
    shares = [[value / 255 for value in colour] for colour in (one, other)]
    linear = [[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour] for colour in shares]
    low, high = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (high + 0.05) / (low + 0.05)


def test_the_colours_switch_and_stay_so(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark colours").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_nothing_is_wider_than_a_phone(open_page: Open, ports: tuple[int, int]) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with open_page(ports[1], **phone) as page:
        page.get_by_text("Settings", exact=True).tap()
        page.get_by_role("checkbox", name="korean").check()
        write(page, "", length=80)
        pane(page)
        widths = [page.evaluate("document.documentElement.scrollWidth")]
        page.locator(".pane [data-n]").nth(3).tap()
        expect(page.locator("#card")).to_be_visible()
        for view in ("Score", "Cells"):
            page.get_by_role("tab", name=view).tap()
            page.locator("textarea:visible").fill(TEXT)
            page.locator("button.primary:visible").tap()
            page.locator("[data-n]:visible").first.wait_for()
            widths.append(page.evaluate("document.documentElement.scrollWidth"))
        assert widths == [390] * 3


def test_the_tab_key_goes_from_the_prompt_to_the_text(page: Page) -> None:
    write(page)
    pane(page)
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.locator("#generate-go")).to_be_focused()
    page.locator("#reset").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".pane .text")).to_be_focused()


def test_the_page_tells_other_readers_of_the_end_only(page: Page) -> None:
    page.evaluate(
        """() => {
            window.told = [];
            const told = document.getElementById("announce");
            new MutationObserver(() => window.told.push(told.textContent)).observe(told, {childList: true});
        }"""
    )
    write(page)
    pane(page)
    expect(page.locator("#announce")).to_have_text("Done: 120 characters.")
    assert page.evaluate("window.told") == ["Writing.", "Done: 120 characters."]
    assert json.loads(page.locator(".pane").get_attribute("aria-busy") or "") is False
