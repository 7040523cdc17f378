"""The user's own rule for texts, as an expression of Python.

Below the filters. The expression is the user's, on the user's machine, so this is no cage: the few functions are there
so that a rule stays a rule. Invariant: a name that doesn't exist is refused before a text is made.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence

from ..errors import InvalidArgumentError
from .record import Record

_FUNCTION_NAMES = ("abs", "all", "any", "bool", "float", "int", "len", "max", "min", "ord", "range", "round", "set")
_FUNCTIONS = {name: vars(builtins)[name] for name in (*_FUNCTION_NAMES, "sorted", "str", "sum", "zip")}
_NAMES = ("text", "fields", "number", "finish_reason")


class Expression:
    """``source``, over a record and its ``columns``. Raises ``InvalidArgumentError`` if it isn't one."""

    def __init__(self, source: str, columns: Sequence[str]) -> None:
        try:
            tree = ast.parse(source.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            message = getattr(error, "msg", error)
            raise InvalidArgumentError(f"validate: {source!r} is no expression of Python: {message}") from None
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        known = [*_NAMES, "re", *columns, *_FUNCTIONS]
        unknown = [node.id for node in names if node.id not in bound and node.id not in known]
        if unknown:
            raise InvalidArgumentError(f"validate: there is no {unknown[0]}; there are {', '.join(known)}")
        self._code = compile(tree, "--validate", "eval")
        self._columns = tuple(columns)

    def complaint(self, record: Record) -> str | None:
        """Why ``record`` is rejected: empty if the expression is false, or its error's name; None if it is true."""
        names = {"__builtins__": _FUNCTIONS, "re": re, "text": record.text, "fields": record.fields}
        names |= {"number": record.number, "finish_reason": record.finish_reason}
        names |= zip(self._columns, record.fields, strict=True)
        try:
            return None if eval(self._code, names) else ""  # noqa: S307 - the user's own expression
        except Exception as error:
            return type(error).__name__
