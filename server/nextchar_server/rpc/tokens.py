"""Resume tokens: where a text stands, signed, for its caller to keep.

A replica that has the same model file, the same numeric class and one of the same keys continues the text from a token.
Stands beside ``requests``, which reads tokens, and ``generation``, which makes them.

    version        1 byte
    class length   1
    ahead          1   ids of the tail that begin the continuation
    skip           2   characters after the state that were sent already
    tail count     2
    digest        32   SHA-256 of the model file
    seed           8
    position       8   random numbers that are used up
    last id        4
    automaton      4   state of the automaton at the end of the text that was sent
    fingerprint    8   of the constraint
    numeric class      ASCII
    tail               ids after the state, packed into as few bits as the alphabet needs
    hidden, cell       the state
    signature     32   HMAC-SHA256 of everything before; the last 32 bytes in every version

Invariant: a token that this server's keys didn't sign is refused whole, before anything in it is used but its digest,
which chooses the version of the model that reads it; a token takes at most ``MOST_BYTES`` bytes more than the state.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids

from ..catalog import ServedModel
from ..engine.snapshot import Snapshot
from .errors import InvalidArgumentError, OtherModelError
from .token_keys import TokenKeys

VERSION = 2
MOST_BYTES = 200
"""Most bytes of a token beside the state."""

FIELD = "resume_token"

_HEAD = struct.Struct("<BBBHH32sQQIiQ")
_DIGEST = 5  # its place in the head
_SIGNATURE = 32
_LARGEST = 2**20  # bytes of a token that is looked at: more would hold the event loop
_MOST_SKIPPED = 2**16 - 1


@dataclass(frozen=True)
class Standing:
    """Where a text stands, so that another one can continue it."""

    snapshot: Snapshot
    tail: Ids
    """Ids that the row consumed after the snapshot."""
    ahead: int
    """How many of them, the last ones, follow the end of the text that was sent, and come again."""
    seed: int
    position: int
    """Number of random numbers that are used up at the end of the text."""
    skip: int
    """Characters after the tail that were sent already. If there are some, ``ahead`` is 0."""
    fingerprint: int = 0
    """Of the constraint that the text follows; 0 if none was asked for."""

    @property
    def ids_ahead(self) -> list[int]:
        """The ids of the tail that come again."""
        ids: list[int] = self.tail[len(self.tail) - self.ahead :].tolist()
        return ids


class Tokens:
    """Makes and reads resume tokens."""

    def __init__(self, keys: TokenKeys) -> None:
        """The first of ``keys`` signs; each is accepted."""
        self._keys = keys

    def make(self, standing: Standing, model: ServedModel) -> bytes:
        """Returns the token of a text of ``model``; empty if no token can hold it.

        The tail has at most as many ids as ``most_tail`` says.
        """
        if standing.skip > _MOST_SKIPPED:
            return b""
        snapshot, numeric_class = standing.snapshot, model.replay.numeric_class.encode()
        content = b"".join(
            (
                _HEAD.pack(
                    VERSION,
                    len(numeric_class),
                    standing.ahead,
                    standing.skip,
                    len(standing.tail),
                    bytes.fromhex(model.digest),
                    standing.seed,
                    standing.position,
                    snapshot.last_id,
                    snapshot.automaton_state,
                    standing.fingerprint,
                ),
                numeric_class,
                _packed(standing.tail, _bits(model)),
                snapshot.hidden.tobytes(),
                snapshot.cell.tobytes(),
            )
        )
        if len(content) + _SIGNATURE > _LARGEST:
            return b""
        return content + _signature(self._keys[0], content)

    def read(self, token: bytes, model: ServedModel) -> Standing:
        """Returns where the text of ``token`` stands. Raises ``InvalidArgumentError`` or ``OtherModelError``."""
        content, signature = token[:-_SIGNATURE], token[-_SIGNATURE:]
        if len(token) > _LARGEST or not any(
            hmac.compare_digest(_signature(key, content), signature) for key in self._keys
        ):
            raise InvalidArgumentError(
                FIELD, "is damaged, or signed with a key that this server doesn't have; start from the prompt again"
            )
        if content[0] != VERSION:
            raise OtherModelError(
                f"{FIELD}: is of version {content[0]}, made by another release; this one reads version {VERSION}"
            )
        head = _HEAD.unpack_from(content)
        _, length, ahead, skip, count, digest, seed, position, last_id, automaton_state, fingerprint = head
        start = _HEAD.size + length
        numeric_class = content[_HEAD.size : start].decode()
        if digest.hex() != model.digest:
            raise OtherModelError(f"{FIELD}: is of the model file {digest.hex()}; {model.name} is {model.digest}")
        if numeric_class != model.replay.numeric_class:
            raise OtherModelError(
                f"{FIELD}: is of the numeric class {numeric_class}; {model.name} has {model.replay.numeric_class} here"
            )
        description, bits = model.runner.description, _bits(model)
        end = start + -(-count * bits // 8)
        tail = _unpacked(content[start:end], count, bits)
        kind = np.dtype(np.uint8 if description.precision == "int8" else np.float32)
        size = description.layers * description.hidden_size
        hidden = np.frombuffer(content, kind, size, end).reshape(description.layers, -1)
        cell = np.frombuffer(content, np.float32, offset=end + hidden.nbytes)
        snapshot = Snapshot(0, last_id, automaton_state, hidden, cell.reshape(-1, description.hidden_size))
        return Standing(snapshot, tail, ahead, seed, position, skip, fingerprint)


def digest_of(token: bytes) -> str:
    """Returns the digest of the model file that ``token`` claims to be of; empty if it isn't a token."""
    if len(token) < _HEAD.size:
        return ""
    digest: bytes = _HEAD.unpack_from(token)[_DIGEST]
    return digest.hex()


def most_tail(model: ServedModel) -> int:
    """Returns how many ids after the state a token of ``model`` can hold."""
    room = MOST_BYTES - _HEAD.size - len(model.replay.numeric_class) - _SIGNATURE
    return max(0, 8 * room // _bits(model))


def _signature(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _bits(model: ServedModel) -> int:
    return (model.alphabet.size - 1).bit_length()


def _packed(ids: Ids, bits: int) -> bytes:
    return np.packbits(_bits_of_ids(bits)[ids]).tobytes()


@cache
def _bits_of_ids(bits: int) -> NDArray[np.uint8]:
    """Returns the lowest ``bits`` bits of each id that has no others, [ids, bits], lowest first."""
    return (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(np.uint8)


def _unpacked(packed: bytes, count: int, bits: int) -> Ids:
    columns = np.unpackbits(np.frombuffer(packed, np.uint8), count=count * bits).reshape(count, bits)
    ids: NDArray[np.int64] = columns.astype(np.int64) @ (1 << np.arange(bits))
    return ids
