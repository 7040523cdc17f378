"""The wording of invalid values: from pydantic's error details to one plain sentence.

Takes plain dictionaries, so it doesn't import pydantic, which the client doesn't install.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

_LONGEST = 60  # characters of a value that are quoted


class HasErrors(Protocol):
    """A ``pydantic.ValidationError``, or anything else with its ``errors`` method."""

    def errors(self) -> list[Any]:
        """The details of each error."""
        ...


def explain(error: HasErrors) -> tuple[str, str]:
    """Returns the name of the first invalid field, such as ``lanes`` or ``training.steps``, and what is wrong with it.

    The name is empty if the error isn't about one field.
    """
    details = error.errors()[0]
    return ".".join(str(part) for part in details["loc"]), _sentence(details)


def _sentence(details: Mapping[str, Any]) -> str:
    context = details.get("ctx") or {}
    if details["type"] in ("value_error", "assertion_error"):  # our own message, which quotes the value itself
        return str(context["error"])
    requirement = _requirement(details["type"], context)
    if requirement is None:
        return f"{details['msg'][0].lower()}{details['msg'][1:]}"
    return requirement if details["type"] == "missing" else f"{quoted(details['input'])} is invalid; {requirement}"


def _requirement(kind: str, context: Mapping[str, Any]) -> str | None:
    match kind:
        case "missing" | "missing_argument":
            return "is required"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return "there is no such field"
        case "greater_than":
            return f"it must be above {_number(context['gt'])}"
        case "greater_than_equal":
            return f"it must be at least {_number(context['ge'])}"
        case "less_than":
            return f"it must be below {_number(context['lt'])}"
        case "less_than_equal":
            return f"it must be at most {_number(context['le'])}"
        case "finite_number":
            return "it must be a finite number"
        case "literal_error" | "enum":
            return f"it must be {context['expected']}"
        case "string_too_short" | "too_short":
            return "it must not be empty"
        case _ if kind.startswith("int_"):
            return "it must be a whole number"
        case _ if kind.startswith("float_"):
            return "it must be a number"
        case _ if kind.startswith("bool_"):
            return "it must be true or false"
        case _ if kind.startswith("string_"):
            return "it must be text"
    return None


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def quoted(value: Any) -> str:
    """Quotes ``value`` for a message, cut to its beginning if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
