"""Constraints of texts: from a request's fields to an automaton, compiled beside the event loop and kept.

Stands between ``requests``, which reads the fields, and the stream, whose rows follow the automaton.

Invariant: no expression is compiled on the event loop; one is compiled at a time, in a third of a core at most in the
long run, and a bounded number waits; the kept automata take at most ``KEPT_BYTES``.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import SamplingSettings
from nextchar_model.constraints import boundaries
from nextchar_model.constraints.automaton import FORBIDDEN, MOST_SLACK, Automaton
from nextchar_model.constraints.boundaries import Boundary
from nextchar_model.constraints.choices import compile_choices
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.well_formed import well_formed
from nextchar_model.constraints.work import ConstraintError

from .. import memory
from ..catalog import ServedModel
from ..metrics import Metrics
from .errors import InvalidArgumentError, OtherModelError, OverloadedError
from .requests import Generation

KEPT_BYTES = 64 * 2**20
"""Most bytes of the automata that are kept for later requests."""

MOST_WAITING = 64
"""Most requests whose automata are to be compiled."""

_SHARE = 1 / 3  # of a core, for compilations
_BURST = 3.0  # seconds whose share may be taken at once

_OVERHEAD = 1000  # bytes of an entry beside its tables

_BOUNDARIES = {
    "word": boundaries.word_boundary,
    "line": boundaries.line_boundary,
    "characters": boundaries.text_boundary,
}

Compiled = Automaton | Boundary | ConstraintError

Key = tuple[str, str, tuple[str, ...]]
"""Digest of the model, name of the field, and its texts."""


@dataclass(frozen=True, eq=False)
class Constraint:
    """An automaton that a text follows."""

    automaton: Automaton
    fingerprint: int
    """Tells constraints apart in resume tokens; 0 if any well-formed text follows it."""

    def after(self, state: int, ids: Sequence[int]) -> int:
        """Returns the state after ``ids``; the start if they can't follow, because the text began otherwise."""
        for id_ in ids:
            state = int(self.automaton.transitions[state, id_])
            if state < 0:
                return 0
        return state

    def is_complete(self, state: int) -> bool:
        """Whether the text matches and nothing can follow it."""
        return bool(self.automaton.accepts[state]) and bool((self.automaton.transitions[state, 1:] < 0).all())


class Constraints:
    """Compiles the constraints of one server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "constraints")
        self._paid = 0.0  # ``time.monotonic()`` up to which compilations have used up their share
        self._kept: OrderedDict[Key, Compiled] = OrderedDict()
        self._used = 0
        self._coming: dict[Key, asyncio.Future[Compiled]] = {}

    async def constrained(self, generation: Generation, model: ServedModel) -> Generation:
        """Returns ``generation`` with its constraint and the settings that follow from it. Raises ``RequestError``."""
        field, texts = generation.constraint_field, generation.constraint_texts
        is_counted = generation.min_characters > 0
        if not model.runner.counts_down and (field or is_counted):
            raise OtherModelError(
                f"{field or 'parameters.min_characters'}: the file of {model.name} has the format of an earlier "
                "release, whose graph can't follow it; export it again"
            )
        settings = _with_end(generation, model)
        if not field:
            is_free = generation.allow_malformed or model.alphabet.kind == "characters"
            if is_free and not is_counted:
                return replace(generation, settings=settings)
            automaton = await self._automaton((model.runner.digest, "", ()), lambda: well_formed(model.alphabet))
            assert isinstance(automaton, Automaton)
            constraint = Constraint(automaton, 0)
            if is_counted:
                begun = _detour(generation, constraint, 0)
                settings = replace(
                    settings,
                    slack=_most(generation) + generation.skip - begun,
                    ends_at=max(0, _most(generation) - generation.min_characters),
                )
            return replace(generation, constraint=constraint, settings=replace(settings, automaton=automaton))
        automaton = await self._compiled(field, texts, model)
        constraint = Constraint(automaton, _fingerprint(field, texts))
        memory.current.get().grow(automaton.size)
        slack = _slack(generation, constraint, field)
        return replace(generation, constraint=constraint, settings=replace(settings, automaton=automaton, slack=slack))

    async def boundary(self, name: str, regex: str | None, model: ServedModel) -> Boundary:
        """Returns the boundary ``name`` of completions, or of the matches of ``regex``. Raises ``RequestError``."""
        alphabet = model.alphabet
        if regex is None:
            compiled = await self._automaton((model.runner.digest, "", (name,)), lambda: _BOUNDARIES[name](alphabet))
        else:
            compiled = await self._automaton(
                (model.runner.digest, "regex", (regex,)),
                lambda: boundaries.match_boundary(compile_regex(regex, alphabet), alphabet),
            )
        if isinstance(compiled, ConstraintError):
            raise InvalidArgumentError("regex", str(compiled))
        assert isinstance(compiled, Boundary)
        return compiled

    async def _compiled(self, field: str, texts: tuple[str, ...], model: ServedModel) -> Automaton:
        alphabet = model.alphabet
        if field == "parameters.regex":
            compiled = await self._automaton(
                (model.runner.digest, field, texts), lambda: compile_regex(texts[0], alphabet)
            )
        else:
            compiled = await self._automaton(
                (model.runner.digest, field, texts), lambda: compile_choices(texts, alphabet)
            )
        if isinstance(compiled, ConstraintError):
            raise InvalidArgumentError(field, str(compiled))
        assert isinstance(compiled, Automaton)
        return compiled

    async def _automaton(self, key: Key, compile_: Callable[[], Automaton | Boundary]) -> Compiled:
        """Returns the automaton of ``key``, kept or compiled, or the error with which it is refused."""
        if key in self._kept:
            self._count(key, "kept")
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._coming:
            if len(self._coming) >= MOST_WAITING:
                raise OverloadedError(f"{MOST_WAITING} constraints wait to be compiled", 1.0)
            loop = asyncio.get_running_loop()
            self._coming[key] = future = loop.run_in_executor(self._thread, self._compile, compile_)
            future.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(self._coming[key])

    def _compile(self, compile_: Callable[[], Automaton | Boundary]) -> Compiled:
        """Compiles in the thread, which rests before if it has used up its share."""
        time.sleep(max(0.0, self._paid - time.monotonic()))
        began = time.thread_time()
        try:
            return compile_()
        except ConstraintError as error:
            return ConstraintError(*error.args)  # without the frames
        finally:
            self._paid = max(self._paid, time.monotonic() - _BURST) + (time.thread_time() - began) / _SHARE

    def _keep(self, key: Key, done: asyncio.Future[Compiled]) -> None:
        del self._coming[key]
        if done.cancelled() or done.exception() is not None:
            return
        result = done.result()
        self._count(key, "refused" if isinstance(result, ConstraintError) else "compiled")
        if (size := _size(key, result)) <= KEPT_BYTES:
            self._kept[key] = result
            self._used += size
        while self._used > KEPT_BYTES:
            old, dropped = self._kept.popitem(last=False)
            self._used -= _size(old, dropped)

    def _count(self, key: Key, result: str) -> None:
        if key[1]:  # not the rule of well-formed text, which no request names
            self._metrics.constraints.labels(result).inc()


def _size(key: Key, result: Compiled) -> int:
    tables = 0 if isinstance(result, ConstraintError) else result.size
    return _OVERHEAD + tables + sum(4 * len(text) + 64 for text in key[2])


def _slack(generation: Generation, constraint: Constraint, field: str) -> int:
    """Returns the characters that a text has beyond the shortest way to a match. Raises ``InvalidArgumentError``."""
    start, state = generation.start, 0
    if start is not None:
        if start.fingerprint != constraint.fingerprint:
            raise InvalidArgumentError(field, "isn't that of the text which resume_token continues")
        state = start.snapshot.automaton_state
    distance = int(constraint.automaton.distance[state])
    slack = _most(generation) + generation.skip - distance - _detour(generation, constraint, state)
    if slack < 0:
        raise InvalidArgumentError(
            field,
            f"its shortest match has {distance} {'more ' if start else ''}characters; "
            f"max_characters is {generation.max_characters}",
        )
    return slack


def _most(generation: Generation) -> int:
    """Returns the most characters of the text, as far as the graph can count."""
    return min(generation.max_characters, MOST_SLACK)


def _detour(generation: Generation, constraint: Constraint, state: int) -> int:
    """Returns the slack that the ids take which come again after a resume token, from ``state`` on."""
    detour = 0
    for id_ in generation.start.ids_ahead if generation.start else ():
        detour += int(constraint.automaton.detours[state, id_]) % FORBIDDEN
        state = constraint.after(state, [id_])
    return detour


def _with_end(generation: Generation, model: ServedModel) -> SamplingSettings:
    """Returns the settings, with which the document doesn't end if it is not to."""
    ignores = generation.ignores_end
    if ignores is None:
        rules = model.runner.description.training.rules
        ignores = not generation.constraint_field and rules.get("documents", "corpus") == "corpus"
    if not ignores:
        return generation.settings
    bias = generation.settings.bias
    bias = np.zeros(model.alphabet.size, np.float32) if bias is None else bias.copy()
    bias[BOUNDARY] = -np.inf
    return replace(generation.settings, bias=bias)


def _fingerprint(field: str, texts: tuple[str, ...]) -> int:
    return int.from_bytes(blake2b(repr((field, texts)).encode(), digest_size=8).digest(), "little") or 1
