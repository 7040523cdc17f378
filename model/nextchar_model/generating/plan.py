"""Plans: parameters of texts, checked and compiled for one model.

Stands between ``parameters`` and the rows of ``generator``. All texts with the same parameters share a plan.

Invariant: the ranges, and the settings that follow from the parameters, are those of the server.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY, Alphabet, UnknownCharacterError
from ..batch import SamplingSettings
from ..composition import normalize
from ..constraints.automaton import MOST_SLACK, Automaton
from ..constraints.choices import compile_choices
from ..constraints.compiler import compile_regex
from ..constraints.json_schema import compile_json_schema
from ..constraints.well_formed import well_formed
from ..constraints.work import ConstraintError
from ..decoder import is_one_to_one, max_ids
from ..description import ModelDescription
from ..parameters import ParameterError, Parameters

_RANGES = {"temperature": 100.0, "top_p": 1.0, "min_p": 1.0}
_MOST_STOPS, _MOST_STOP_CHARACTERS = 16, 256
_MOST_BIAS = 100.0


@dataclass(frozen=True, eq=False)
class Plan:
    """How the texts of some parameters are generated with one model."""

    settings: SamplingSettings
    max_characters: int
    most_ids: int
    """Most ids that are sampled."""
    stop_sequences: tuple[str, ...]
    include_stop_sequence: bool
    constraint: Automaton | None
    """The automaton of the texts that were asked for; None if any well-formed text was."""
    last_ids: NDArray[np.bool_]
    """Which ids may complete a stop sequence, [V]. An id that is missing here only ends a text later."""
    is_plain: bool
    """Whether each id of a text is a character, and only their number or the boundary ends it."""


def plan(parameters: Parameters, description: ModelDescription, *, counts_down: bool) -> Plan:
    """Returns the plan of ``parameters`` for a model; ``counts_down`` is whether its graph can follow constraints.

    Raises ``ParameterError``.
    """
    alphabet = description.alphabet
    _check(parameters)
    stops = _stops(parameters, alphabet)
    field = next((name for name in ("regex", "json_schema", "choices") if getattr(parameters, name)), "")
    if not counts_down and (field or parameters.min_characters):
        raise ParameterError(field or "min_characters", "the model file is of an earlier release; export it again")
    bias = _bias(parameters, description, has_end=bool(field))
    automaton, constraint, slack, ends_at = None, None, MOST_SLACK, MOST_SLACK
    most = min(parameters.max_characters, MOST_SLACK)
    if field:
        automaton = constraint = _compiled(parameters, field, alphabet)
        slack = most - automaton.shortest
        if slack < 0:
            raise ParameterError(
                field,
                f"its shortest match has {automaton.shortest} characters; "
                f"max_characters is {parameters.max_characters}",
            )
    elif parameters.min_characters or not (parameters.allow_malformed or alphabet.kind == "characters"):
        automaton = well_formed(alphabet)
        if parameters.min_characters:
            slack, ends_at = most, max(0, most - parameters.min_characters)
    last_ids = np.zeros(alphabet.size, np.bool_)
    for stop in stops:
        last_ids[alphabet.encode(stop[-1])] = True
    settings = SamplingSettings(
        temperature=parameters.temperature,
        top_k=parameters.top_k,
        top_p=parameters.top_p,
        min_p=parameters.min_p,
        bias=bias,
        automaton=automaton,
        slack=slack,
        ends_at=ends_at,
    )
    return Plan(
        settings=settings,
        max_characters=parameters.max_characters,
        most_ids=max_ids(alphabet, parameters.max_characters),
        stop_sequences=stops,
        include_stop_sequence=parameters.include_stop_sequence,
        constraint=constraint,
        last_ids=last_ids,
        is_plain=not stops and constraint is None and is_one_to_one(alphabet),
    )


def _check(parameters: Parameters) -> None:
    if parameters.max_characters < 1:
        raise ParameterError("max_characters", f"{parameters.max_characters} is not at least 1")
    for field, most in _RANGES.items():
        value = getattr(parameters, field)
        if not 0 <= value <= most or (field == "top_p" and value == 0):
            least = "above 0" if field == "top_p" else "between 0"
            raise ParameterError(field, f"{value:g} is not {least} and {'at most ' * (field == 'top_p')}{most:g}")
    if parameters.top_k < 0:
        raise ParameterError("top_k", f"{parameters.top_k} is below 0")
    if not 0 <= parameters.min_characters <= parameters.max_characters:
        raise ParameterError("min_characters", f"{parameters.min_characters} is not between 0 and max_characters")
    given = [name for name in ("regex", "json_schema", "choices") if getattr(parameters, name)]
    if len(given) > 1:
        raise ParameterError(given[1], f"doesn't go with {given[0]}")
    for name in ("min_characters", "ignore_end_of_document") if given else ():
        if getattr(parameters, name):
            raise ParameterError(name, f"doesn't go with {given[0]}, which says where a text ends")


def _stops(parameters: Parameters, alphabet: Alphabet) -> tuple[str, ...]:
    stops = tuple(map(normalize, parameters.stop_sequences))
    if len(stops) > _MOST_STOPS:
        raise ParameterError("stop_sequences", f"{len(stops)} stop sequences; at most {_MOST_STOPS} are allowed")
    for stop in stops:
        if not 1 <= len(stop) <= _MOST_STOP_CHARACTERS:
            raise ParameterError(
                "stop_sequences", f"one has {len(stop)} characters; 1 to {_MOST_STOP_CHARACTERS} are allowed"
            )
        try:
            alphabet.encode(stop)
        except UnknownCharacterError as error:
            raise ParameterError("stop_sequences", f"{stop!r} can never appear: {error}") from error
    return stops


def _bias(parameters: Parameters, description: ModelDescription, *, has_end: bool) -> NDArray[np.float32] | None:
    """Returns the bias of each id, with which the document doesn't end if it is not to; None without any."""
    alphabet = description.alphabet
    bias = np.zeros(alphabet.size, np.float32)
    for character, value in parameters.character_bias.items():
        ids = alphabet.spelled(normalize(character)) if len(normalize(character)) == 1 else None
        if ids is None or len(ids) > 1:
            raise ParameterError("character_bias", f"{character!r} is not one symbol of the model's alphabet")
        if not (math.isfinite(value) and abs(value) <= _MOST_BIAS):
            raise ParameterError("character_bias", f"{value:g} is not between {-_MOST_BIAS:g} and {_MOST_BIAS:g}")
        bias[ids[0]] = value
    ignores_end = parameters.ignore_end_of_document
    if ignores_end is None:
        ignores_end = not has_end and description.training.rules.get("documents", "corpus") == "corpus"
    if ignores_end:
        bias[BOUNDARY] = -np.inf
    return bias if ignores_end or parameters.character_bias else None


def _compiled(parameters: Parameters, field: str, alphabet: Alphabet) -> Automaton:
    try:
        if field == "regex":
            return compile_regex(parameters.regex or "", alphabet)
        if field == "json_schema":
            return compile_json_schema(parameters.json_schema or "", alphabet)
        return compile_choices(parameters.choices, alphabet)
    except ConstraintError as error:
        raise ParameterError(field, str(error)) from error
