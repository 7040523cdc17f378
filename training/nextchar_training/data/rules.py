"""The rules: how a corpus becomes a dataset.

They are options of the command line, and travel with every checkpoint and model, so that a text can later be prepared
in the same way.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge
from cyclopts import Parameter
from pydantic import AfterValidator, ConfigDict, ModelWrapValidatorHandler, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from nextchar_model.composition import Kind

Documents = Literal["corpus", "file", "line"]

HoldOut = Literal["tail", "documents"]

Rare = Literal["drop", "replace"]


class DatasetError(ValueError):
    """A corpus can't become a dataset by these rules, or a dataset is damaged."""


def _one_character(text: str) -> str:
    if len(text) != 1 or unicodedata.normalize("NFC", text) != text or "\ud800" <= text <= "\udfff":
        raise ValueError(f"{text!r} is not one character")
    return text


# The command line shows the fields' docstrings as its help, so each is one line.
@Parameter(name="*", group="How the corpus is read")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Rules:
    """How a corpus becomes a dataset. Raises ``pydantic.ValidationError``, a ``ValueError``, if a field is invalid."""

    alphabet: Kind = "characters"
    """Spell a character by itself, by its decomposition (Hangul syllables become jamo), or by its UTF-8 bytes."""
    documents: Documents = "corpus"
    """Treat the whole corpus, each file, or each line as one document, with a beginning and an end."""
    hold_out: HoldOut | None = None
    """Never train on the last tenth (usual for one document), or on one of every ten documents (usual for many)."""
    development: Annotated[bool, Parameter(show_default=False, negative="--no-development")] = False
    """To choose options: leave the held-out part alone, and hold out a part of the rest in the same way instead."""
    minimum_count: Annotated[int, Ge(1)] = 1
    """Characters that occur fewer times than this are rare."""
    rare: Rare = "drop"
    """Leave rare characters out, or put --replacement in their place."""
    replacement: Annotated[str, AfterValidator(_one_character), Parameter(show_default=False)] = "\ufffd"
    """The character that stands for rare ones with --rare replace (usually U+FFFD)."""
    skip_undecodable: Annotated[bool, Parameter(show_default=False)] = False
    """Leave out files that are not UTF-8."""
    verbatim: Annotated[bool, Parameter(show_default=False)] = False
    """Keep CR LF, CR and a byte order mark as characters; otherwise every line ends with a newline, without a mark."""

    _given: ClassVar[frozenset[str]] = frozenset()
    # An instance has its own: the fields that were passed to the constructor. See ``changed``.

    def __post_init__(self) -> None:
        if self.documents == "line" and self.rare == "replace" and self.replacement == "\n":
            raise ValueError("a newline can't replace characters if it ends a document: give another --replacement")

    @model_validator(mode="wrap")
    @classmethod
    def _note_given(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        rules = validate(data)
        if rules is not data:
            names = data.kwargs if isinstance(data, ArgsKwargs) else data
            object.__setattr__(rules, "_given", frozenset(names or ()))
        return rules

    @property
    def held_out(self) -> HoldOut:
        """``hold_out``, or the usual choice if it is None."""
        return self.hold_out or ("tail" if self.documents == "corpus" else "documents")

    @property
    def keeps_order(self) -> bool:
        """Whether the development part are the last documents, so that they are not shuffled with the others."""
        return self.development and self.documents != "corpus" and self.held_out == "tail"

    @property
    def validation_name(self) -> str:
        """The name of the part that a training watches and reports on."""
        return "development part" if self.development else "held-out text"


UNSTATED = Rules(verbatim=True)
"""The meaning of rules that a file doesn't state: those of releases that did not have them yet."""


def stated(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rules that a file states, completed by ``UNSTATED``."""
    return {**asdict(UNSTATED), **content}


def to_state(rules: Rules) -> dict[str, Any]:
    """Returns the rules for a file to state: a rule that it doesn't need is no obstacle to releases without it."""
    unstated = asdict(UNSTATED)
    return {name: value for name, value in asdict(rules).items() if value != unstated[name]}


def changed(usual: Rules, given: Rules | None) -> Rules:
    """``usual``, with each field that was passed to the constructor of ``given``, even if it was the default.

    So options override the rules of a model, and only those options that were given. Raises ``ValueError`` if the
    fields don't go together.
    """
    if given is None:
        return usual
    rules = replace(usual, **{name: getattr(given, name) for name in given._given})
    if "replacement" in given._given and rules.rare != "replace":
        raise ValueError("--replacement needs --rare replace")
    return rules
