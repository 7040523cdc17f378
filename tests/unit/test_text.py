"""Text from ids: stop sequences, what is held back for them, and log-probabilities beside characters."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_server.stream import Chunk
from nextchar_server.text import CharacterLogprob, Piece, TextBuilder, piece_of
from nextchar_training.alphabet import Alphabet

ALPHABET = Alphabet.of("\nabcdé가😀")


def chunk_of(text: str, first: int = 0) -> Chunk:
    """The chunk of ``text``: its character n has the log-probability -(first + n) and its own id for alternative."""
    ids = [int(id_) for id_ in ALPHABET.encode(text)]
    return Chunk(
        ids, [-float(first + n) for n in range(len(ids))], [[(id_, -0.5), (0, -float(n))] for n, id_ in enumerate(ids)]
    )


def pieces(
    chunks: Sequence[str], stops: Sequence[str], *, include: bool = False, flush: bool = True
) -> tuple[list[str], str]:
    """The pieces of text that ``chunks`` give, one after another, and the stop sequence that was found."""
    builder = TextBuilder(ALPHABET, stops, include)
    given = [builder.feed(Chunk(chunk_of(text).ids)).text for text in chunks]
    return [*given, builder.flush().text] if flush else given, builder.stopped_by


def expected(text: str, stops: Sequence[str], include: bool) -> tuple[str, str, int]:
    """What ``text`` gives, character by character: the text, what stopped it, and the characters that were needed."""
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
def test_text_and_stop_do_not_depend_on_how_the_ids_are_cut(chunks: list[str], stops: list[str], include: bool) -> None:
    builder = TextBuilder(ALPHABET, stops, include)
    text = "".join([builder.feed(chunk_of(chunk)).text for chunk in chunks] + [builder.flush().text])
    assert (text, builder.stopped_by, builder.generated) == expected("".join(chunks), stops, include)


@given(chunks=cut_texts(), stops=STOPS, include=st.booleans())
def test_log_probabilities_stay_beside_their_characters(chunks: list[str], stops: list[str], include: bool) -> None:
    builder = TextBuilder(ALPHABET, stops, include)
    text, logprobs, fed = "", [], 0
    for chunk in chunks:
        piece = builder.feed(chunk_of(chunk, fed))
        assert len(piece.logprobs) == len(piece.text)
        text, logprobs, fed = text + piece.text, [*logprobs, *piece.logprobs], fed + len(chunk)
    piece = builder.flush()
    text, logprobs = text + piece.text, [*logprobs, *piece.logprobs]
    assert "".join(entry.character for entry in logprobs) == text
    assert [entry.logprob for entry in logprobs] == [-float(n) for n in range(len(text))]
    assert all(entry.alternatives[0] == (entry.character, -0.5) for entry in logprobs)


@given(chunks=cut_texts(), stops=STOPS)
def test_what_was_given_is_never_part_of_the_stop_sequence(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, stops)
    given_ = ""
    for chunk in chunks:
        given_ += builder.feed(chunk_of(chunk)).text
        whole, _, _ = expected("".join(chunks), stops, include=False)
        assert whole.startswith(given_)


@given(chunks=cut_texts(), stops=STOPS)
def test_no_more_is_held_back_than_may_be_a_stop_sequence(chunks: list[str], stops: list[str]) -> None:
    builder = TextBuilder(ALPHABET, stops)
    fed = given_ = ""
    for chunk in chunks:
        fed, given_ = fed + chunk, given_ + builder.feed(chunk_of(chunk)).text
        held = fed[len(given_) :]
        if not builder.stopped_by:
            assert held == "" or any(stop.startswith(held) for stop in stops)


def test_without_stop_sequences_everything_is_given_at_once() -> None:
    assert pieces(["ab", "c", "d\n"], []) == (["ab", "c", "d\n", ""], "")


def test_a_stop_sequence_within_a_chunk_ends_the_text_before_it() -> None:
    assert pieces(["abcd"], ["bc"]) == (["a", ""], "bc")


def test_a_stop_sequence_that_spans_chunks_is_found() -> None:
    assert pieces(["ab", "c", "dab"], ["bcd"]) == (["a", "", "", ""], "bcd")


def test_a_stop_sequence_is_part_of_the_text_where_asked_for() -> None:
    assert pieces(["ab", "c", "dab"], ["bcd"], include=True) == (["a", "", "bcd", ""], "bcd")


def test_what_might_have_been_a_stop_sequence_is_given_once_it_is_not() -> None:
    assert pieces(["ab", "c", "a"], ["bcd"]) == (["a", "", "bca", ""], "")


def test_what_is_held_back_at_the_end_is_flushed() -> None:
    assert pieces(["ab", "c"], ["bcd"]) == (["a", "", "bc"], "")


def test_a_stop_sequence_that_begins_within_its_own_false_start_is_found() -> None:
    assert pieces(["aa", "a", "ab"], ["aab"]) == (["", "a", "a", ""], "aab")


def test_of_overlapping_stop_sequences_the_one_complete_first_wins() -> None:
    assert pieces(["abcd"], ["abcd", "bc"]) == (["a", ""], "bc")


def test_of_two_stop_sequences_with_one_end_the_longer_wins() -> None:
    assert pieces(["dabc"], ["c", "abc", "bc"]) == (["d", ""], "abc")


def test_a_stop_sequence_that_is_the_whole_text_leaves_none() -> None:
    assert pieces(["a", "b"], ["ab"]) == (["", "", ""], "ab")


def test_after_a_stop_sequence_nothing_comes_any_more() -> None:
    builder = TextBuilder(ALPHABET, ["b"])
    builder.feed(chunk_of("abc"))
    assert builder.feed(chunk_of("ab")) == Piece()
    assert builder.flush() == Piece()
    assert builder.generated == 2


def test_flushing_twice_gives_it_once() -> None:
    builder = TextBuilder(ALPHABET, ["ab"])
    builder.feed(chunk_of("a"))
    assert [builder.flush().text, builder.flush().text] == ["a", ""]


@pytest.mark.parametrize(("include", "text"), [(False, "a"), (True, "abc")])
def test_the_stop_sequence_counts_as_generated_and_what_follows_does_not(include: bool, text: str) -> None:
    builder = TextBuilder(ALPHABET, ["bc"], include)
    assert builder.feed(chunk_of("abcddd")).text == text
    assert builder.generated == 3


def test_characters_of_any_plane_are_one_each() -> None:
    assert pieces(["가😀", "é\n"], ["😀é"]) == (["가", "", ""], "😀é")


def test_a_piece_has_each_character_and_its_alternatives() -> None:
    a, b = (int(id_) for id_ in ALPHABET.encode("ab"))
    piece = piece_of(ALPHABET, Chunk([a, b], [-0.1, -0.2], [[(b, -1.0), (0, -2.0)], []]))
    assert piece == Piece(
        "ab",
        [CharacterLogprob("a", -0.1, (("b", -1.0), ("", -2.0))), CharacterLogprob("b", -0.2, ())],
    )


def test_a_piece_without_log_probabilities_has_none() -> None:
    assert piece_of(ALPHABET, Chunk(chunk_of("ab").ids)) == Piece("ab", ())
