"""The options of ``nextchar score`` in groups, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError, utf8

from .arguments import number, option
from .reading import require_readable

_Flag = Annotated[bool, Parameter(show_default=False)]
_File = Annotated[str | None, Parameter(converter=utf8, metavar="FILE", allow_leading_hyphen=True)]


@dataclass(frozen=True)
class FormArguments:
    """The options that say how scores are written."""

    characters: _Flag = False
    """Add a table with the log-probability of each character."""
    json: _Flag = False
    """Print JSON: one object, or with --lines one per line."""
    json_lines: _Flag = False
    """Print JSON, one object per character."""
    csv: _Flag = False
    """Print CSV, one line per character, or with --lines per line."""
    details: _Flag = False
    """Add each character's rank and the entropy in its place, if the model's alphabet is "characters"."""
    activations: Annotated[tuple[int, Sequence[int]] | None, option("include_activations")] = None

    @property
    def name(self) -> str:
        """The option that was chosen; empty for none. Raises ``UsageError`` if there are several."""
        forms = {"--characters": self.characters, "--json": self.json, "--json-lines": self.json_lines}
        chosen = [name for name, is_chosen in (forms | {"--csv": self.csv}).items() if is_chosen]
        if len(chosen) > 1:
            raise UsageError(f"{', '.join(chosen)}: give one of them")
        return chosen[0] if chosen else ""


@dataclass(frozen=True)
class LineArguments:
    """The options that score each line of a file."""

    lines: _Flag = False
    """Score each line of the file as a document of its own."""
    threshold_from: _File = None
    """Mark the lines that are less likely than nearly all lines of this file of normal ones."""
    quantile: Annotated[
        float | None, Parameter(converter=number, metavar="FRACTION", show_default=lambda _: "0.999")
    ] = None
    """The part of normal lines that stays below the threshold."""

    def check(self) -> None:
        """Raises ``UsageError`` if the options don't go together, or if a file can't be read."""
        if self.threshold_from is not None and not self.lines:
            raise UsageError("--threshold-from needs --lines")
        if self.quantile is not None and self.threshold_from is None:
            raise UsageError("--quantile needs --threshold-from")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise UsageError(f"--quantile: {self.quantile:g} is invalid; it must be between 0 and 1")
        if self.threshold_from is not None:
            require_readable(self.threshold_from, name="--threshold-from")


@dataclass(frozen=True)
class AdaptiveArguments:
    """The options of a dynamic evaluation."""

    adaptive: _Flag = False
    """Mix the network with an n-gram model that learns the text on the way: dynamic evaluation."""
    adaptive_text: _File = None
    """Let the n-gram model read this file first, such as the training text; implies --adaptive."""

    @property
    def is_set(self) -> bool:
        """Whether they ask for a dynamic evaluation."""
        return self.adaptive or self.adaptive_text is not None

    def check(self) -> None:
        """Raises ``UsageError`` if the file can't be read."""
        if self.adaptive_text is not None:
            require_readable(self.adaptive_text, name="--adaptive-text")


Form = Annotated[FormArguments | None, Parameter(name="*")]
Lines = Annotated[LineArguments | None, Parameter(name="*")]
Adaptive = Annotated[AdaptiveArguments | None, Parameter(name="*")]


def check(
    text: str | None,
    file: str | None,
    form: FormArguments,
    lines: LineArguments,
    adaptive: AdaptiveArguments,
    *,
    top_logprobs: int | None,
) -> None:
    """Raises ``UsageError`` if options don't go together, or if a file can't be read."""
    if text is None and file is None:
        raise UsageError("TEXT or --file is required")
    if text is not None and file is not None:
        raise UsageError("TEXT, --file: give one of them, not both")
    lines.check()
    adaptive.check()
    if form.activations is not None and (lines.lines or adaptive.is_set or form.name != "--json"):
        raise UsageError("--activations needs --json, without --lines and --adaptive")
    if lines.lines:
        wrong = {"--top-logprobs": top_logprobs is not None, "--details": form.details}
        wrong |= {"--characters": form.characters, "--json-lines": form.json_lines}
        for name in (name for name, is_given in wrong.items() if is_given):
            raise UsageError(f"{name} doesn't go with --lines")
        if file is None:
            raise UsageError("--lines needs --file")
    elif top_logprobs is not None and form.name not in ("--json", "--json-lines", "--characters"):
        raise UsageError("--top-logprobs needs --json or --characters")
    elif form.details and not form.name:
        raise UsageError("--details needs --json, --json-lines, --csv or --characters")
    if file is not None:
        require_readable(file, name="--file")
