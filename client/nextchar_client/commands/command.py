"""The command ``nextchar``: generated text, the score of a text, or the state and the speed of a server, in a shell.

A thin face of ``Client`` and ``LoadGenerator``. Standard output holds the result and nothing else, always in UTF-8;
standard error holds one line where something is wrong, with ``--verbose`` what was done, and while ``bench`` runs, on a
terminal, how it goes.

Exit codes:
  0    done
  1    health: the server does not serve, or does not answer; bench: a request failed
  2    wrong request: usage, unreadable text, INVALID_ARGUMENT, NOT_FOUND
  3    no server, or not now: UNAVAILABLE, RESOURCE_EXHAUSTED, shutting down
  4    the timeout passed: DEADLINE_EXCEEDED
  5    anything else: another status, a broken stream, an unwritable output
  130  interrupted (Ctrl-C); the call is cancelled on the server
  141  the reader of the output closed it; the call is cancelled on the server
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from ..async_client import DEFAULT_ENDPOINT
from ..bench.generator import LoadGenerator
from ..bench.histogram import Percentiles
from ..bench.load import Load
from ..bench.measurement import Measurement, Report
from ..client import Client
from ..errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NextcharError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from ..options import GenerationOptions, UnknownCharacters
from ..results import Delta, Finished, FinishReason, Health, Started

_BOTTLENECK_CPU = 0.9  # cores; Python runs on one, so what was measured may then be the load generator itself
_BOTTLENECK_SECONDS = 1.0  # a window that is shorter is busy from its one end to its other, and says nothing
_EXIT_CODES = "exit codes:" + (__doc__ or "").partition("Exit codes:")[2].rstrip()


class ExitCode(IntEnum):
    """What the command tells the shell; the module's documentation says when."""

    DONE = 0
    UNHEALTHY = 1
    WRONG_REQUEST = 2
    UNAVAILABLE = 3
    DEADLINE_EXCEEDED = 4
    FAILED = 5
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with ``arguments``, or the process's own, and gives its exit code."""
    endpoint = ""
    try:
        options = _parser().parse_args(arguments)
        endpoint = options.endpoint
        run: Any = options.run
        return int(run(options))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except NextcharError as error:
        _complain(_description(error, endpoint))
        return _exit_code(error)
    except OSError as error:  # texts are read where OSError is handled: this is an output that cannot be written
        # Python writes what is left once more at exit, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return ExitCode.OUTPUT_CLOSED
        _complain(f"cannot write the output: {error.strerror}")
        return ExitCode.FAILED


def _generate(options: argparse.Namespace) -> ExitCode:
    if options.top_logprobs is not None and not options.json:
        options.fail("--top-logprobs needs --json")
    prompt = _text(options.prompt, options.prompt_file, options.fail)
    options.character_bias = dict(options.bias)
    keywords = cast("GenerationOptions", {name: getattr(options, name) for name in GenerationOptions.__annotations__})
    finished: Finished | None = None
    began = time.perf_counter()
    first_after = 0.0
    last = ""
    with Client(options.endpoint) as client:
        try:
            for event in client.stream(prompt, **keywords):
                if options.json:
                    _write_json({"event": type(event).__name__.lower()} | dataclasses.asdict(event))
                match event:
                    case Started() if options.verbose:
                        _say(f"model {event.model} {event.model_digest[:12]}, seed {event.seed}, {event.request_id}")
                    case Delta():
                        first_after = first_after or time.perf_counter() - began
                        if not options.json:
                            _write(event.text)
                            last = event.text[-1:]
                    case Finished():
                        finished = event
        finally:
            if last not in ("", "\n") and sys.stdout.isatty():
                _write("\n")
    assert finished is not None  # or the stream would have raised
    if options.verbose:
        seconds = time.perf_counter() - began
        characters = finished.usage.generated_characters
        _say(
            f"{characters} characters in {seconds:.3f} s ({characters / seconds:.0f} characters/s), "
            f"the first after {first_after * 1000:.1f} ms; ended by {finished.finish_reason}"
        )
    if finished.finish_reason is FinishReason.DRAINING:
        _complain(f"the server at {options.endpoint} is shutting down and cut the text")
        return ExitCode.UNAVAILABLE
    return ExitCode.DONE


def _score(options: argparse.Namespace) -> ExitCode:
    if options.top_logprobs is not None and not (options.json or options.characters):
        options.fail("--top-logprobs needs --json or --characters")
    text = _text(options.text, options.text_file, options.fail)
    with Client(options.endpoint, timeout=options.timeout) as client:
        score = client.score(
            text,
            model=options.model,
            top_logprobs=options.top_logprobs,
            unknown_characters=options.unknown_characters,
            replacement_character=options.replacement_character,
        )
    if options.json:
        _write_json(dataclasses.asdict(score))
        return ExitCode.DONE
    if options.characters:
        rows = [("OFFSET", "NATS", "BITS", "CHARACTER", "LIKELIEST" if options.top_logprobs else "")]
        for offset, place in enumerate(score.characters):
            likeliest = "  ".join(f"{other.character!r} {other.logprob:.3f}" for other in place.alternatives)
            bits = -place.logprob / math.log(2)
            rows.append((str(offset), f"{place.logprob:.4f}", f"{bits:.4f}", repr(place.character), likeliest))
        _write_table(rows)
        _write("\n")
    _write_table(
        [
            ("characters", str(len(score.characters))),
            ("log-probability", f"{score.total_logprob:.4f} nats"),
            ("bits a character", f"{score.bits_per_character:.4f}"),
        ]
    )
    return ExitCode.DONE


def _models(options: argparse.Namespace) -> ExitCode:
    with Client(options.endpoint, timeout=options.timeout) as client:
        models = client.models()
    if options.json:
        for model in models:
            _write_json(dataclasses.asdict(model))
        return ExitCode.DONE
    rows = [("MODEL", "NETWORK", "PARAMETERS", "ALPHABET", "ARITHMETIC", "REPLAY", "LOSS", "DIGEST")]
    rows += [
        (
            model.name + " (default)" * model.is_default,
            f"{model.cell} {model.layers}×{model.hidden_size}",
            f"{model.parameters:,}",
            f"{len(model.alphabet)} {model.alphabet_kind}",
            f"{model.precision} on {model.provider}",
            model.replay,
            f"{model.validation_loss:.4f}",
            model.digest[:12],
        )
        for model in models
    ]
    _write_table(rows)
    return ExitCode.DONE


def _health(options: argparse.Namespace) -> ExitCode:
    try:
        with Client(options.endpoint, timeout=options.timeout) as client:
            health = client.health(options.service)
    except InvalidArgumentError:
        raise
    except NextcharError as error:
        _complain(_description(error, options.endpoint))
        return ExitCode.UNHEALTHY
    if options.json:
        _write_json({"health": health})
    else:
        _write(f"{health.name}\n")
    return ExitCode.DONE if health is Health.SERVING else ExitCode.UNHEALTHY


def _bench(options: argparse.Namespace) -> ExitCode:
    text = None if options.prompt_file is None else _text(None, options.prompt_file, options.fail)
    if options.rate is None and options.streams is None:
        options.streams = 1
    if options.requests is None and options.seconds is None:
        options.seconds = 10.0
    load = Load(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Load)})
    generator = LoadGenerator(options.endpoint, load, text)
    measurement = generator.measurement
    interrupted = False
    try:
        asyncio.run(_run_and_show(generator))
    except KeyboardInterrupt:
        interrupted = True
    if not measurement.has_opened:  # only an interrupt ends a load before its window
        return ExitCode.INTERRUPTED
    report = measurement.report()
    if options.json:
        _write_json(dataclasses.asdict(report))
    else:
        _write_report(report)
    for status, count in report.errors.items():
        _complain(f"{status}: {count} requests; the first: {' '.join(measurement.complaints[status].splitlines())}")
    if report.cpu >= _BOTTLENECK_CPU and report.window_seconds >= _BOTTLENECK_SECONDS:
        _say(f"warning: the load generator is the bottleneck: it used {report.cpu:.2f} of a core")
    if interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.UNHEALTHY if report.failed else ExitCode.DONE


async def _run_and_show(generator: LoadGenerator) -> None:
    """Runs the load; where standard error is a terminal, its last line tells how it goes."""
    if not sys.stderr.isatty():
        await generator.run()
        return
    showing = asyncio.create_task(_show_progress(generator.measurement))
    try:
        await generator.run()
    finally:
        showing.cancel()
        sys.stderr.write("\r\x1b[K")


async def _show_progress(measurement: Measurement) -> None:
    while True:
        await asyncio.sleep(0.5)
        if measurement.has_opened:
            report = measurement.report()
            line = (
                f"{report.window_seconds:.0f} s: {report.characters_per_second:,.0f} characters/s; requests: "
                f"{measurement.running} running, {report.completed} completed, {report.failed} failed"
            )
        else:
            line = f"warming up; requests: {measurement.sent} sent, {measurement.running} running"
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()


def _write_report(report: Report) -> None:
    def times(percentiles: Percentiles | None) -> list[str]:
        return ["-"] * 4 if percentiles is None else list(map(_milliseconds, dataclasses.astuple(percentiles)))

    statuses = "".join(f", {count} {status}" for status, count in report.errors.items())
    unfinished = f", {report.unfinished} unfinished" * bool(report.unfinished)
    rows = [
        ("model", f"{report.model} {report.model_digest[:12]}"),
        ("window", f"{report.window_seconds:.2f} s"),
        ("requests", f"{report.completed} completed, {report.failed} failed{statuses}{unfinished}"),
        (
            "throughput",
            f"{report.characters_per_second:,.0f} characters/s, {report.requests_per_second:,.1f} requests/s",
        ),
    ]
    if report.messages:
        rows.append(("coalescing", f"{report.characters / report.messages:.1f} characters a message"))
    if report.fastest_seconds is not None and report.slowest_seconds is not None:
        fastest, slowest = report.fastest_seconds, report.slowest_seconds
        rows.append(
            ("streams", f"{fastest:.3f} s the fastest, {slowest:.3f} s the slowest: {slowest / fastest:.2f} times")
        )
    rows.append(("load generator", f"{report.cpu:.2f} of a core"))
    _write_table(rows)
    _write("\n")
    _write_table(
        [
            ("MILLISECONDS", "P50", "P90", "P99", "MAX"),
            ("first character", *times(report.first_character_seconds)),
            ("inter-character", *times(report.inter_character_seconds)),
        ]
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"


def _description(error: NextcharError, endpoint: str) -> str:
    """``error`` on one line: its status, where it is for lack of a server the endpoint, and what happened."""
    message = " ".join(str(error).splitlines())
    if error.status is None:
        return message
    place = f" at {endpoint}" if isinstance(error, UnavailableError) else ""
    request = f" (request {error.request_id})" if error.request_id and error.request_id not in message else ""
    return f"{error.status.name}{place}: {message}{request}"


def _exit_code(error: NextcharError) -> ExitCode:
    match error:
        case InvalidArgumentError() | NotFoundError():
            return ExitCode.WRONG_REQUEST
        case UnavailableError() | ResourceExhaustedError():
            return ExitCode.UNAVAILABLE
        case DeadlineExceededError():
            return ExitCode.DEADLINE_EXCEEDED
    return ExitCode.FAILED


def _write(text: str) -> None:
    """Writes ``text`` to standard output at once, in UTF-8 whatever the terminal's encoding is."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _write_json(value: dict[str, Any]) -> None:
    _write(json.dumps(value, ensure_ascii=False) + "\n")


def _write_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")


def _say(message: str) -> None:
    print(f"nextchar: {message}", file=sys.stderr, flush=True)


def _complain(message: str) -> None:
    _say(f"error: {message}")


def _text(argument: str | None, file: str | None, fail: Callable[[str], NoReturn]) -> str:
    """The text of an argument or else of a file, ``-`` being standard input; exactly as it is, newlines too."""
    if file is None:
        return argument or ""
    name = "standard input" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {name}: {error.strerror}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        fail(f"{name}: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8")


class _Parser(argparse.ArgumentParser):
    """A parser that complains on one line."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see {self.prog} --help)")
        self.exit(ExitCode.WRONG_REQUEST)


def _argument(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # Python passes on undecodable bytes of arguments as lone surrogates
        offset = len(text[: error.start].encode())
        raise argparse.ArgumentTypeError(
            f"byte 0x{ord(text[error.start]) & 0xFF:02x} at offset {offset} is not UTF-8"
        ) from None
    return text


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**64 - 1")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return number


def _range(text: str) -> tuple[int, int]:
    least, separator, most = text.partition("-")
    return _whole_number(least), _whole_number(most if separator else least)


def _bias(text: str) -> tuple[str, float]:
    character, _, value = _argument(text).rpartition("=")
    if not character:
        raise argparse.ArgumentTypeError(f"{text!r} is not CHAR=VALUE")
    return character, _number(value)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nextchar",
        description="Generates and scores text with the character-level models of a nextchar server.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"nextchar {version('nextchar')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    generate = _add_command(commands, "generate", _generate, "stream the text that follows a prompt, as it comes")
    prompt = generate.add_mutually_exclusive_group()
    prompt.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        type=_argument,
        help="text that the model reads first; default: none, the start of a document. Put -- before one that starts "
        "with a dash",
    )
    prompt.add_argument(
        "--prompt-file", metavar="FILE", help="read the prompt from this file, exactly as it is; - is standard input"
    )
    how = generate.add_argument_group("how to generate")
    how.add_argument("--seed", metavar="N", type=_whole_number, help="seed of the random numbers; default: drawn")
    how.add_argument(
        "--max-characters", metavar="N", type=_whole_number, help="most characters to generate; default: 256"
    )
    how.add_argument(
        "--temperature", metavar="T", type=_number, help="0 to 100; 0 takes the likeliest character; default: 1"
    )
    how.add_argument("--top-k", metavar="K", type=_whole_number, help="sample among the K likeliest; default: all")
    how.add_argument(
        "--top-p", metavar="P", type=_number, help="sample among the fewest whose probabilities reach P; default: 1"
    )
    how.add_argument(
        "--min-p", metavar="P", type=_number, help="sample among those P times as likely as the likeliest; default: 0"
    )
    how.add_argument(
        "--stop",
        metavar="TEXT",
        type=_argument,
        action="append",
        default=[],
        help="end before this text appears; may be given several times",
    )
    how.add_argument(
        "--include-stop-sequence", action="store_true", default=None, help="end after the stop text instead"
    )
    how.add_argument("--echo", action="store_true", default=None, help="start the text with the prompt")
    how.add_argument(
        "--bias",
        metavar="CHAR=VALUE",
        type=_bias,
        action="append",
        default=[],
        help="add to a character's logit, -100 to 100; may be given several times",
    )
    how.add_argument("--regex", metavar="REGEX", type=_argument, help="the whole generated text matches this")
    _add_text_options(generate)
    generate.add_argument(
        "--verbose", action="store_true", help="say model, seed, speed and why the text ended on standard error"
    )

    score = _add_command(commands, "score", _score, "say how likely a text is")
    text = score.add_mutually_exclusive_group(required=True)
    text.add_argument("text", metavar="TEXT", nargs="?", type=_argument, help="the text, from the start of a document")
    text.add_argument(
        "--text-file", metavar="FILE", help="read the text from this file, exactly as it is; - is standard input"
    )
    score.add_argument("--characters", action="store_true", help="add a table of the log-probability of each character")
    _add_text_options(score)

    _add_command(commands, "models", _models, "list the models of the server")

    health = _add_command(commands, "health", _health, "ask whether the server takes calls")
    health.add_argument(
        "--service", metavar="NAME", type=_argument, default="", help="ask for one service; default: the whole server"
    )

    bench = _add_command(commands, "bench", _bench, "put load on the server, and say how fast it is")
    who = bench.add_mutually_exclusive_group()
    who.add_argument(
        "--streams",
        metavar="N",
        type=_whole_number,
        help="closed loop: N callers, each of which sends its next request when its last one ended; default: 1",
    )
    who.add_argument(
        "--rate",
        metavar="R",
        type=_number,
        help="open loop: R requests a second at random times (a Poisson process), whatever the answers do",
    )
    until = bench.add_mutually_exclusive_group()
    until.add_argument("--requests", metavar="M", type=_whole_number, help="send M requests")
    until.add_argument("--seconds", metavar="S", type=_number, help="send requests for S seconds; default: 10")
    bench.add_argument(
        "--warm-up",
        metavar="N",
        type=_whole_number,
        default=0,
        help="send N requests first that do not count; with --ramp, several a caller; default: 0",
    )
    bench.add_argument(
        "--ramp",
        metavar="S",
        type=_number,
        default=0.0,
        help="let the callers of a closed loop start over S seconds, so that they are not in step; default: 0",
    )
    what = bench.add_argument_group("what to send")
    what.add_argument(
        "--prompt-characters",
        metavar="N|MIN-MAX",
        type=_range,
        default=(16, 16),
        help="length of the prompts, uniform from MIN to MAX; default: 16",
    )
    what.add_argument(
        "--max-characters",
        metavar="N|MIN-MAX",
        type=_range,
        default=(256, 256),
        help="most characters to generate, uniform from MIN to MAX; default: 256",
    )
    what.add_argument(
        "--prompt-file",
        metavar="FILE",
        help="cut the prompts from this text; - is standard input; default: random characters that the model knows",
    )
    what.add_argument(
        "--seed", metavar="N", type=_whole_number, default=0, help="the same seed gives the same load; default: 0"
    )
    what.add_argument(
        "--model", metavar="NAME", type=_argument, default="", help="name of the model; default: the server's"
    )
    return parser


def _add_command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    run: Callable[[argparse.Namespace], ExitCode],
    purpose: str,
) -> argparse.ArgumentParser:
    """A sub-command with the options that all of them have."""
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run, fail=command.error)
    command.add_argument(
        "--endpoint",
        metavar="HOST:PORT",
        type=_argument,
        default=os.environ.get("NEXTCHAR_ENDPOINT", DEFAULT_ENDPOINT),
        help=f"where the server is; default: $NEXTCHAR_ENDPOINT, or {DEFAULT_ENDPOINT}",
    )
    command.add_argument("--timeout", metavar="SECONDS", type=_number, help="give up after this time; default: never")
    command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return command


def _add_text_options(command: argparse.ArgumentParser) -> None:
    """The options of the commands that hand a text to a model."""
    command.add_argument(
        "--model", metavar="NAME", type=_argument, default="", help="name of the model; default: the server's"
    )
    command.add_argument(
        "--top-logprobs",
        metavar="N",
        type=_whole_number,
        help="give each character's log-probability and this many likeliest alternatives",
    )
    command.add_argument(
        "--unknown",
        choices=get_args(UnknownCharacters),
        dest="unknown_characters",
        help="what happens to characters that the model does not know; default: error",
    )
    command.add_argument(
        "--replacement",
        metavar="CHAR",
        type=_argument,
        dest="replacement_character",
        help="stands in for them, with --unknown replace",
    )
