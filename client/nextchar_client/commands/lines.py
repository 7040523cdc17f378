"""``nextchar score --lines``: a score for each line of a file, with a mark on those above a threshold."""

from __future__ import annotations

import asyncio
from array import array
from contextlib import aclosing

from ..async_client import AsyncClient
from ..options import AccessOptions, ScoreOptions
from . import CommandError, ExitCode, dynamic, line_table
from .output import say
from .score_arguments import AdaptiveArguments, LineArguments
from .scored_lines import LineScores, fewest, threshold

_QUANTILE = 0.999


def score_lines(
    file: str,
    form: str,
    arguments: LineArguments,
    adaptive: AdaptiveArguments,
    options: ScoreOptions,
    *,
    endpoint: str,
    access: AccessOptions,
    verbatim: bool,
) -> None:
    """Writes the scores of the lines of ``file`` in a ``form``: ``--csv``, ``--json``, or columns.

    Raises as the client and ``parts_of``, and ``CommandError`` if there is no normal line.
    """

    async def run() -> None:
        async with AsyncClient(endpoint, **access) as client:
            model = await client.model(options.get("model") or "", timeout=options.get("timeout"))
            text = adaptive.adaptive_text
            mixture = dynamic.adaptive(model, text, verbatim=verbatim) if adaptive.is_set else None
            scores = LineScores(client, dict(options), model.max_prompt_characters, mixture)
            normal, quantile = arguments.threshold_from, arguments.quantile or _QUANTILE
            most = None if normal is None else await _most(scores, normal, quantile, verbatim=verbatim)
            forms = {"--csv": line_table.as_csv, "--json": line_table.as_json}
            write = forms.get(form, line_table.columns)(is_dynamic=adaptive.is_set, has_threshold=most is not None)
            lines = above = 0
            async with aclosing(scores.of(file, name="--file", verbatim=verbatim)) as scored:
                async for line in scored:
                    is_above = None if most is None else line.bits_per_character > most
                    lines += 1
                    above += bool(is_above)
                    write(line, is_above)
            if most is not None:
                say(f"{above:,} of {lines:,} lines are above {most:.4f} bits per character")

    asyncio.run(run())


async def _most(scores: LineScores, file: str, quantile: float, *, verbatim: bool) -> float:
    """The bits per character above which a line is unusual."""
    normal = array("d")
    async with aclosing(scores.of(file, name="--threshold-from", verbatim=verbatim)) as lines:
        async for line in lines:
            if line.characters:
                normal.append(line.bits_per_character)
    if not normal:
        raise CommandError(f"--threshold-from: {file} has no line with a character", ExitCode.WRONG_REQUEST)
    if len(normal) < (least := fewest(quantile)):
        say(
            f"warning: {len(normal):,} normal lines are too few for a quantile of {quantile:g}, which needs "
            f"{least:,}: the threshold is the highest of them"
        )
    return threshold(normal, quantile)
