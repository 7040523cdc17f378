"""JSON schemas: each text is a document that the schema accepts, and what can't be followed is refused."""

import json
import random
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.constraints.json_schema import MOST_CHARACTERS, compile_json_schema, expression
from nextchar_model.constraints.work import ConstraintError
from tests.support.automata import random_text

ASCII = "".join(map(chr, range(32, 127)))

SCHEMAS: list[Any] = [
    {"type": "string"},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^[A-Z][a-z]+$|^x\\$|(^y|z$)"},
    {"type": "string", "pattern": r"\d{2,4}|a|\w"},
    {"type": "integer"},
    {"type": "integer", "minimum": -12, "exclusiveMaximum": 107},
    {"type": "integer", "exclusiveMinimum": 2.5, "maximum": 1e30},
    {"type": "number"},
    {"type": "number", "minimum": 0},
    {"type": ["boolean", "null", "string"], "maxLength": 1},
    {"enum": ['a"b\\', 1, None, True, 2.5, "é", 10**20]},
    {"enum": [1, "1", True], "type": "integer"},
    {"const": "x{2}"},
    {"anyOf": [{"const": "a"}, {"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 3}]},
    {"oneOf": [{"type": "string", "maxLength": 3}, {"type": ["integer", "null"]}, {"enum": [True]}]},
    {"oneOf": [{"const": 1}, {"const": "1"}, {"const": True}, {"type": "null"}]},
    {
        "discriminator": {"propertyName": "kind"},
        "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
        "$defs": {
            kind: {
                "type": "object",
                "properties": {"kind": {"const": kind}, "age": {"type": "integer"}},
                "required": ["kind"],
            }
            for kind in ("cat", "dog")
        },
    },
    {"type": "array", "items": {"type": "boolean"}},
    {"type": "array", "maxItems": 0},
    {"prefixItems": [{"type": "integer", "minimum": 1}, {"type": "boolean"}]},
    {"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"type": "object", "properties": {}},
    {"properties": {"a b": {"type": "null"}, 'c"d': {"type": "boolean"}, ".*": {"const": 1}}},
    {"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}, "required": ["b"]},
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 255}},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"properties": {"x": {"$ref": "#/$defs/c"}}}, "c": {"type": "null"}}},
    {"title": "a", "allOf": [{"properties": {"x": {"type": "string", "maxLength": 2}}, "additionalProperties": False}]},
    *({"type": "string", "format": name} for name in ("date", "time", "date-time", "uuid", "ipv4", "email")),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=[json.dumps(schema)[:50] for schema in SCHEMAS])
def test_every_text_is_a_document_that_the_schema_accepts(schema: Any) -> None:
    alphabet, random_ = Alphabet.of(ASCII + "é가"), random.Random(15)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    automaton = compile_json_schema(json.dumps(schema), alphabet)
    for _ in range(150):
        text = random_text(automaton, alphabet, random_, int(automaton.shortest) + random_.randrange(60))
        validator.validate(json.loads(text))


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
def test_documents_are_valid_in_every_alphabet(kind: Kind) -> None:
    schema = {"properties": {"이름": {"type": "string", "pattern": "^[가-힣]{2,4}$"}, "b": {"type": "string"}}}
    alphabet, random_ = Alphabet.of(ASCII + "이름가각힣", kind), random.Random(15)
    automaton = compile_json_schema(json.dumps(schema), alphabet)
    for _ in range(100):
        Draft202012Validator(schema).validate(json.loads(random_text(automaton, alphabet, random_, 50)))


REFUSED: list[tuple[Any, str]] = [
    ({"type": "number", "maximum": 3}, "#: the keyword 'maximum' is not served here"),
    ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "#/properties/a: the keyword 'uniqueItems'"),
    ({"type": "string", "anyOf": [{"type": "integer"}]}, "#: the keyword 'type' is not served here"),
    ({"not": {"type": "string"}}, "#: the keyword 'not'"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf: the schemas 0 and 1 may accept the same document"),
    ({"oneOf": [{"const": "a"}, {"type": "string"}]}, "#/oneOf: the schemas 0 and 1 may accept the same document"),
    ({"oneOf": [{"const": 1}, {"const": 1.0}]}, "#/oneOf: the schemas 0 and 1 may accept the same document"),
    ({"oneOf": [{"type": "null"}, {"properties": {}}]}, "#/oneOf: the schemas 0 and 1 may accept the same document"),
    (
        {"oneOf": [{"type": "object", "properties": {"a": {"const": n}}} for n in (1, 2)]},  # {} is in both
        "#/oneOf: the schemas 0 and 1 may accept the same document",
    ),
    ({"oneOf": [{"const": n} for n in range(101)]}, "#/oneOf: has more than 100 schemas"),
    ({"allOf": [{"type": "string"}, {"type": "string"}]}, "#/allOf: is served with one schema only"),
    ({}, "#: its type must be given"),
    (True, "#: accepts any value, or none; give its type"),
    ({"type": "strin"}, "#: its type must be given, one or several of string, integer"),
    ({"type": "object"}, "#: needs properties"),
    ({"type": "array"}, "#: needs items"),
    ({"properties": {"a": {"type": "null"}}, "required": ["b"]}, "#/required: 'b' is not among the properties"),
    ({"prefixItems": [{"type": "null"}], "maxItems": 0}, "#: maxItems is less than the 1 prefixItems"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, "#: minLength is more than maxLength"),
    ({"type": "string", "maxLength": 2.5}, "#/maxLength: must be a whole number"),
    ({"type": "string", "minLength": 1, "pattern": "a"}, "#: pattern, format and lengths don't go together"),
    ({"type": "string", "format": "uri"}, "#/format: must be one of date"),
    ({"type": "string", "pattern": "a.b"}, "#/pattern: has a control character, a quotation mark or a backslash"),
    ({"type": "string", "pattern": 'a)|("x'}, "#/pattern: not a regular expression: unbalanced parenthesis"),
    ({"type": "string", "pattern": "(?x:#)\n|^a)"}, "#/pattern: comments and the verbose mode are not served"),
    ({"type": "string", "pattern": "(?=a)"}, "#/pattern: look-around"),
    ({"type": "integer", "minimum": 3, "maximum": 2}, "#: no integer of at most 15 digits is within its bounds"),
    ({"enum": ["a"], "type": "integer"}, "#/enum: has no value of its type"),
    ({"enum": [{}]}, "#/enum: arrays, objects"),
    ({"$ref": "other.json"}, "#/$ref: must be a place in this schema"),
    ({"$ref": "#/$defs/a"}, "#/$ref: the schema has no #/$defs/a"),
    ({"properties": {"a": {"$ref": "#"}}}, "#: refers to itself"),
]


@pytest.mark.parametrize(("schema", "reason"), REFUSED, ids=[json.dumps(schema)[:50] for schema, _ in REFUSED])
def test_what_no_automaton_follows_is_refused_by_its_name_and_place(schema: Any, reason: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        expression(json.dumps(schema))
    assert str(caught.value).startswith(reason)


def doubling(depth: int) -> Any:
    """A schema that refers to twice as many at each depth."""
    chain = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 8} for n in range(depth)}
    return {"$ref": "#/$defs/s0", "$defs": {**chain, f"s{depth}": {"type": "null"}}}


def nested(depth: int) -> Any:
    return {"type": "array", "items": nested(depth - 1)} if depth else {"type": "null"}


HOSTILE = {
    json.dumps(doubling(5)): "too large: more than 2000 schemas",
    json.dumps(nested(30)): "more than 12 schemas within one another",
    "[" * 10_000: "not JSON",
    '{"const": NaN}': "not JSON: NaN is no number of JSON",
    '{"const": 1e999}': "such large numbers",
    '{"const": ' + "9" * 5000 + "}": "not JSON",
    json.dumps({"type": "string", "maxLength": 10**30}): "not a regular expression that can be read",
    json.dumps({"type": "string", "pattern": "(a|b)*a(a|b){18}"}): "too large: its automaton",
    json.dumps({"type": "string", "maxLength": 10**6}): "too large: written out",
    json.dumps({"properties": {f"{n}": {"type": "string"} for n in range(200)}}): "#: too large: its expression has",
    json.dumps({"title": "a" * MOST_CHARACTERS}): "a schema has at most 16384",
    json.dumps(
        {"anyOf": [{"$ref": "#/$defs/a"}] * 400, "$defs": {"a": {"enum": list(range(900))}}}
    ): "#/anyOf: too large",
    json.dumps({"enum": ["\ud800"]}): "no text that the model can write matches",
}


@pytest.mark.parametrize(("schema", "reason"), HOSTILE.items(), ids=[reason[:30] for reason in HOSTILE.values()])
def test_a_hostile_schema_is_refused_before_it_takes_much_work(schema: str, reason: str) -> None:
    with pytest.raises(ConstraintError, match=re.escape(reason)) as caught:
        compile_json_schema(schema, Alphabet.of(ASCII))
    assert len(str(caught.value)) < 300
