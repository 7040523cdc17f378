"""Streams of ids: from a request that was read to the stream that its text is made of.

Stands between ``requests`` and ``generation``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nextchar_model.decoder import is_one_to_one, max_ids

from .. import memory
from ..access import callers
from ..catalog import ServedModel
from ..engine.snapshot import SNAPSHOT_IDS, Snapshot
from ..engine.stream import OUTBOX_IDS, IdChunk, Stream
from . import requests
from .tokens import Standing

_COMPOSED_IDS = 256
"""Most ids that are composed to characters at a time: one takes some 3 µs."""


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """A prompt that was read once for several texts."""

    end: Snapshot
    """The state after it, of a row with the settings of the texts."""
    chunks: tuple[IdChunk, ...]
    """Its ids with their log-probabilities, if the texts begin with it; otherwise none."""


_TRACED_IDS = 64
"""Most ids that are read a second time for one message: one takes up to a ms, and a pause."""


def make_stream(request: requests.Generation, model: ServedModel, *, keeps_snapshots: bool = True) -> Stream:
    """Returns the stream of a text of the call that is being handled; with the snapshots that resume tokens need."""
    start = request.start
    most_taken = OUTBOX_IDS if is_one_to_one(model.alphabet) else _COMPOSED_IDS
    if request.activations is not None:
        most_taken = _TRACED_IDS
    stream = Stream(
        read=request.prompt.ids if start is None else start.tail,
        count=max_ids(model.alphabet, request.max_characters) if request.max_characters else 0,
        settings=request.settings,
        seed=request.seed,
        alternatives=request.top_logprobs,
        reports_reading=request.echo,
        reports_last=0 if start is None else start.ahead,
        most_taken=most_taken,
        most_snapshots=most_snapshots(request, model) if keeps_snapshots else 0,
        start=None if start is None else _continued(request, start),
        position=0 if start is None else start.position + start.ahead,
        caller=memory.current.get().connection,
    )
    if (caller := callers.current.get()) is not None and (portion := caller.portion) is not None:
        stream.pace(portion, is_slowed=False)
    return stream


def make_reading(request: requests.Generation) -> Stream:
    """Returns a stream that only reads the prompt of ``request``, and keeps the state after it."""
    return Stream(
        read=request.prompt.ids,
        count=0,
        settings=request.settings,
        alternatives=request.top_logprobs,
        reports_reading=request.echo,
        most_snapshots=1,
        keeps_end=True,
        caller=memory.current.get().connection,
    )


def _continued(request: requests.Generation, start: Standing) -> Snapshot:
    """Returns the state from which a text continues, with the place in its automaton behind the ids that come again."""
    constraint = request.constraint
    if constraint is None:
        return replace(start.snapshot, automaton_state=0 if start.ahead else start.snapshot.automaton_state)
    state = start.snapshot.automaton_state if start.fingerprint == constraint.fingerprint else 0
    return replace(
        start.snapshot,
        automaton_state=constraint.after(state, start.ids_ahead),
        slack=request.settings.slack,
    )


def most_snapshots(request: requests.Generation, model: ServedModel) -> int:
    """Returns how many snapshots the stream of ``request`` keeps.

    If its text can end or be cut before its latest id, an earlier one may be needed. Otherwise the latest one is: its
    reader keeps the one before, in case that a lane has added it before the ids that lead to it.
    """
    is_cut = request.stop_sequences or request.resume_interval is not None or not is_one_to_one(model.alphabet)
    return OUTBOX_IDS // SNAPSHOT_IDS + 2 if is_cut else 1
