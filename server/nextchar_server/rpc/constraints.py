"""Constraints of texts: from a request's fields to an automaton.

Stands between ``requests``, which reads the fields, and the stream, whose rows follow the automaton. ``compilations``
makes and keeps the automata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.batch import SamplingSettings
from nextchar_model.constraints import boundaries
from nextchar_model.constraints.automaton import FORBIDDEN, MOST_SLACK, Automaton
from nextchar_model.constraints.boundaries import Boundary
from nextchar_model.constraints.choices import compile_choices
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.json_schema import compile_json_schema
from nextchar_model.constraints.well_formed import well_formed
from nextchar_model.constraints.work import ConstraintError
from nextchar_model.tables import STACK_SHARE

from .. import memory
from ..catalog import ServedModel
from ..metrics import Metrics
from .compilations import Compilations, Key
from .errors import InvalidArgumentError, OtherModelError
from .requests import Generation

_BIASES = 16  # that are kept, one for each size of an alphabet

_BOUNDARIES = {
    "word": boundaries.word_boundary,
    "line": boundaries.line_boundary,
    "characters": boundaries.text_boundary,
}


@dataclass(frozen=True, eq=False)
class Constraint:
    """An automaton that a text follows."""

    automaton: Automaton
    fingerprint: int
    """Tells constraints apart in resume tokens; 0 if any well-formed text follows it."""

    def after(self, state: int, ids: Sequence[int]) -> int:
        """Returns the state after ``ids``; the start if they can't follow, because the text began otherwise."""
        return self.automaton.after(state, ids)

    def hold_copies(self, texts: int, lanes: int) -> None:
        """Takes the memory of its copies in the stacks of ``lanes`` lanes, for ``texts`` more texts of the call.

        Raises ``MemoryFullError``.
        """
        size = int(STACK_SHARE * self.automaton.size) if self.fingerprint else 0  # those of well-formed text are small
        for _ in range(min(texts, lanes) if size else 0):
            memory.current.get().share((self.automaton, "copies"), size, most=lanes)

    def is_complete(self, state: int) -> bool:
        """Whether the text matches and nothing can follow it."""
        return self.automaton.is_complete(state)


class Constraints:
    """Compiles the constraints of one server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._compilations = Compilations(self._count)

    async def constrained(self, generation: Generation, model: ServedModel) -> Generation:
        """Returns ``generation`` with its constraint and the settings that follow from it. Raises ``RequestError``."""
        field = generation.constraint_field
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
            automaton = await self._compilations.result(
                (model.runner.digest, "", b""),
                lambda: well_formed(model.alphabet),
                memory.current.get().connection,
            )
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
        automaton = await self.compiled(field, generation.constraint_texts, generation.constraint_digest, model)
        constraint = Constraint(automaton, int.from_bytes(generation.constraint_digest[:8], "little") or 1)
        constraint.hold_copies(1, model.engine.lanes)
        slack = _slack(generation, constraint, field)
        return replace(generation, constraint=constraint, settings=replace(settings, automaton=automaton, slack=slack))

    async def boundary(self, name: str, regex: str | None, model: ServedModel) -> Boundary:
        """Returns the boundary ``name`` of completions, or of the matches of ``regex``. Raises ``RequestError``."""
        alphabet, key = model.alphabet, (model.runner.digest, "", name.encode())

        def compile_() -> Boundary:
            if regex is None:
                return _BOUNDARIES[name](alphabet)
            return boundaries.match_boundary(compile_regex(regex, alphabet), alphabet)

        if regex is not None:
            key = (model.runner.digest, "regex", blake2b(regex.encode()).digest())
        compiled = await self._compilations.result(key, compile_, memory.current.get().connection)
        if isinstance(compiled, ConstraintError):
            raise InvalidArgumentError("regex", str(compiled))
        assert isinstance(compiled, Boundary)
        return compiled

    async def compiled(self, field: str, texts: tuple[str, ...], digest: bytes, model: ServedModel) -> Automaton:
        """Returns the automaton of the ``texts`` of ``field``, for a call that holds its memory from now on.

        ``digest`` tells them apart from those of other requests. Raises ``RequestError``, and ``MemoryFullError``.
        """
        compile_ = _COMPILERS[field.rpartition(".")[2]]
        compiled = await self._compilations.result(
            (model.runner.digest, field, digest),
            lambda: compile_(texts, model.alphabet),
            memory.current.get().connection,
        )
        if isinstance(compiled, ConstraintError):
            raise InvalidArgumentError(field, str(compiled))
        assert isinstance(compiled, Automaton)
        memory.current.get().share(compiled, compiled.size)
        return compiled

    def _count(self, key: Key, result: str) -> None:
        if key[1]:  # not the rule of well-formed text, which no request names
            self._metrics.constraints.labels(result).inc()


_COMPILERS: dict[str, Callable[[tuple[str, ...], Alphabet], Automaton]] = {
    "regex": lambda texts, alphabet: compile_regex(texts[0], alphabet),
    "json_schema": lambda texts, alphabet: compile_json_schema(texts[0], alphabet),
    "choices": compile_choices,
}


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
    if bias is None:
        return replace(generation.settings, bias=_endless(model.alphabet.size))
    bias = bias.copy()
    bias[BOUNDARY] = -np.inf
    return replace(generation.settings, bias=bias)


@lru_cache(_BIASES)
def _endless(size: int) -> NDArray[np.float32]:
    """Returns the bias [size] with which a document doesn't end. It is the same for all texts."""
    bias = np.zeros(size, np.float32)
    bias[BOUNDARY] = -np.inf
    bias.flags.writeable = False
    return bias
