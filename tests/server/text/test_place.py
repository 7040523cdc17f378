"""The place that a text has reached: wherever a text was cut, a decoder that begins there continues it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_server.text.text import TextBuilder
from tests.support.scripted_runner import chunk_of

SYMBOLS = "가값각a\u0301\u0323\u0316 b"
ALPHABETS: dict[Kind, Alphabet] = {kind: Alphabet.of(SYMBOLS * 2, kind) for kind in ("jamo", "bytes")}
MOST = 1000


def check(alphabet: Alphabet, ids: list[int], stops: list[str], most: int) -> None:
    """Cuts the text of ``ids`` behind each id, and compares the sent part and its continuation with the whole."""
    undisturbed = TextBuilder(alphabet, MOST)
    whole = undisturbed.feed(chunk_of(ids)).text + undisturbed.end().text
    builder = TextBuilder(alphabet, most, stops)
    sent = ""
    for id_ in ids:
        sent += builder.feed(chunk_of([id_])).text
        if builder.stopped_by:
            sent = whole[: builder.generated]
        place, skip = builder.place
        rest = TextBuilder(alphabet, MOST, skip=skip)
        assert sent + rest.feed(chunk_of(ids[place:])).text + rest.end().text == whole


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
@given(
    text=st.text("가각각a\u0301\u0323\u0316 b", max_size=8),
    stops=st.lists(st.text("가a\u0301\u0316 ", min_size=1, max_size=3), max_size=2),
    most=st.integers(1, 8),
)
def test_a_text_continues_from_every_place(kind: Kind, text: str, stops: list[str], most: int) -> None:
    alphabet = ALPHABETS[kind]
    if kind == "bytes":
        ids = [1 + byte for byte in text.encode()]
    else:
        ids = [id_ for character in text for id_ in alphabet.encode(character).tolist()]
    check(alphabet, ids, stops, most)


@pytest.mark.parametrize("count", [29, 30, 31, 32, 33, 70])
def test_a_text_continues_within_a_run_of_marks(count: int) -> None:
    marks = "".join("\u0301\u0323\u0316"[n % 3] for n in range(count))
    ids = [1 + byte for byte in f"a{marks}b{marks}c".encode()]
    check(ALPHABETS["bytes"], ids, ["b\u0301"], MOST)
    check(ALPHABETS["bytes"], ids, ["zz"], 20)
