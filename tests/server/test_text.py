"""Text from ids: stop sequences, text held back for them, and log-probabilities of characters."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_server.engine.stream import IdChunk
from nextchar_server.text import CharacterLogprob, Characters, TextBuilder, TextChunk

ALPHABET = Alphabet.of("\nabcdé가😀")


def chunk_of(text: str, first: int = 0) -> IdChunk:
    """Returns the ids of ``text``. Character n has the log-probability -(first + n), and itself as an alternative."""
    ids = [int(id_) for id_ in ALPHABET.encode(text)]
    return IdChunk(
        ids, [-float(first + n) for n in range(len(ids))], [[(id_, -0.5), (0, -float(n))] for n, id_ in enumerate(ids)]
    )


def texts(
    chunks: Sequence[str], stops: Sequence[str], *, include: bool = False, flush: bool = True
) -> tuple[list[str], str]:
    """Returns the text chunks that ``chunks`` lead to, and the stop sequence that was found."""
    builder = TextBuilder(ALPHABET, 1000, stops, include)
    given = [builder.feed(IdChunk(chunk_of(text).ids)).text for text in chunks]
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
    text = "".join([builder.feed(chunk_of(chunk)).text for chunk in chunks] + [builder.end().text])
    assert (text, builder.stopped_by, builder.generated) == expected("".join(chunks), stops, include)


@given(chunks=cut_texts(), stops=STOPS, include=st.booleans())
def test_log_probabilities_stay_beside_their_characters(chunks: list[str], stops: list[str], include: bool) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops, include)
    logprobs: list[CharacterLogprob] = []
    text, fed = "", 0
    for chunk in chunks:
        output = builder.feed(chunk_of(chunk, fed))
        assert len(output.logprobs) == len(output.text)
        text, logprobs, fed = text + output.text, [*logprobs, *output.logprobs], fed + len(chunk)
    output = builder.end()
    text, logprobs = text + output.text, [*logprobs, *output.logprobs]
    assert "".join(entry.character for entry in logprobs) == text
    assert [entry.logprob for entry in logprobs] == [-float(n) for n in range(len(text))]
    assert all(entry.alternatives[0] == (entry.character, -0.5) for entry in logprobs)


@given(chunks=cut_texts(), stops=STOPS)
def test_output_is_never_part_of_the_stop_sequence(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops)
    given_ = ""
    for chunk in chunks:
        given_ += builder.feed(chunk_of(chunk)).text
        whole, _, _ = expected("".join(chunks), stops, include=False)
        assert whole.startswith(given_)


@given(chunks=cut_texts(), stops=STOPS)
def test_only_a_possible_stop_sequence_is_held_back(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, 1000, stops)
    fed = given_ = ""
    for chunk in chunks:
        fed, given_ = fed + chunk, given_ + builder.feed(chunk_of(chunk)).text
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
    builder.feed(chunk_of("abc"))
    assert builder.feed(chunk_of("ab")) == TextChunk()
    assert builder.end() == TextChunk()
    assert builder.generated == 2


def test_flushing_twice_returns_the_text_once() -> None:
    builder = TextBuilder(ALPHABET, 1000, ["ab"])
    builder.feed(chunk_of("a"))
    assert [builder.end().text, builder.end().text] == ["a", ""]


@pytest.mark.parametrize(("include", "text"), [(False, "a"), (True, "abc")])
def test_the_stop_sequence_counts_as_generated_and_what_follows_does_not(include: bool, text: str) -> None:
    builder = TextBuilder(ALPHABET, 1000, ["bc"], include)
    assert builder.feed(chunk_of("abcddd")).text == text
    assert builder.generated == 3


def test_a_character_beyond_the_basic_plane_is_one_character() -> None:
    assert texts(["가😀", "é\n"], ["😀é"]) == (["가", "", ""], "😀é")


def test_a_chunk_has_each_character_and_its_alternatives() -> None:
    a, b = (int(id_) for id_ in ALPHABET.encode("ab"))
    chunk = Characters(ALPHABET).feed(IdChunk([a, b], [-0.1, -0.2], [[(b, -1.0), (0, -2.0)], []]))
    assert chunk == TextChunk(
        "ab",
        [CharacterLogprob("a", -0.1, (("b", -1.0), ("", -2.0))), CharacterLogprob("b", -0.2, ())],
    )


def test_a_chunk_of_bare_ids_has_no_log_probabilities() -> None:
    assert Characters(ALPHABET).feed(IdChunk(chunk_of("ab").ids)) == TextChunk("ab", ())


@given(chunks=cut_texts(), stops=STOPS, most=st.integers(1, 20))
def test_a_text_has_at_most_the_characters_asked_for(chunks: list[str], stops: list[str], most: int) -> None:
    builder = TextBuilder(ALPHABET, most, stops)
    text = "".join([builder.feed(chunk_of(chunk)).text for chunk in chunks] + [builder.end().text])
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
    logprobs: list[CharacterLogprob] = []
    whole = ""
    for n, id_ in enumerate(spelling.ids.tolist()):
        chunk = builder.feed(IdChunk([id_], [-float(n)], [[]]))
        whole, logprobs = whole + chunk.text, [*logprobs, *chunk.logprobs]
    chunk = builder.end()
    whole, logprobs = whole + chunk.text, [*logprobs, *chunk.logprobs]
    assert (whole, builder.stopped_by, builder.generated) == expected(text[:most], stops, include=False)
    ends = spelling.lengths.cumsum().tolist()
    of_characters = [-float(sum(range(end - length, end))) for end, length in zip(ends, spelling.lengths, strict=True)]
    assert [entry.logprob for entry in logprobs] == of_characters[: len(whole)]
    assert "".join(entry.character for entry in logprobs) == whole


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
def test_a_text_that_was_broken_off_ends_with_a_whole_character(kind: Kind) -> None:
    alphabet = Alphabet.of(KOREAN, kind)
    ids = alphabet.encode("가방").tolist()
    for broken_off, last in (
        (True, {"jamo": "바", "bytes": ""}[kind]),
        (False, {"jamo": "바", "bytes": "\ufffd"}[kind]),
    ):
        builder = TextBuilder(alphabet, 10)
        text = builder.feed(IdChunk(ids[:-1])).text + builder.end(broken_off=broken_off).text
        assert text == "가" + last
