"""JSON schemas: the regular expression of the documents that a schema accepts.

Stands before ``compiler``. A document of a schema that has a bounded depth is regular, so the automaton of an
expression follows it. Keywords that no expression can follow are refused by their names and places, never ignored.

Invariant: each text that matches is a document that the schema accepts (JSON Schema, draft 2020-12; earlier drafts mean
the same by these keywords). Some documents that it accepts are never written: properties come in the schema's order,
and none that the schema doesn't name.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..alphabet import Alphabet
from .automaton import Automaton
from .compiler import compile_regex
from .json_unions import first_alike
from .json_values import CHARACTER, KEYWORDS, SHOWN, bounds, kinds_of, one_of, plain, refusal, string, times
from .work import MOST_WORK, ConstraintError, Work

MOST_CHARACTERS = 16_384
"""Most characters of a schema, and of its expression."""

MOST_ELEMENTS = 2000
"""Most schemas within a schema, each counted as often as it is referred to."""

MOST_DEPTH = 12
"""Most schemas within one another."""

MOST_CHOICES = 100
"""Most schemas of ``oneOf``, each of which is compared with all others."""

_SPACE = "[ ]?"
_COMMA = f"{_SPACE},{_SPACE}"
_NOTES = {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
_NOTES |= {"$defs", "definitions"}  # followed if something refers to them
_NOTES |= {"discriminator"}  # of OpenAPI, for readers: ``oneOf`` says the same
_KNOWN = {"$ref", "anyOf", "oneOf", "allOf", "const", "enum", "type"}.union(*KEYWORDS.values())


def compile_json_schema(schema: str, alphabet: Alphabet) -> Automaton:
    """Returns the automaton of the documents that ``schema``, a JSON Schema in JSON, accepts.

    Raises ``ConstraintError`` if ``schema`` is invalid or too large, has a keyword that no automaton can follow, or
    accepts no document that ``alphabet`` can spell.
    """
    return compile_regex(expression(schema), alphabet, most_characters=MOST_CHARACTERS)


def expression(schema: str) -> str:
    """Returns the regular expression of the documents that ``schema`` accepts. Raises ``ConstraintError``."""
    if len(schema) > MOST_CHARACTERS:
        raise ConstraintError(f"{len(schema)} characters; a schema has at most {MOST_CHARACTERS}")
    try:
        root = json.loads(schema, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"not JSON: {error}") from None
    return _Writer(root).expression


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


class _Writer:
    """Writes the expression of a schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._elements = 0
        self._work = Work(MOST_WORK // 4)
        """Of the patterns in the schema."""
        if isinstance(root, dict):
            root = {name: value for name, value in root.items() if name != "$id"}
        self.expression = self._of(root, "#", ())

    def _of(self, schema: Any, place: str, within: tuple[str, ...]) -> str:
        """Returns the expression of ``schema``, which stands at ``place`` within the schemas at ``within``."""
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise ConstraintError(
                f"too large: more than {MOST_ELEMENTS} schemas, each counted for every reference to it"
            )
        if place in within:
            raise refusal(place, "refers to itself: documents of any depth are not regular")
        if len(within) > MOST_DEPTH:
            raise refusal(place, f"more than {MOST_DEPTH} schemas within one another")
        if not isinstance(schema, dict):
            wrong = "accepts any value, or none" if isinstance(schema, bool) else "is no schema"
            raise refusal(place, f"{wrong}; give its type")
        asked = {name: value for name, value in schema.items() if name not in _NOTES}
        _check_names(asked, _KNOWN, place)
        written = self._written(asked, place, (*within, place))
        _check_length(len(written), place)
        return written

    def _written(self, asked: dict[str, Any], place: str, within: tuple[str, ...]) -> str:
        for name, write in (
            ("$ref", self._reference),
            ("anyOf", self._any),
            ("oneOf", self._one),
            ("allOf", self._all),
        ):
            if name in asked:
                _check_names(asked, {name}, place)
                return write(asked[name], place, within)
        for name in ("const", "enum"):
            if name in asked:
                _check_names(asked, {name, "type"}, place)
                values = asked[name] if name == "enum" else [asked[name]]
                return one_of(values, asked.get("type"), f"{place}/{name}")
        usual = [kind for kind in ("object", "array") if KEYWORDS[kind] & asked.keys()]
        kinds = kinds_of(asked.pop("type", usual), place)
        _check_names(asked, set().union(*(KEYWORDS[kind] for kind in kinds)), place)
        parts = []
        for kind in kinds:
            own = {name: value for name, value in asked.items() if name in KEYWORDS[kind]}
            if kind == "object":
                parts.append(self._object(own, place, within))
            elif kind == "array":
                parts.append(self._array(own, place, within))
            else:
                parts.append(string(own, place, self._work) if kind == "string" else plain(kind, own, place))
        return _either(parts)

    def _reference(self, target: Any, place: str, within: tuple[str, ...]) -> str:
        return self._of(self._referred(target, place), target, within)

    def _referred(self, target: Any, place: str) -> Any:
        """Returns the schema that ``target`` names."""
        if not isinstance(target, str) or not target.startswith("#") or "%" in target:
            raise refusal(f"{place}/$ref", "must be a place in this schema, such as #/$defs/name")
        found = self._root
        for part in target[1:].split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, dict) and part in found:
                found = found[part]
            else:
                raise refusal(f"{place}/$ref", f"the schema has no {target[:SHOWN]}")
        return found

    def _one(self, choices: Any, place: str, within: tuple[str, ...]) -> str:
        """Returns the expression of ``anyOf``, if no document is accepted by two of ``choices``."""
        place = f"{place}/oneOf"
        written = self._choice(choices, place, within)
        if len(choices) > MOST_CHOICES:
            raise refusal(place, f"has more than {MOST_CHOICES} schemas; anyOf may have more")
        meant = [self._referred(one["$ref"], place) if "$ref" in one else one for one in choices]
        if (alike := first_alike(meant)) is not None:
            first, second = alike
            raise refusal(
                place,
                f"the schemas {first} and {second} may accept the same document; give them types that differ, or a "
                "property that both require, with a const that differs",
            )
        return written

    def _any(self, choices: Any, place: str, within: tuple[str, ...]) -> str:
        return self._choice(choices, f"{place}/anyOf", within)

    def _choice(self, choices: Any, place: str, within: tuple[str, ...]) -> str:
        if not isinstance(choices, list) or not choices:
            raise refusal(place, "must be a list of schemas")
        return _either(self._each([(one, f"{place}/{number}") for number, one in enumerate(choices)], place, within))

    def _each(self, schemas: list[tuple[Any, str]], place: str, within: tuple[str, ...]) -> list[str]:
        """Returns the expressions of ``schemas``, each with its place, which belong to the one at ``place``.

        Raises as soon as they are too large together: many references to one large schema are a short text.
        """
        found, length = [], 0
        for schema, own in schemas:
            found.append(self._of(schema, own, within))
            length += len(found[-1])
            _check_length(length, place)
        return found

    def _all(self, parts: Any, place: str, within: tuple[str, ...]) -> str:
        place = f"{place}/allOf"
        if not isinstance(parts, list) or len(parts) != 1:
            raise refusal(place, "is served with one schema only; write several as one")
        return self._of(parts[0], f"{place}/0", within)

    def _array(self, asked: dict[str, Any], place: str, within: tuple[str, ...]) -> str:
        least, most = bounds(asked, "minItems", "maxItems", place)
        given = asked.get("prefixItems", [])
        if not isinstance(given, list):
            raise refusal(f"{place}/prefixItems", "must be a list of schemas")
        first = self._each([(one, f"{place}/prefixItems/{number}") for number, one in enumerate(given)], place, within)
        items = asked.get("items", False)
        if most is not None and most < len(first):
            raise refusal(place, f"maxItems is less than the {len(first)} prefixItems, all of which are written")
        left = (max(0, least - len(first)), None if most is None else most - len(first))
        if items is False or left[1] == 0:
            if left[0] or not (first or "items" in asked or left[1] == 0):
                raise refusal(place, "needs items, a schema of all items")
            return rf"\[{_SPACE}{_COMMA.join(first)}{_SPACE}\]"
        item = self._of(items, f"{place}/items", within)
        if first:
            return rf"\[{_SPACE}{_COMMA.join(first)}(?:{_COMMA}{item}){times(*left)}{_SPACE}\]"
        return rf"\[{_SPACE}{_list(item, *left)}{_SPACE}\]"

    def _object(self, asked: dict[str, Any], place: str, within: tuple[str, ...]) -> str:
        properties, required = asked.get("properties", {}), asked.get("required", [])
        if not isinstance(properties, dict):
            raise refusal(f"{place}/properties", "must be an object of schemas")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise refusal(f"{place}/required", "must be a list of names")
        for name in required:
            if name not in properties:
                raise refusal(f"{place}/required", f"{name[:SHOWN]!r} is not among the properties")
        others = asked.get("additionalProperties", True)
        if not properties and isinstance(others, dict):
            value = self._of(others, f"{place}/additionalProperties", within)
            member = f'"{CHARACTER}*"{_SPACE}:{_SPACE}{value}'
            return rf"\{{{_SPACE}{_list(member, 0, None)}{_SPACE}\}}"
        if not properties and "properties" not in asked and others is not False:
            raise refusal(place, "needs properties, or additionalProperties, a schema of all values")
        named = [(one, f"{place}/properties/{name}") for name, one in properties.items()]
        parts = []
        for name, value in zip(properties, self._each(named, place, within), strict=True):
            key = re.escape(json.dumps(name, ensure_ascii=False))
            parts.append((f"{key}{_SPACE}:{_SPACE}{value}", name in required))
        return rf"\{{{_SPACE}{self._members(parts, place)}{_SPACE}\}}"

    def _members(self, parts: list[tuple[str, bool]], place: str) -> str:
        """Returns the expression of members, each with whether it is required."""
        first = next((number for number, (_, is_required) in enumerate(parts) if is_required), None)
        after = [f"{_COMMA}{one}" if is_required else f"(?:{_COMMA}{one})?" for one, is_required in parts]
        if first is not None:
            before = "".join(f"(?:{one}{_COMMA})?" for one, _ in parts[:first])
            return before + parts[first][0] + "".join(after[first + 1 :])
        _check_length(len("".join(after)), place)  # each beginning is written with all that can follow it
        beginnings = [one + "".join(after[number + 1 :]) for number, (one, _) in enumerate(parts)]
        return f"{_either(beginnings)}?" if parts else ""


def _check_length(length: int, place: str) -> None:
    """Raises ``ConstraintError`` if ``length`` is too much for the expression of the schema at ``place``."""
    if length > MOST_CHARACTERS:
        raise refusal(place, f"too large: its expression has more than {MOST_CHARACTERS} characters")


def _check_names(asked: dict[str, Any], known: set[str], place: str) -> None:
    """Raises ``ConstraintError`` if ``asked`` has a keyword that is not among ``known``."""
    for name in asked.keys() - known:
        raise refusal(place, f"the keyword {name[:SHOWN]!r} is not served here; leave it out, or write it as a pattern")


def _either(parts: list[str]) -> str:
    return f"(?:{'|'.join(parts)})"


def _list(item: str, least: int, most: int | None) -> str:
    """Returns the expression of ``least`` to ``most`` items with commas between them."""
    rest = f"{item}(?:{_COMMA}{item}){times(max(0, least - 1), None if most is None else most - 1)}"
    return rest if least else f"(?:{rest})?"
