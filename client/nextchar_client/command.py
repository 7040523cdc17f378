"""The command ``nextchar``: generated text, the score of a text, or the state of a server, in a shell.

A thin face of ``Client``. Standard output holds the result and nothing else, always in UTF-8; standard error holds one
line where something is wrong, and with ``--verbose`` what was done.

Exit codes:
  0    done
  1    health: the server does not serve, or does not answer
  2    wrong request: usage, unreadable text, INVALID_ARGUMENT, NOT_FOUND
  3    no server, or not now: UNAVAILABLE, RESOURCE_EXHAUSTED, shutting down
  4    the timeout passed: DEADLINE_EXCEEDED
  5    anything else: another status, a broken stream, an unwritable output
  130  interrupted (Ctrl-C); the call is cancelled on the server
  141  the reader of the output closed it; the call is cancelled on the server
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from .asynchronous import DEFAULT_ENDPOINT
from .errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NextcharError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from .options import GenerationOptions, UnknownCharacters
from .results import Delta, Finished, FinishReason, Health, Started
from .synchronous import Client

_EXIT_CODES = "exit codes:" + (__doc__ or "").partition("Exit codes:")[2].rstrip()


class ExitCode(IntEnum):
    """What the command tells the shell; the module's documentation says when."""

    DONE = 0
    NOT_SERVING = 1
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
        return ExitCode.NOT_SERVING
    if options.json:
        _write_json({"health": health})
    else:
        _write(f"{health.name}\n")
    return ExitCode.DONE if health is Health.SERVING else ExitCode.NOT_SERVING


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
