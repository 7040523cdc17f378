"""Texts that the page lets a model read: their scores, and the inside of the network along them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route, expect

from nextchar.v1 import generation_pb2 as pb
from tests.support.playground import TEXT, pane, text_of


def score(page: Page, text: str) -> None:
    page.get_by_role("tab", name="Score").click()
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_label("Text", exact=True).press("Control+Enter")


def read(page: Page, text: str) -> None:
    page.get_by_role("tab", name="Cells").click()
    page.get_by_label("Text that the model reads").fill(text)
    page.get_by_role("button", name="Read").click()
    page.locator("#strip svg").wait_for()


def test_a_pasted_text_has_the_bits_that_it_has_by_grpc(page: Page, stub: Any) -> None:
    score(page, TEXT)
    response = stub.Score(pb.ScoreRequest(model="verse", text=TEXT))
    expect(pane(page, "done").locator(".stats")).to_contain_text(f"{response.bits_per_character:.2f} bits/character")
    assert text_of(pane(page, "done")) == TEXT


def test_the_arrow_keys_go_through_a_text(page: Page) -> None:
    score(page, TEXT)
    text = pane(page, "done").locator(".text")
    text.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        text.press(key)
    expect(page.locator("#card .card-head b")).to_have_text("M")
    expect(page.locator("#announce")).to_contain_text("M, ")
    text.press("Escape")
    expect(page.locator("#card")).to_be_hidden()


def test_an_unknown_character_is_named_or_left_out(open_page: Any, ports: tuple[int, int]) -> None:
    with open_page(ports[1], troubles=("400",)) as page:
        score(page, "naïve")
        expect(pane(page, "error").locator(".state")).to_contain_text("U+00EF")
        page.get_by_label("Leave out unknown characters").locator("visible=true").check()
        page.get_by_role("button", name="Score").click()
        assert text_of(pane(page, "done")) == "nave"


def test_signs_stand_for_characters_without_a_look(page: Page) -> None:
    characters = ["\0", "\x1b", "\u200b", "\u0301", "한", "\t", "\n", "\ufffd"]
    body = {"text": "".join(characters), "total_logprob": -1.0, "bits_per_character": 0.2}
    scored = [{"character": one, "logprob": -0.1, "top_logprobs": []} for one in characters]

    def answer(route: Route) -> None:
        route.fulfill(body=json.dumps({"model_digest": "", "scores": [{**body, "characters": scored}]}))

    page.route("**/v1/score", answer)
    score(page, "anything")
    signs = pane(page, "done").locator("[data-n]").evaluate_all("spans => spans.map(one => one.dataset.sign ?? '')")
    assert signs == ["␀", "␛", "U+200B", "◌\u0301", "", "", "", ""]


def test_a_gate_of_a_unit_shows_along_the_text(page: Page, stub: Any) -> None:
    read(page, TEXT)
    page.get_by_label("Gate or state").select_option("forget")
    page.get_by_label("Unit", exact=True).fill("449")
    page.get_by_label("Unit", exact=True).press("Enter")
    wish = pb.ActivationRequest(layer=0, units=[449])
    activations = stub.Score(pb.ScoreRequest(model="verse", text=TEXT, include_activations=wish)).activations
    values = np.reshape(activations.values, (len(TEXT), -1))[:, list(activations.quantities).index("forget")]
    expect(page.locator("#cells-result [data-n]").nth(4)).to_have_class(f"t{round(10 * float(values[4]))}")
    page.locator("#cells-result [data-n]").nth(4).hover()
    expect(page.locator("#cells-value")).to_have_text(f"Character 5, O: forget gate +{values[4]:.2f}")


def test_the_unit_that_follows_the_place_in_the_line_is_found(page: Page, stub: Any) -> None:
    text = (TEXT * 3)[:200]
    read(page, text)
    page.get_by_role("button", name="Find").click()
    row = page.locator("#found tbody tr").first
    row.wait_for()
    unit, r, check = (row.locator("td").nth(n).inner_text() for n in range(3))
    wish = pb.ActivationRequest(layer=0, units=[int(unit)])
    activations = stub.Score(pb.ScoreRequest(model="verse", text=text, include_activations=wish)).activations
    values = np.reshape(activations.values, (len(text), -1))[:, list(activations.quantities).index("cell")]
    places = [n - 1 - text.rfind("\n", 0, n + 1) if text[n] != "\n" else -1 for n in range(len(text))]
    for shown, part in ((r, slice(0, 100)), (check, slice(100, 200))):
        expected = float(np.corrcoef(values[part], np.add(places[part], 1))[0, 1])
        assert shown.replace("−", "-") == f"{expected:+.2f}"
    expect(page.locator("#cells-unit")).to_have_value(unit)


def test_a_feature_that_the_text_lacks_is_not_followed(page: Page) -> None:
    read(page, TEXT)
    page.locator("#find-feature").select_option("quotes")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#cells-state")).to_contain_text("too little of this")


def test_a_korean_text_of_jamo_is_shown_in_syllables(page: Page) -> None:
    page.get_by_role("tab", name="Score").click()
    panel = page.get_by_role("tabpanel", name="Score")
    panel.get_by_label("verse").uncheck()
    panel.get_by_label("korean").check()
    score(page, "서울특별시 ㅋㅋㅋ")
    assert pane(page, "done").locator("[data-n]").all_inner_texts() == list("서울특별시 ㅋㅋㅋ")
