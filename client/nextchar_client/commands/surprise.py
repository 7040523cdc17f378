"""Text in the colours of its surprise, for a terminal.

The colours are of middle brightness, so that they can be read on a dark and on a light background; the last one sets
both. ``NO_COLOR`` and a terminal without colours switch them off (https://no-color.org).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from itertools import groupby

from rich.console import Console
from rich.text import Text

from nextchar_cli.printable import printable

from ..results import CharacterLogprob

_SCALE = (
    (0.0, ""),
    (1.0, "color(32)"),
    (3.0, "color(166)"),
    (6.0, "bold color(196)"),
    (10.0, "bold color(231) on color(160)"),
)
"""The least surprise of each step, in bits, and its style."""
_NEWLINE = "↵"


class Painter:
    """Paints text for the terminal of standard output."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self._console = Console(file=self._file, force_terminal=True, markup=False, highlight=False)

    @property
    def has_colours(self) -> bool:
        """Whether the terminal shows colours, and its user wants them."""
        return self._console.color_system is not None and not os.environ.get("NO_COLOR")

    def paint(self, characters: Iterable[CharacterLogprob]) -> str:
        """Returns ``characters``, each in the colour of its surprise.

        A blank is underlined, and a newline that surprises shows a sign.
        """
        text = Text()
        for style, run in groupby(characters, _style):
            for place in run:
                shown = place.character
                if shown == "\n":
                    text.append(_NEWLINE if style else "", style)
                    text.append("\n")
                elif shown.isspace() and style:
                    text.append(shown if shown in " \t" else printable(shown), f"{style} underline")
                else:
                    text.append(shown if shown in " \t" else printable(shown), style)
        return self._rendered(text)

    def scale(self, label: str) -> str:
        """Returns a line that explains the colours."""
        text = Text(f"surprise in bits{f' ({label})' if label else ''}: ")
        for place, (least, style) in enumerate(_SCALE):
            most = _SCALE[place + 1][0] if place + 1 < len(_SCALE) else None
            name = f"{least:g} to {most:g}" if most is not None and least else f"below {most:g}" if most else ""
            text.append(f" {name or f'{least:g} and more'} ", style)
            text.append(" ")
        return self._rendered(text).rstrip() + "\n"

    def _rendered(self, text: Text) -> str:
        self._console.print(text, end="", soft_wrap=True)
        rendered = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return rendered


def _style(place: CharacterLogprob) -> str:
    bits = -place.logprob / math.log(2)
    return next(style for least, style in reversed(_SCALE) if bits >= least or not least)
