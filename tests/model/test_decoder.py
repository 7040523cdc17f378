"""The decoder: composition, broken bytes, and the same text however the ids are chunked."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.decoder import MAX_SEGMENT, Decoder, decode, is_one_to_one, max_ids

TEXT = "아버지가 방에 들어가신다. ㅋㅋ 값 é ạ́ ć\u0323 नमस्ते क़ ok\n😀 हिन्दी ᄒ"
KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
ALPHABETS = {kind: Alphabet.of(TEXT, kind) for kind in KINDS}


def ids_of(kind: Kind) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, ALPHABETS[kind].size - 1), max_size=60)


def fed(alphabet: Alphabet, chunks: Sequence[Sequence[int]]) -> tuple[list[str], list[int]]:
    """Decodes ``chunks`` and returns the pieces of text, and how many ids made each character."""
    decoder = Decoder(alphabet)
    parts = [*(decoder.feed(chunk) for chunk in chunks), decoder.flush()]
    return [text for text, _ in parts], [count for _, counts in parts for count in counts]


def raw(alphabet: Alphabet, ids: Sequence[int]) -> str:
    """Returns the text of ``ids`` before it is composed."""
    if alphabet.kind == "bytes":
        return bytes(id_ - 1 for id_ in ids).decode(errors="replace")
    return "".join(alphabet.symbols[id_ - 1] for id_ in ids)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.slow
def test_any_ids_become_their_composed_text_however_they_are_chunked(kind: Kind, data: st.DataObject) -> None:
    alphabet, ids = ALPHABETS[kind], data.draw(ids_of(kind))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    chunks = [ids[start:end] for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    whole = fed(alphabet, [ids])
    for pieces, lengths in (whole, fed(alphabet, chunks), fed(alphabet, [[id_] for id_ in ids])):
        text = "".join(pieces)
        assert unicodedata.normalize("NFC", raw(alphabet, ids)) == text.replace("\u034f", "")
        assert all(unicodedata.is_normalized("NFC", piece) for piece in [*pieces, text])
        assert len(lengths) == len(text)
        assert sum(lengths) == len(ids)
        assert min(lengths, default=0) >= 0
        assert (text, lengths) == ("".join(whole[0]), whole[1])
    assert decode(alphabet, ids) == "".join(whole[0])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(data=st.data())
def test_another_decoder_continues_from_the_pending_ids(kind: Kind, data: st.DataObject) -> None:
    alphabet, ids = ALPHABETS[kind], data.draw(ids_of(kind))
    expected = fed(alphabet, [ids])
    decoder = Decoder(alphabet)
    text = ""
    lengths: list[int] = []
    for id_ in ids:
        decoder = Decoder(alphabet, decoder.pending)
        piece, counts = decoder.feed([id_])
        text, lengths = text + piece, lengths + counts
    piece, counts = decoder.flush()
    assert (text + piece, lengths + counts) == ("".join(expected[0]), expected[1])


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from(TEXT), max_size=40))
def test_decoding_returns_the_encoded_text(kind: Kind, text: str) -> None:
    assume(all(map(ALPHABETS[kind].knows, unicodedata.normalize("NFC", text))))
    spelling = ALPHABETS[kind].spell(text)
    assert spelling.text == unicodedata.normalize("NFC", text)
    assert decode(ALPHABETS[kind], spelling.ids.tolist()) == spelling.text
    assert spelling.lengths.sum() == len(spelling.ids)
    assert len(spelling.lengths) == len(spelling.text)


def finished(kind: Kind, text: str, of: str = TEXT) -> list[str]:
    """Returns the text that each id of ``text`` finishes, and the rest, in the alphabet of the text ``of``."""
    alphabet = Alphabet.of(of, kind)
    decoder = Decoder(alphabet)
    return [*(decoder.feed([id_])[0] for id_ in alphabet.encode(text).tolist()), decoder.flush()[0]]


def test_a_syllable_waits_for_a_final_consonant_and_no_longer() -> None:
    korean = "아버지가 방에 값 ㅋㅋ"
    assert finished("jamo", "방", korean) == ["", "", "방", ""]
    assert finished("jamo", "가 ", korean) == ["", "", "가 ", ""]
    assert finished("jamo", "가방", korean) == ["", "", "가", "", "방", ""]
    assert finished("jamo", "가", korean) == ["", "", "가"]
    assert finished("jamo", "ㅋㅋ", korean) == ["ㅋ", "ㅋ", ""]


def test_a_base_waits_only_if_the_alphabet_has_a_mark() -> None:
    assert finished("jamo", "ab", "ab") == ["a", "b", ""]
    assert finished("jamo", "eéb", "éb e") == ["", "e", "", "éb"[0], "b"]
    assert finished("characters", "eb", "éb e") == ["e", "b", ""]
    assert finished("characters", "xb", "x\u0301b") == ["", "x", "b"]


def test_bytes_wait_for_their_character() -> None:
    assert finished("bytes", "é1") == ["", "", "é", "1"]
    assert "".join(finished("bytes", "가😀")) == "가😀"


@pytest.mark.parametrize(
    ("content", "text", "lengths"),
    [
        (b"a\xffb", "a\ufffdb", [1, 1, 1]),
        (b"\xed\x95x", "\ufffdx", [2, 1]),
        (b"\xed\x95", "\ufffd", [2]),
        (b"\xf0\x9f\x98", "\ufffd", [3]),
        (b"\xe0\x80", "\ufffd\ufffd", [1, 1]),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", [1, 1, 1]),  # half of a surrogate pair
        (b"\xed\x95\xed\x95\x9c", "\ufffd한", [2, 3]),
        (b"e\xcc\x81!", "é!", [3, 1]),
    ],
)
def test_each_maximal_subpart_of_invalid_utf8_is_replaced(content: bytes, text: str, lengths: list[int]) -> None:
    pieces, counts = fed(ALPHABETS["bytes"], [[byte + 1] for byte in content])
    assert ("".join(pieces), counts) == (text, lengths)
    assert content.decode(errors="replace") == text or b"\xcc" in content


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
def test_endless_marks_are_split(kind: Kind) -> None:
    alphabet = ALPHABETS[kind]
    marks = alphabet.encode("\u0301").tolist() * 100
    decoder = Decoder(alphabet)
    text = decoder.feed([*alphabet.encode("e").tolist(), *marks])[0]
    assert text.startswith("é" + "\u0301" * (MAX_SEGMENT - 2) + "\u034f")
    assert len(decoder.pending) <= MAX_SEGMENT * (2 if kind == "bytes" else 1)
    text += decoder.flush()[0]
    assert text.count("\u0301") == 99
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize(
    ("text", "kind", "one_to_one", "most"),
    [("abc가é", "characters", True, 7), ("abc", "jamo", True, 7), ("가", "jamo", False, 22), ("값", "jamo", False, 22)],
)
def test_the_bound_on_ids_depends_on_what_composes(text: str, kind: Kind, one_to_one: bool, most: int) -> None:
    alphabet = Alphabet.of(text, kind)
    assert is_one_to_one(alphabet) is one_to_one
    assert max_ids(alphabet, 7) == most


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_on_ids_is_enough_for_any_stream(kind: Kind) -> None:
    alphabet = ALPHABETS[kind]
    random = np.random.default_rng(0)
    for characters in (1, 2, 5):
        for _ in range(50):
            ids = random.integers(1, alphabet.size, max_ids(alphabet, characters)).tolist()
            assert len(Decoder(alphabet).feed(ids)[0]) >= characters
