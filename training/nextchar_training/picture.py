"""The picture: how a figure becomes a file.

Every picture is made here. Invariants: a name in a picture is shown as it is, never read as a formula, in a font of
the machine that has its characters, if there is one; the file is written whole or not at all; and Matplotlib is
imported when the first picture is drawn, because its import needs a folder for its cache, which a training must not
depend on.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 120
_LONGEST = 60  # characters of a line: a longer name would press the curves out of the picture
_FOLDER = "MPLCONFIGDIR"
_FALLBACKS = (
    *("Noto Sans Mono CJK KR", "Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic"),
    *("Apple SD Gothic Neo", "Unifont"),
)
"""Fonts for characters that Matplotlib's own lacks, Hangul first, of which a machine may have any."""


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure, ``width`` by ``height`` inches. Raises ``OSError`` if there is no folder for a cache."""
    logger = logging.getLogger("matplotlib")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)  # it warns of a home that can't be written, and of fonts
    if _FOLDER not in os.environ and os.path.expanduser("~") == "~":  # noqa: PTH111 - without a home, Path raises
        folder = tempfile.mkdtemp(prefix="nextchar-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_FOLDER] = folder  # else the import fails
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Writes ``figure`` as a PNG. Raises ``OSError`` if that fails; the file that was at ``path`` before then stays."""
    write_whole(path, png(figure), kind="picture")


def png(figure: Figure) -> bytes:
    """Returns ``figure`` as a PNG."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text("\n".join(map(_shortened, text.get_text().split("\n"))))
        if not text.get_text().isascii():
            text.set_fontfamily([*text.get_fontfamily(), *_fallbacks()])
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of characters that the font lacks: a box stands for each
        figure.savefig(content, dpi=_DOTS_PER_INCH, format="png")
    return content.getvalue()


@cache
def _fallbacks() -> list[str]:
    """Returns those fonts that the machine has, also if Matplotlib's list of fonts is older."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {font.fname for font in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - listed):
        with suppress(OSError, RuntimeError):  # not a font that Matplotlib can read
            fontManager.addfont(path)
    held = {font.name for font in fontManager.ttflist}
    return [name for name in _FALLBACKS if name in held]


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]}…{line[-_LONGEST // 2 :]}"
