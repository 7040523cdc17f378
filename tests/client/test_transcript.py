"""Which events make a whole text."""

import pytest

from nextchar_client import (
    CharacterLogprob,
    Delta,
    Event,
    Finished,
    FinishReason,
    IncompleteStreamError,
    InternalError,
    Started,
    Usage,
)
from nextchar_client.transcript import Transcript

STARTED = Started("request-1", "tiny", "00ff", 7)
FINISHED = Finished(FinishReason.MAX_CHARACTERS, "", Usage(1, 2))


def delta(text: str, offset: int, *logprobs: float) -> Delta:
    return Delta(text, offset, tuple(CharacterLogprob(*place, ()) for place in zip(text, logprobs, strict=False)))


def take(*events: Event, with_logprobs: bool = False) -> None:
    transcript = Transcript(with_logprobs=with_logprobs)
    for event in events:
        transcript.add(event)
    transcript.end()


@pytest.mark.parametrize("deltas", [(), (delta("a", 0),), (delta("한\0", 0), delta("b", 2))])
def test_deltas_that_continue_each_other_are_whole(deltas: tuple[Delta, ...]) -> None:
    take(STARTED, *deltas, FINISHED)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        (
            (STARTED, delta("a", 0), delta("b", 997), FINISHED),
            "character 997 in place of 1: 996 characters are missing",
        ),
        ((STARTED, delta("a", 2**64 - 1), FINISHED), "in place of 0"),
        ((STARTED, delta("ab", 0), delta("b", 1), FINISHED), "character 1 in place of 2: 1 characters are repeated"),
        ((STARTED, delta("", 0), FINISHED), "empty"),
        ((delta("a", 0), FINISHED), "Delta came in place of Started"),
        ((FINISHED,), "Finished came in place of Started"),
        ((STARTED, STARTED, FINISHED), "Started came in place of Delta or Finished"),
        ((STARTED, FINISHED, FINISHED), "Finished came after Finished"),
        ((STARTED, FINISHED, delta("a", 0)), "Delta came after Finished"),
        ((STARTED, delta("a", 0)), "without its last event"),
        ((), "without its last event"),
    ],
)
def test_any_other_sequence_is_refused_with_what_was_expected(events: tuple[Event, ...], complaint: str) -> None:
    with pytest.raises(IncompleteStreamError, match=complaint) as caught:
        take(*events)
    assert isinstance(caught.value, InternalError)


@pytest.mark.parametrize("logprobs", [(), (-1.0,), (-1.0, float("nan"))])
def test_each_character_needs_its_log_probability_if_they_were_asked_for(logprobs: tuple[float, ...]) -> None:
    with pytest.raises(IncompleteStreamError, match="log-probabilit"):
        take(STARTED, delta("ab", 0, *logprobs), FINISHED, with_logprobs=True)
    take(STARTED, delta("ab", 0, -1, -2), FINISHED, with_logprobs=True)
