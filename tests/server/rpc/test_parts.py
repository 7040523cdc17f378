"""Parts of a text: put together, they are spelled like the whole text, wherever it was cut."""

import random

import numpy as np
import pytest

from nextchar_model.alphabet import Alphabet, Kind, Spelling, Unknown
from nextchar_server.rpc import texts
from nextchar_server.rpc.errors import InvalidArgumentError
from nextchar_server.rpc.parts import SpelledParts
from tests.support.asking import finished

COMPOSED = "ae\u0301\u0323 \u1100\u1161\u11a8\uac00\u11a8\u1100\u1161b\u0301\u0323e\u0301"
ALPHABETS = [
    Alphabet.of("abeé가각 \u0323\u0301", "characters"),
    Alphabet.of("abeé가각 ", "jamo"),
    Alphabet.of("", "bytes"),
]


def in_parts(parts: list[str], alphabet: Alphabet, unknown: Unknown, replacement: str) -> Spelling:
    """Returns the spelling of all ``parts`` together."""
    spelled = SpelledParts(alphabet, "text", unknown, replacement)
    spellings = [*(spelled.add(part) for part in parts), spelled.add("", is_end=True)]
    return Spelling(
        "".join(one.text for one in spellings),
        np.concatenate([one.ids for one in spellings]),
        np.concatenate([one.lengths for one in spellings]),
    )


def random_cuts(text: str, choice: random.Random) -> list[str]:
    cuts = sorted(choice.choices(range(len(text) + 1), k=4))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=lambda alphabet: alphabet.kind)
@pytest.mark.parametrize(("unknown", "replacement"), [("skip", ""), ("replace", "b"), ("replace", "é")])
def test_a_text_in_parts_is_spelled_like_the_whole(alphabet: Alphabet, unknown: Unknown, replacement: str) -> None:
    choice = random.Random(0)
    for _ in range(200):
        text = "".join(choice.choices(COMPOSED + "\u2603x\u0327", k=30))
        whole = finished(texts.composed(text, "text", 1000))
        assert whole is not None
        expected = finished(texts.spelled(whole, "text", alphabet, unknown, replacement))
        spelling = in_parts(random_cuts(text, choice), alphabet, unknown, replacement)
        assert spelling.text == expected.text
        assert np.array_equal(spelling.ids, expected.ids)
        assert np.array_equal(spelling.lengths, expected.lengths)


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_a_text_of_known_characters_in_parts_is_spelled_like_the_whole(kind: Kind) -> None:
    choice = random.Random(1)
    for _ in range(200):
        text = "".join(choice.choices(COMPOSED, k=30))
        alphabet = Alphabet.of(text, kind)
        spelling, expected = in_parts(random_cuts(text, choice), alphabet, "error", ""), alphabet.spell(text)
        assert spelling.text == expected.text
        assert np.array_equal(spelling.ids, expected.ids)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["ab", "e", "\u0301\u2603"], "text: character '☃' (U+2603) at offset 3 is not in the model's alphabet"),
        (["ab" + "\u0301" * 20, "\u0301" * 20], "text: more than 30 combining marks in a row, at code point 32"),
        (["a" + "\u09be" * 70], "text: more than 64 joined code points from character 0 on"),
    ],
)
def test_what_is_refused_is_named_with_its_place_in_the_whole_text(parts: list[str], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        in_parts(parts, ALPHABETS[0], "error", "")
    assert caught.value.message == message
