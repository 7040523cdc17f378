"""Text from ids: stop sequences, text held back for them, and log-probabilities of characters."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_server.engine.stream import IdChunk
from nextchar_server.text.text import Characters, ReadText, TextBuilder, TextChunk
from tests.support.scripted_runner import chunk_of

ALPHABET = Alphabet.of("\nabcdé가😀")


def ids_of(text: str) -> list[int]:
    return [int(id_) for id_ in ALPHABET.encode(text)]


def bare(text: str) -> IdChunk:
    """Returns the ids of ``text``, without log-probabilities."""
    return chunk_of(ids_of(text))


def rich(text: str, first: int = 0) -> IdChunk:
    """Returns the ids of ``text``. Character n has the log-probability -(first + n), and itself as an alternative."""
    ids = ids_of(text)
    return chunk_of(ids, [-first - n for n in range(len(ids))], [[(id_, -0.5), (0, -n)] for n, id_ in enumerate(ids)])


def entries(chunk: TextChunk) -> list[tuple[str, float, list[tuple[str, float]]]]:
    """Returns each character of ``chunk`` with its log-probability and its alternatives; empty if it has none."""
    columns = chunk.logprobs
    if columns is None:
        return []
    rows = zip(
        chunk.text,
        columns.own.tolist(),
        columns.alternatives.tolist(),
        columns.alternative_logprobs.tolist(),
        strict=True,
    )
    return [(own, value, list(zip(map(chr, codes), values, strict=True))) for own, value, codes, values in rows]


def texts(
    chunks: Sequence[str], stops: Sequence[str], *, include: bool = False, flush: bool = True
) -> tuple[list[str], str]:
    """Returns the text chunks that ``chunks`` lead to, and the stop sequence that was found."""
    builder = TextBuilder(ALPHABET, 1000, stops, include)
    given = [builder.feed(bare(text)).text for text in chunks]
    return [*given, builder.end().text] if flush else given, builder.stopped_by


def expected(text: str, stops: Sequence[str], include: bool) -> tuple[str, str, int]:
    """Goes through ``text`` character by character: returns the output, its stop sequence, and the characters used."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            stop = max(complete, key=len)
            return text[: end if include else end - len(stop)], stop, end
    return text, "", len(text)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    """A text of few letters, cut into chunks, some of them empty."""
    text = draw(st.text("abc", max_size=30))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


STOPS = st.lists(st.text("abc", min_size=1, max_size=5), max_size=4)


@given(chunks=cut_texts(), stops=STOPS, include=st.booleans())
def test_text_and_stop_do_not_depend_on_the_chunks(chunks: list[str], stops: list[str], include: bool) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops, include)
    text = "".join([builder.feed(bare(chunk)).text for chunk in chunks] + [builder.end().text])
    assert (text, builder.stopped_by, builder.generated) == expected("".join(chunks), stops, include)


@given(chunks=cut_texts(), stops=STOPS, include=st.booleans())
def test_log_probabilities_stay_beside_their_characters(chunks: list[str], stops: list[str], include: bool) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops, include)
    outputs, fed = [], 0
    for chunk in chunks:
        outputs.append(builder.feed(rich(chunk, fed)))
        fed += len(chunk)
    outputs.append(builder.end())
    text = "".join(output.text for output in outputs)
    given_ = [entry for output in outputs for entry in entries(output)]
    assert [(own, value, alternatives[0]) for own, value, alternatives in given_] == [
        (character, -float(n), (character, -0.5)) for n, character in enumerate(text)
    ]


@given(chunks=cut_texts(), stops=STOPS)
def test_output_is_never_part_of_the_stop_sequence(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops)
    given_ = ""
    for chunk in chunks:
        given_ += builder.feed(bare(chunk)).text
        whole, _, _ = expected("".join(chunks), stops, include=False)
        assert whole.startswith(given_)


@given(chunks=cut_texts(), stops=STOPS)
def test_only_a_possible_stop_sequence_is_held_back(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops)
    fed = given_ = ""
    for chunk in chunks:
        fed, given_ = fed + chunk, given_ + builder.feed(bare(chunk)).text
        held = fed[len(given_) :]
        if not builder.stopped_by:
            assert held == "" or any(stop.startswith(held) for stop in stops)


def test_without_stop_sequences_nothing_is_held_back() -> None:
    assert texts(["ab", "c", "d\n"], []) == (["ab", "c", "d\n", ""], "")


def test_a_stop_sequence_within_a_chunk_ends_the_text_before_it() -> None:
    assert texts(["abcd"], ["bc"]) == (["a", ""], "bc")


def test_a_stop_sequence_that_spans_chunks_is_found() -> None:
    assert texts(["ab", "c", "dab"], ["bcd"]) == (["a", "", "", ""], "bcd")


def test_a_stop_sequence_is_part_of_the_text_if_asked_for() -> None:
    assert texts(["ab", "c", "dab"], ["bcd"], include=True) == (["a", "", "bcd", ""], "bcd")


def test_held_back_text_comes_once_it_cannot_be_a_stop_sequence() -> None:
    assert texts(["ab", "c", "a"], ["bcd"]) == (["a", "", "bca", ""], "")


def test_text_held_back_at_the_end_is_flushed() -> None:
    assert texts(["ab", "c"], ["bcd"]) == (["a", "", "bc"], "")


def test_a_stop_sequence_that_begins_within_its_own_false_start_is_found() -> None:
    assert texts(["aa", "a", "ab"], ["aab"]) == (["", "a", "a", ""], "aab")


def test_of_overlapping_stop_sequences_the_one_complete_first_wins() -> None:
    assert texts(["abcd"], ["abcd", "bc"]) == (["a", ""], "bc")


def test_of_two_stop_sequences_with_one_end_the_longer_wins() -> None:
    assert texts(["dabc"], ["c", "abc", "bc"]) == (["d", ""], "abc")


def test_a_stop_sequence_that_is_the_whole_text_leaves_no_text() -> None:
    assert texts(["a", "b"], ["ab"]) == (["", "", ""], "ab")


def test_after_a_stop_sequence_nothing_follows() -> None:
    builder = TextBuilder(ALPHABET, 1000, ["b"])
    builder.feed(bare("abc"))
    assert builder.feed(bare("ab")).text == ""
    assert builder.end().text == ""
    assert builder.generated == 2


def test_flushing_twice_returns_the_text_once() -> None:
    builder = TextBuilder(ALPHABET, 1000, ["ab"])
    builder.feed(bare("a"))
    assert [builder.end().text, builder.end().text] == ["a", ""]


@pytest.mark.parametrize(("include", "text"), [(False, "a"), (True, "abc")])
def test_the_stop_sequence_counts_as_generated_and_what_follows_does_not(include: bool, text: str) -> None:
    builder = TextBuilder(ALPHABET, 1000, ["bc"], include)
    assert builder.feed(bare("abcddd")).text == text
    assert builder.generated == 3


def test_a_character_beyond_the_basic_plane_is_one_character() -> None:
    assert texts(["가😀", "é\n"], ["😀é"]) == (["가", "", ""], "😀é")


def test_a_chunk_has_each_character_and_its_alternatives() -> None:
    a, b = ids_of("ab")
    chunk = Characters(ALPHABET).feed(chunk_of([a, b], [-0.5, -0.25], [[(b, -1), (0, -2)], [(a, -3), (b, -4)]]))
    assert entries(chunk) == [("a", -0.5, [("b", -1), ("\uffff", -2)]), ("b", -0.25, [("a", -3), ("b", -4)])]


def test_a_chunk_of_bare_ids_has_no_log_probabilities() -> None:
    chunk = Characters(ALPHABET).feed(bare("ab"))
    assert (chunk.text, chunk.logprobs) == ("ab", None)


def test_a_character_composed_of_several_symbols_has_their_sum_and_no_alternatives() -> None:
    alphabet = Alphabet(("a", "\u0301"))
    ids = [(1, -1.0, [(2, -5.0)]), (2, -0.5, [(1, -6.0)]), (1, -2.0, [(0, -7.0)])]
    for cuts in ((3,), (1, 2), (2, 1), (1, 1, 1)):
        characters, given_, left = Characters(alphabet), [], ids
        for size in cuts:
            part, left = left[:size], left[size:]
            given_.append(characters.feed(chunk_of(*zip(*part, strict=True))))
        chunk = TextChunk.join([*given_, characters.flush()])
        assert entries(chunk) == [("\u00e1", -1.5, [("\ufffe", 0)]), ("a", -2, [("\uffff", -7)])]


@given(data=st.data(), kind=st.sampled_from(["characters", "jamo", "bytes"]))
def test_a_text_that_is_read_comes_as_it_was_spelled_however_its_ids_are_chunked(
    data: st.DataObject, kind: Kind
) -> None:
    alphabet = Alphabet.of(KOREAN, kind)
    spelling = alphabet.spell(data.draw(st.text(KOREAN, max_size=20)))
    read, left, place = ReadText(alphabet, spelling), len(spelling.ids), 0
    chunks = []
    while left:
        assert read.left == left
        size = data.draw(st.integers(1, left))
        part = spelling.ids[place : place + size].tolist()
        chunks.append(read.feed(chunk_of(part, [-float(place + n) for n in range(size)])))
        place, left = place + size, left - size
    whole, ends = TextChunk.join(chunks), spelling.lengths.cumsum().tolist()
    assert whole.text == spelling.text
    assert [value for _, value, _ in entries(whole)] == [
        -float(sum(range(end - length, end))) for end, length in zip(ends, spelling.lengths, strict=True)
    ]


@given(chunks=cut_texts(), stops=STOPS, most=st.integers(1, 20))
def test_a_text_has_at_most_the_characters_asked_for(chunks: list[str], stops: list[str], most: int) -> None:
    builder = TextBuilder(ALPHABET, most, stops)
    text = "".join([builder.feed(bare(chunk)).text for chunk in chunks] + [builder.end().text])
    assert (text, builder.stopped_by, builder.generated) == expected("".join(chunks)[:most], stops, include=False)
    assert builder.is_complete == (builder.stopped_by != "" or len("".join(chunks)) >= most)


# Alphabets whose characters are several symbols.

KOREAN = "가방에 값이 없다. ㅋㅋ é"


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
@given(data=st.data(), stops=st.lists(st.text("가값다 é", min_size=1, max_size=3), max_size=3))
def test_limits_stops_and_log_probabilities_are_of_characters(
    kind: Kind, data: st.DataObject, stops: list[str]
) -> None:
    alphabet = Alphabet.of(KOREAN, kind)
    text = data.draw(st.text(KOREAN, max_size=20))
    spelling, most = alphabet.spell(text), data.draw(st.integers(1, 20))
    builder = TextBuilder(alphabet, most, stops)
    chunks = [builder.feed(chunk_of([id_], [-float(n)])) for n, id_ in enumerate(spelling.ids.tolist())]
    whole = TextChunk.join([*chunks, builder.end()])
    assert (whole.text, builder.stopped_by, builder.generated) == expected(text[:most], stops, include=False)
    ends = spelling.lengths.cumsum().tolist()
    of_characters = [-float(sum(range(end - length, end))) for end, length in zip(ends, spelling.lengths, strict=True)]
    assert [value for _, value, _ in entries(whole)] == of_characters[: len(whole.text)]


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
def test_a_text_that_ends_in_half_a_character_ends_with_what_it_has(kind: Kind) -> None:
    alphabet = Alphabet.of(KOREAN, kind)
    builder = TextBuilder(alphabet, 10)
    text = builder.feed(chunk_of(alphabet.encode("가방").tolist()[:-1])).text + builder.end().text
    assert text == "가" + {"jamo": "바", "bytes": "\ufffd"}[kind]
