"""The activations of a text: gates and states of the units that a request names, computed beside its stream.

The stream itself isn't touched: each of its ids is read a second time, one step per call, by a row of its own in a
thread. So a request for them costs other streams nothing but that thread, which has a quarter of a core at most.

Invariant: the text is the same as without; the work is bounded by ``MAX_CHARACTERS``, the memory by ``MAX_VALUES``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Ids
from nextchar_model.batch import SamplingSettings
from nextchar_model.cell import QUANTITIES
from nextchar_model.description import ModelDescription, ModelFileError
from nextchar_model.probe import Probe

from .. import memory
from ..catalog import ServedModel
from ..engine.stream import End, IdChunk, Stream
from ..text.activations import Chosen, WaitingActivations
from . import footprint
from .errors import InvalidArgumentError, OtherModelError
from .requests import Generation

MAX_UNITS = 64
MAX_CHARACTERS = 1000
"""Most characters, read and generated, of a text with activations."""

MAX_VALUES = 250_000
"""Most values of a text, in a stream too: a MiB."""

_IDS = 16  # that are read in one piece of work: some ms
_SILENT_IDS = 256  # of which no values are wanted: they take one call


def chosen_for(
    request: pb.GenerateRequest | pb.GenerateStreamRequest, generation: Generation, model: ServedModel
) -> Generation:
    """Returns ``generation`` with the units that ``request`` chooses. Raises as ``chosen`` does."""
    field = "parameters.include_activations"
    if not request.parameters.HasField("include_activations"):
        return generation
    if isinstance(request, pb.GenerateRequest) and (request.HasField("samples") or request.HasField("best_of")):
        raise InvalidArgumentError(field, "doesn't go with samples and best_of; ask for one text at a time")
    characters = len(generation.prompt.text) + generation.max_characters
    wanted = request.parameters.include_activations
    return replace(generation, activations=chosen(wanted, field, characters, model.runner.description))


def chosen(wanted: pb.ActivationRequest, field: str, characters: int, description: ModelDescription) -> Chosen:
    """Reads ``wanted`` for a text of ``characters`` characters, and takes the memory for the values.

    Raises ``InvalidArgumentError`` with the name of ``field``, and ``MemoryFullError``.
    """
    if wanted.layer >= description.layers:
        raise InvalidArgumentError(f"{field}.layer", f"{wanted.layer} is not between 0 and {description.layers - 1}")
    units = tuple(wanted.units)
    if not 1 <= len(units) <= MAX_UNITS:
        raise InvalidArgumentError(f"{field}.units", f"{len(units)} units; 1 to {MAX_UNITS} are allowed")
    if len(set(units)) < len(units):
        raise InvalidArgumentError(f"{field}.units", "a unit is there twice")
    if max(units) >= description.hidden_size:
        raise InvalidArgumentError(
            f"{field}.units", f"{max(units)} is not between 0 and {description.hidden_size - 1}, the units of a layer"
        )
    if characters > MAX_CHARACTERS:
        raise InvalidArgumentError(
            field, f"{characters} characters, read and generated; a text with activations has at most {MAX_CHARACTERS}"
        )
    result = Chosen(wanted.layer, units, QUANTITIES[description.cell])
    if (values := characters * result.count) > MAX_VALUES:
        raise InvalidArgumentError(
            field,
            f"{characters} characters, {len(units)} units and {len(result.quantities)} quantities are {values} values; "
            f"a text has at most {MAX_VALUES}; ask for fewer units or characters",
        )
    memory.current.get().grow(footprint.activations(values))
    return result


class Tracer:
    """Reads the ids of one stream a second time."""

    def __init__(self, wanted: Chosen, model: ServedModel, stream: Stream) -> None:
        """``stream`` has taken no turn yet."""
        self._wanted = wanted
        self._model = model
        self._stream = stream
        self._probe: Probe | None = None
        start = stream.start or model.engine.document_start
        self._batch = model.runner.start([SamplingSettings()])
        replace(start, automaton_state=0).put_into(self._batch, 0)  # of no automaton here
        self._silent: Ids = np.concatenate([[start.last_id], stream.read[: stream.silent]], dtype=np.int64)
        self.waiting = WaitingActivations(wanted)
        """The values of the ids that were taken."""

    async def take(self) -> IdChunk | None:
        """Takes the next ids of the stream, which is ready, and reads them. Returns None if it has ended.

        Raises ``OtherModelError`` if the weights can't be read; otherwise as ``Engine.take`` does.
        """
        taken = self._model.engine.take(self._stream)
        # A drained text ends before the ids that wait: there is no time to read them, and another server continues.
        while self._stream.is_broken_off and not isinstance(taken, End):
            taken = self._model.engine.take(self._stream)
        if isinstance(taken, End):
            return None
        for place in range(0, len(taken), _IDS):
            ids = taken.ids[place : place + _IDS].astype(np.int64)
            self.waiting.add(await self._model.engine.aside(partial(self._read, ids)))
        return taken

    def _read(self, ids: Ids) -> NDArray[np.float32]:
        """Reads ``ids``, in a thread."""
        try:
            self._probe = self._probe or Probe(self._model.runner, self._wanted.layer, self._wanted.units)
        except ModelFileError:
            raise OtherModelError(
                "the model file was removed or replaced since the server loaded it, so its weights can't be read"
            ) from None
        while len(self._silent):
            self._probe.feed(self._batch, self._silent[:_SILENT_IDS])
            self._silent = self._silent[_SILENT_IDS:]
        return self._probe.read(self._batch, ids)
