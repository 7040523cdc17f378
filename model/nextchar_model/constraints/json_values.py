"""Values of JSON that have no parts, as regular expressions. ``json_schema`` puts documents together from them."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from .charset import Ranges, contains
from .integers import between
from .nfa import Nfa
from .syntax import elements, parse
from .work import ConstraintError, Work

CHARACTER = r'(?:[^"\\\x00-\x1f\x7f-\x9f]|\\["\\/bfnrt])'
"""Of a character of a string."""

_DIGITS = 15  # of a number: the most that every reader of JSON keeps
_NUMBER = rf"(?:0|[1-9][0-9]{{0,{_DIGITS - 1}}})(?:\.[0-9]{{1,{_DIGITS}}})?(?:[eE][+-]?[0-9]{{1,2}})?"
_DAY = "(?:0[1-9]|1[0-9]|2[0-8])"  # of any month
_DATE = rf"[1-9][0-9]{{3}}-(?:(?:0[1-9]|1[0-2])-{_DAY}|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL = "[a-z0-9]{1,20}"
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    "email": f"{_LABEL}(?:[._+-]{_LABEL}){{0,2}}@(?:{_LABEL}(?:-{_LABEL}){{0,2}}\\.){{1,3}}[a-z]{{2,24}}",
}
KEYWORDS = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum"},
    "boolean": set[str](),
    "null": set[str](),
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
"""The types, and the keywords that are served of each."""

_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}

SHOWN = 60
"""Most characters of a place or a name in a message."""


def refusal(place: str, trouble: str) -> ConstraintError:
    """Returns the refusal of the schema at ``place``."""
    return ConstraintError(f"{place[:SHOWN]}: {trouble}")


def kinds_of(value: Any, place: str) -> list[str]:
    """Returns the types that the keyword ``type`` names. Raises ``ConstraintError``."""
    kinds = [value] if isinstance(value, str) else value
    if (
        not isinstance(kinds, list)
        or not kinds
        or not all(isinstance(kind, str) and kind in KEYWORDS for kind in kinds)
    ):
        raise refusal(place, f"its type must be given, one or several of {', '.join(KEYWORDS)}")
    return kinds


def times(least: int, most: int | None) -> str:
    """Returns the repetition of ``least`` to ``most`` times; None for any number."""
    return f"{{{least},{'' if most is None else most}}}"


def bounds(asked: dict[str, Any], low: str, high: str, place: str) -> tuple[int, int | None]:
    """Returns the values of the keywords ``low`` and ``high``. Raises ``ConstraintError``."""
    least, most = asked.get(low, 0), asked.get(high)
    for name, value in ((low, least), (high, most)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise refusal(f"{place}/{name}", "must be a whole number")
    if most is not None and least > most:
        raise refusal(place, f"{low} is more than {high}")
    return least, most


def plain(kind: str, asked: dict[str, Any], place: str) -> str:
    """Returns the expression of the numbers, booleans or null of a type. Raises ``ConstraintError``."""
    if kind == "integer":
        return _integer(asked, place)
    if kind == "number":
        if asked.get("minimum", 0) != 0:
            raise refusal(f"{place}/minimum", "of a number is served if it is 0; take integers")
        return _NUMBER if asked else f"-?{_NUMBER}"
    return "null" if kind == "null" else "(?:true|false)"


def string(asked: dict[str, Any], place: str, work: Work) -> str:
    """Returns the expression of the strings that keep to the keywords of ``asked``. Raises ``ConstraintError``."""
    if len(asked) > 1 and not asked.keys() <= {"minLength", "maxLength"}:
        raise refusal(place, "pattern, format and lengths don't go together; give one of them")
    if "format" in asked:
        if (known := _FORMATS.get(str(asked["format"]))) is None:
            raise refusal(f"{place}/format", f"must be one of {', '.join(_FORMATS)}; give a pattern")
        return f'"{known}"'
    if "pattern" in asked:
        return f'"{_pattern(asked["pattern"], f"{place}/pattern", work)}"'
    least, most = bounds(asked, "minLength", "maxLength", place)
    return f'"{CHARACTER}{times(least, most)}"'


def _integer(asked: dict[str, Any], place: str) -> str:
    for name, value in asked.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise refusal(f"{place}/{name}", "must be a number")
    low, high = 1 - 10**_DIGITS, 10**_DIGITS - 1
    if "minimum" in asked:
        low = max(low, math.ceil(asked["minimum"]))
    if "exclusiveMinimum" in asked:
        low = max(low, math.floor(asked["exclusiveMinimum"]) + 1)
    if "maximum" in asked:
        high = min(high, math.floor(asked["maximum"]))
    if "exclusiveMaximum" in asked:
        high = min(high, math.ceil(asked["exclusiveMaximum"]) - 1)
    if low > high:
        raise refusal(place, f"no integer of at most {_DIGITS} digits is within its bounds")
    return between(low, high)


def one_of(values: Any, kinds: Any, place: str) -> str:
    """Returns the expression of ``values``, without those of other types than ``kinds``. Raises ``ConstraintError``."""
    if not isinstance(values, list):
        raise refusal(place, "must be a list of values")
    wanted = list(_PYTHON) if kinds is None else kinds_of(kinds, place)
    found = []
    for value in values:
        if isinstance(value, dict | list) or value in (math.inf, -math.inf):
            raise refusal(place, "arrays, objects and such large numbers are not served as values; give their schemas")
        own = {kind for kind, one in _PYTHON.items() if isinstance(value, one)}
        own = {"boolean"} if isinstance(value, bool) else own
        if own & set(wanted):
            found.append(re.escape(json.dumps(value, ensure_ascii=False)))
    if not found:
        raise refusal(place, "has no value of its type")
    return f"(?:{'|'.join(found)})"


def _pattern(pattern: Any, place: str, work: Work) -> str:
    """Returns ``pattern`` as a part of the expression; texts that match it wholly are among those that have it."""
    if not isinstance(pattern, str):
        raise refusal(place, "must be a regular expression")
    if re.search(r"\(\?(#|[a-z-]*x)", pattern):
        raise refusal(place, "comments and the verbose mode are not served; leave them out")
    whole = _without_ends(pattern)
    try:
        parse(whole)  # alone, so that it can't end the group
        nfa = Nfa(whole := f"(?a:{whole})", work)  # classes are those of ASCII in JSON Schema
    except ConstraintError as error:
        raise refusal(place, str(error)) from None
    if any(map(_is_escaped, nfa.sets[: nfa.written])):
        raise refusal(
            place,
            "has a control character, a quotation mark or a backslash in one of its sets, which JSON writes as "
            r'escapes; leave them out, as in [^"\\\x00-\x1f] instead of a dot',
        )
    return whole


def _without_ends(pattern: str) -> str:
    """Returns ``pattern`` without the anchors at the ends of its alternatives."""
    parts = [element for _, element in elements(pattern)]
    kept, depth = "", 0
    for before, part, after in zip(["|", *parts], parts, [*parts[1:], "|"], strict=False):
        depth += part.startswith("(") - (part == ")")
        is_end = (part, before) == ("^", "|") or (part, after) == ("$", "|")
        kept += "" if is_end and depth == 0 else part
    return kept


def _is_escaped(ranges: Ranges) -> bool:
    """Whether a string of JSON can't have one of the characters as it is."""
    return any(low < 0x20 for low, _ in ranges) or contains(ranges, ord('"')) or contains(ranges, ord("\\"))
