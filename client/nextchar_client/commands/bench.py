"""``nextchar bench``: puts load on a server and reports how fast it is."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..bench.histogram import Percentiles
from ..bench.load import Load
from ..bench.measurement import Measurement, Report
from ..endpoint import DEFAULT_ENDPOINT
from . import ExitCode, calling
from .access import Access, options_of
from .arguments import Endpoint, File, Json, text_of, with_option
from .output import complain, say, write, write_json, write_table

if TYPE_CHECKING:  # it needs gRPC, which the help doesn't
    from ..bench.generator import LoadGenerator

_BOTTLENECK_CPU = 0.9  # cores; Python runs on one, so beyond this the figures may be those of the load generator
_BOTTLENECK_SECONDS = 1.0  # a shorter window is busy from end to end whatever the bottleneck is
_REFRESH_SECONDS = 0.5


def bench(
    *,
    load: Annotated[Load | None, Parameter(name="*")] = None,
    file: Annotated[File, Parameter(show_default="random characters of the model's alphabet")] = None,
    json: Json = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    access: Access = None,
) -> ExitCode:
    """Put load on the server and measure its speed.

    Parameters
    ----------
    file:
        Cut the prompts from this text; - is standard input.
    """
    from ..bench.generator import LoadGenerator

    generator = LoadGenerator(endpoint, load or Load(), text_of(None, file, name="FILE"), **options_of(access))
    measurement = generator.measurement
    interrupted = False
    try:
        with calling(endpoint):
            asyncio.run(_run_and_show(generator))
    except KeyboardInterrupt:
        interrupted = True
    if not measurement.has_opened:  # only an interrupt ends a load before its window
        return ExitCode.INTERRUPTED
    report = measurement.report()
    if json:
        write_json(asdict(report))
    else:
        _write_report(report)
    for status, count in report.errors.items():
        first = " ".join(measurement.complaints[status].splitlines())
        if status == "INVALID_ARGUMENT":
            first = with_option(first)
        complain(f"{status}: {count} requests; the first: {first}")
    if report.cpu >= _BOTTLENECK_CPU and report.window_seconds >= _BOTTLENECK_SECONDS:
        say(f"warning: the load generator is the bottleneck: it used {report.cpu:.2f} of a core")
    if interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.UNHEALTHY if report.failed else ExitCode.DONE


async def _run_and_show(generator: LoadGenerator) -> None:
    """Runs the load; if standard error is a terminal, its last line shows the progress."""
    if not sys.stderr.isatty():
        await generator.run()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    async def refresh() -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            line.update(Text(_progress(generator.measurement), overflow="ellipsis", no_wrap=True), refresh=True)

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False) as line:
        showing = asyncio.create_task(refresh())
        try:
            await generator.run()
        finally:
            showing.cancel()


def _progress(measurement: Measurement) -> str:
    if not measurement.has_opened:
        return f"warming up; requests: {measurement.sent} sent, {measurement.running} running"
    report = measurement.report()
    return (
        f"{report.window_seconds:.0f} s: {report.characters_per_second:,.0f} characters/s; requests: "
        f"{measurement.running} running, {report.completed} completed, {report.failed} failed"
    )


def _write_report(report: Report) -> None:
    statuses = "".join(f", {count} {status}" for status, count in report.errors.items())
    unfinished = f", {report.unfinished} unfinished" * bool(report.unfinished)
    throughput = f"{report.characters_per_second:,.0f} characters/s, {report.requests_per_second:,.1f} requests/s"
    rows = [
        ("model", f"{report.model} {report.model_digest[:12]}"),
        ("window", f"{report.window_seconds:.2f} s"),
        ("requests", f"{report.completed} completed, {report.failed} failed{statuses}{unfinished}"),
        ("throughput", throughput),
    ]
    if report.messages:
        rows.append(("coalescing", f"{report.characters / report.messages:.1f} characters per message"))
    if report.fastest_seconds is not None and report.slowest_seconds is not None:
        fastest, slowest = report.fastest_seconds, report.slowest_seconds
        rows.append(("streams", f"fastest {fastest:.3f} s, slowest {slowest:.3f} s (ratio {slowest / fastest:.2f})"))
    rows.append(("load generator", f"{report.cpu:.2f} of a core"))
    write_table(rows)
    write("\n")
    write_table(
        [
            ("first character", *_milliseconds(report.first_character_seconds)),
            ("inter-character", *_milliseconds(report.inter_character_seconds)),
        ],
        headings=("MILLISECONDS", "P50", "P90", "P99", "MAX"),
    )


def _milliseconds(percentiles: Percentiles | None) -> list[str]:
    if percentiles is None:
        return ["-"] * 4
    return [f"{seconds * 1000:.3f}" for seconds in astuple(percentiles)]
