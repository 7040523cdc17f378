"""Texts that the page has written: their characters, colours, seeds, links and models."""

from __future__ import annotations

import math
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nextchar.v1 import generation_pb2 as pb
from tests.server.http.page.conftest import Open
from tests.support.playground import pane, text_of, write


def generated(stub: Any, prompt: str = "ROMEO:\n", model: str = "verse", **parameters: Any) -> pb.GenerateResponse:
    request = pb.GenerateRequest(model=model, prompt=prompt, parameters=pb.GenerationParameters(**parameters))
    response: pb.GenerateResponse = stub.Generate(request)
    return response


def test_a_seed_writes_the_text_that_it_has_by_grpc(page: Page, stub: Any) -> None:
    write(page, seed=7, length=200)
    assert text_of(pane(page)) == generated(stub, seed=7, max_characters=200).text


def test_a_seed_of_64_bits_stays_whole(page: Page, stub: Any) -> None:
    write(page, seed=2**64 - 1)
    assert text_of(pane(page)) == generated(stub, seed=2**64 - 1, max_characters=120).text


def test_settings_reach_the_model(page: Page, stub: Any) -> None:
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Top p").fill("0.9")
    page.get_by_label("Stop at").fill("\\n")
    page.get_by_text("More settings").click()
    page.get_by_label("Bias").fill("e=-100 o=0.5")
    write(page)
    parameters: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["\n"],
        "character_bias": {"e": -100, "o": 0.5},
    }
    assert text_of(pane(page, "stop")) == generated(stub, seed=7, max_characters=120, **parameters).text


def test_the_same_seed_again_writes_the_same_text_and_a_new_one_another(page: Page) -> None:
    write(page)
    first = text_of(pane(page))
    page.get_by_role("button", name="Same seed again").click()
    assert text_of(pane(page)) == first
    page.get_by_role("button", name="New seed").click()
    expect(page.locator(".pane .stats")).not_to_contain_text("seed 7")
    assert text_of(pane(page)) != first


def test_a_link_writes_the_text_again(page: Page, open_page: Open, ports: tuple[int, int]) -> None:
    page.get_by_label("Temperature").fill("0.8")
    write(page, "JULIET:\n", seed=11)
    first, fragment = text_of(pane(page)), page.evaluate("location.hash")
    with open_page(ports[1], fragment=fragment) as other:
        assert text_of(pane(other)) == first
        assert other.get_by_label("Prompt", exact=True).input_value() == "JULIET:\n"


def test_a_link_to_another_file_of_the_model_says_so(open_page: Open, ports: tuple[int, int]) -> None:
    with open_page(ports[1], fragment="#prompt=a&seed=1&max_tokens=9&model=verse%40000000000000") as page:
        expect(page.locator("#link-note")).to_contain_text("another file of verse")


def test_a_text_that_is_continued_is_the_one_of_that_length(page: Page, stub: Any) -> None:
    write(page, length=60)
    pane(page).get_by_role("button", name="Continue").click()
    expect(page.locator(".pane .stats")).to_contain_text("120 characters")
    assert text_of(pane(page)) == generated(stub, seed=7, max_characters=120).text
    assert "max_tokens=120" in page.evaluate("location.hash")


def test_escape_stops_a_text_that_then_continues(page: Page) -> None:
    write(page, length=20_000)
    page.locator(".pane [data-n]").nth(100).wait_for()
    page.keyboard.press("Escape")
    stopped = pane(page, "stopped")
    length = len(text_of(stopped))
    assert length < 20_000
    stopped.get_by_role("button", name="Continue").click()
    page.locator(".pane [data-n]").nth(length + 100).wait_for()
    page.get_by_role("button", name="Stop").click()
    pane(page, "stopped")


def test_the_alternatives_of_a_character_show_beside_it(page: Page, stub: Any) -> None:
    write(page)
    shown = pane(page).locator("[data-n]").nth(3)
    shown.hover()
    logprobs = generated(stub, seed=7, max_characters=120, top_logprobs=5).character_logprobs
    card = page.locator("#card")
    expect(card.locator(".card-figures strong")).to_have_text(f"{100 * math.exp(logprobs.logprobs[3]):.0f}%")
    alternatives = [one.replace("␣", " ").replace("↵", "\n") for one in card.locator("li b").all_inner_texts()]
    assert alternatives == list(logprobs.alternatives[15:20])


def test_a_characters_tint_is_that_of_its_surprise(page: Page, stub: Any) -> None:
    write(page)
    classes = pane(page).locator("[data-n]").evaluate_all("spans => spans.map(span => span.classList[0])")
    logprobs = generated(stub, seed=7, max_characters=120, top_logprobs=0).character_logprobs.logprobs
    bounds = (0.5, 1, 2, 3, 4, 6, 8)
    assert classes == [f"s{sum(-one / math.log(2) >= bound for bound in bounds)}" for one in logprobs]


def test_two_models_write_side_by_side(page: Page, stub: Any) -> None:
    page.get_by_role("checkbox", name="korean").check()
    write(page, "", length=80)
    for name, shown in zip(("verse", "korean"), page.locator(".pane").all(), strict=True):
        expect(shown).to_have_attribute("data-state", "length")
        assert text_of(shown) == generated(stub, "", name, seed=7, max_characters=80).text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("Seed", str(2**64), "0 to 18446744073709551615"), ("Length", "0", "1 to 100000")],
    ids=["seed", "length"],
)
def test_a_value_out_of_bounds_is_named_before_it_is_sent(page: Page, field: str, value: str, words: str) -> None:
    page.get_by_label(field, exact=True).fill(value)
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    if field == "Seed":
        expect(page.locator("#link-note")).to_contain_text(words)
    expect(page.locator(".pane")).to_have_count(0)
