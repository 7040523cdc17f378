"""Unions of JSON schemas: whether some document is accepted by two of them. ``json_schema`` serves ``oneOf`` with it.

Two schemas are told apart by their types, by their values, or by a tag: a property that both require, with other values
in each. Nothing else is looked at, so schemas that differ in another way count as alike.

Invariant: if two are told apart, no document is accepted by both, whatever their other keywords are.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

Value = tuple[str, Any]
"""The type of a value and the value itself: 1 and true are equal in Python."""


class _Mark(NamedTuple):
    """The parts of a schema by which it may be told apart; None if it may accept any."""

    kinds: frozenset[str] | None
    values: frozenset[Value] | None
    tags: dict[str, frozenset[Value]]
    """The values of properties that it requires, if it accepts objects only."""


def first_alike(schemas: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Returns the places of two of ``schemas`` that may accept the same document, or None."""
    marks = list(map(_mark, schemas))
    for one, other in combinations(range(len(marks)), 2):
        if not _are_told_apart(marks[one], marks[other]):
            return one, other
    return None


def _are_told_apart(one: _Mark, other: _Mark) -> bool:
    if one.values is not None and other.values is not None:
        return one.values.isdisjoint(other.values)
    if one.kinds is not None and other.kinds is not None and one.kinds.isdisjoint(other.kinds):
        return True
    return any(one.tags[name].isdisjoint(other.tags[name]) for name in one.tags.keys() & other.tags.keys())


def _mark(schema: dict[str, Any]) -> _Mark:
    values = _values(schema)
    if values is not None:
        return _Mark(frozenset(kind for kind, _ in values), values, {})
    kinds = _kinds(schema.get("type"))
    properties, required = schema.get("properties"), schema.get("required")
    if kinds != frozenset({"object"}) or not isinstance(properties, dict) or not isinstance(required, list):
        return _Mark(kinds, None, {})
    found = {name: _values(properties.get(name)) for name in required if isinstance(name, str)}
    return _Mark(kinds, None, {name: values for name, values in found.items() if values is not None})


def _kinds(named: Any) -> frozenset[str] | None:
    """Returns the types that the keyword ``type`` names. An integer is a number."""
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return frozenset("number" if name == "integer" else name for name in names)


def _values(schema: Any) -> frozenset[Value] | None:
    """Returns the values of ``const`` or ``enum``, or None if ``schema`` has neither."""
    if not isinstance(schema, dict):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        return None
    return frozenset((_kind(value), value) for value in values)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
