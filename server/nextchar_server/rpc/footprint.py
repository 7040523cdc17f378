"""Footprints: the most memory that a call takes, in bytes, computed before it takes it.

Stands beside ``requests``. The figures are upper bounds of the growth of the resident memory that was measured with
hundreds of calls of each kind that nobody reads (decision 21).
"""

from __future__ import annotations

from nextchar_model.description import ModelDescription

from ..engine.stream import OUTBOX_BYTES, OUTBOX_IDS
from ..engine.tree import MOST_NODES, NODE_BYTES, WIDTH

CALL = 64 * 2**10
"""Of any call: gRPC's own part, the tasks, the objects of the handler, a row."""

PER_MESSAGE_BYTE = 16
"""Per byte of a message: the message itself, raw and parsed, its text, and an id of 8 bytes for each character."""

_CHUNKS = 24 * 2**10
"""Of an outbox: its arrays, each of which is 200 bytes larger than its content."""

_CHUNK = 1024
"""Of a chunk in an outbox: four arrays, and the objects around them."""

_SAMPLE = 10 * 2**10
"""Of one of several texts of a call: its task, its stream, its builder."""

_COPIES = 4
"""Of log-probabilities that nobody reads: in the outbox, in the message, in its bytes, and in gRPC's buffer."""


_OUTCOME = 200
"""Of an id behind a node: its log-probability in all its forms, and the child that it makes."""

_MOST_STEPS = 256
_ALTERNATIVE = 12
_TEXT = 16
"""Per character of an answer: its part of a piece of text, and up to 4 bytes in each copy."""


def row(description: ModelDescription) -> int:
    """Of a row in a batch: its state, and its biases twice."""
    return 2 * (description.state_bytes + 8 * description.alphabet.size)


def search(description: ModelDescription) -> int:
    """Of a search: the states of its nodes, the nodes in all their orders, and the log-probabilities of a step."""
    return MOST_NODES * (description.state_bytes + NODE_BYTES) + _OUTCOME * WIDTH * description.alphabet.size


def details(description: ModelDescription) -> int:
    """Of the ranks of a row: the alternatives of a turn of the most steps, each all symbols and their logarithms."""
    return _MOST_STEPS * _ALTERNATIVE * description.alphabet.size


def snapshots(description: ModelDescription, count: int) -> int:
    """Of ``count`` snapshots of a row, and of the token on its way."""
    return (count + _COPIES) * description.state_bytes


def description(size: int) -> int:
    """Of a description of models of ``size`` bytes: the message, its bytes, and gRPC's buffer."""
    return 4 * size


def stream(top_logprobs: int | None) -> int:
    """Of a stream of text: its outbox, and the message on its way."""
    return _CHUNKS + _COPIES * min(OUTBOX_IDS * _entry(top_logprobs), OUTBOX_BYTES)


def answer(characters: int, top_logprobs: int | None) -> int:
    """Of an answer of ``characters`` characters that is sent whole, and of all its parts."""
    return stream(top_logprobs) + characters * (_TEXT + _COPIES * _entry(top_logprobs))


def sample(description: ModelDescription, characters: int, top_logprobs: int | None) -> int:
    """Of one of several texts of a call, of ``characters`` characters at most: its row, its objects, its answer."""
    entry = _entry(top_logprobs)
    outbox = min(_CHUNKS, _CHUNK * characters) + _COPIES * min(characters * entry, OUTBOX_IDS * entry, OUTBOX_BYTES)
    return row(description) + _SAMPLE + outbox + characters * (_TEXT + _COPIES * entry)


def activations(values: int) -> int:
    """Of ``values`` values of units: on their way to characters, in the message, in its bytes, and in gRPC's buffer."""
    return 4 * _COPIES * values


def _entry(top_logprobs: int | None) -> int:
    """Size of an id with its log-probabilities."""
    return 4 if top_logprobs is None else 8 + 8 * top_logprobs
