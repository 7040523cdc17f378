"""The command ``nextchar``: generates and scores text in a shell, and shows the models, state and speed of a server.

A thin face of ``Client`` and ``LoadGenerator``; each command is a module here, imported only when it is used. Standard
output holds the result and nothing else, always in UTF-8. Standard error holds one line if something is wrong, details
with ``--verbose``, and while ``bench`` runs on a terminal, its progress.

Exit codes:
  0    done
  1    health: not serving or unreachable; bench: a request failed
  2    wrong request: usage, unreadable file, INVALID_ARGUMENT, NOT_FOUND,
       UNAUTHENTICATED, PERMISSION_DENIED
  3    no server, or not now: UNAVAILABLE, RESOURCE_EXHAUSTED, shutting down
  4    the timeout passed: DEADLINE_EXCEEDED
  5    anything else: another status, a broken stream, an unwritable output
  130  interrupted (Ctrl-C); the call is cancelled on the server
  141  the reader of the output closed it; the call is cancelled on the server
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from cyclopts import App
from cyclopts.argument import ArgumentCollection

from nextchar_cli.command_line import make_app, run

from ..errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NextcharError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from .output import complain

COMMANDS = {
    "generate": "Stream the text that follows a prompt.",
    "complete": "Show the likeliest continuations of a text.",
    "score": "Show how likely a text is.",
    "models": "List the models of the server.",
    "health": "Ask whether the server takes calls.",
    "batch": "Make many texts, in order, into a file that the same command continues after a kill.",
    "bench": "Put load on the server and measure its speed.",
}

# How gRPC begins its own messages about a server that it doesn't reach, or whose name has no address.
_NO_CONNECTION = ("connections to all backends failing", "failed to connect to all addresses", "errors resolving")
_UNHEALTHY = "backend unhealthy"  # how it ends one about a server whose health service says that it takes no calls


class ExitCode(IntEnum):
    """The exit code of the command; the module's docstring explains each."""

    DONE = 0
    UNHEALTHY = 1
    WRONG_REQUEST = 2
    UNAVAILABLE = 3
    DEADLINE_EXCEEDED = 4
    FAILED = 5
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


class CommandError(Exception):
    """The end of a command that failed: one line for standard error, and the exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def _ignore_empty(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Ignores an empty variable, with which Compose files and shells pass an absent value on."""
    for argument in arguments:
        argument.tokens = [
            token for token in argument.tokens if token.source != "env" or os.environ.get(token.keyword or "")
        ]


app = make_app(
    "nextchar",
    "Generates and scores text with the character-level models of a nextchar server.",
    readers=(_ignore_empty,),
    exit_codes="Exit codes:" + (__doc__ or "").partition("Exit codes:")[2].rstrip(),
)
for _name, _purpose in COMMANDS.items():
    app.command(f"{__name__}.{_name}:{_name}", name=_name, help=_purpose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with ``arguments``, or those of the process, and returns its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    # Read when gRPC is imported: its own messages quote the server, and nobody made them fit for a terminal.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        if sys.stdout is None:  # closed by the shell: a connection could take its place
            raise CommandError("cannot write the output: standard output is closed", ExitCode.FAILED)
        return run(app, tokens)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except CommandError as failure:
        complain(str(failure))
        return failure.code
    except InvalidArgumentError as error:
        return _refuse(_with_options(str(error), tokens), tokens)
    except OSError as error:  # texts are read where OSError is handled: this is an output that can't be written
        # Python writes the rest of the buffer once more at exit, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return ExitCode.OUTPUT_CLOSED
        complain(f"cannot write the output: {error.strerror}")
        return ExitCode.FAILED


@contextmanager
def calling(endpoint: str) -> Iterator[None]:
    """Turns an error of a call to ``endpoint`` into a ``CommandError``; leaves one that no server was asked about."""
    try:
        yield
    except NextcharError as error:
        if isinstance(error, InvalidArgumentError) and error.status is None:
            raise
        raise CommandError(_description(error, endpoint), _exit_code(error)) from error


def _refuse(message: str, tokens: Sequence[str]) -> ExitCode:
    """Complains about wrong usage, and points to the help of the command in question."""
    usage = " ".join(["nextchar", *app.parse_commands(tokens)[0], "--help"])
    complain(f"{message} (see {usage})")
    return ExitCode.WRONG_REQUEST


def _with_options(message: str, tokens: Sequence[str]) -> str:
    """``message`` with options, or the variables that stand for them, in place of the keywords before its colon."""
    from .arguments import option_name

    keywords, colon, rest = message.partition(": ")
    return ", ".join(option_name(keyword, tokens) for keyword in keywords.split(", ")) + colon + rest


def _description(error: NextcharError, endpoint: str) -> str:
    """``error`` on one line: its status and its message, with the endpoint if no server answered."""
    message = " ".join(str(error).splitlines())
    if error.status is None:
        return message
    if isinstance(error, UnavailableError) and message.endswith(_UNHEALTHY):
        return f"the server at {endpoint} takes no calls now: it is loading or shutting down ({error.status.name})"
    if isinstance(error, UnavailableError) and message.startswith(_NO_CONNECTION):
        return f"no server answers at {endpoint}: is nextchar-server running? ({error.status.name}: {message})"
    if isinstance(error, InvalidArgumentError):
        from .arguments import with_option

        message = with_option(message)
    if isinstance(error, UnauthenticatedError):
        message += " (see --token-file and NEXTCHAR_TOKEN)"
    place = f" at {endpoint}" if isinstance(error, UnavailableError) else ""
    request = f" (request {error.request_id})" if error.request_id and error.request_id not in message else ""
    return f"{error.status.name}{place}: {message}{request}"


def _exit_code(error: NextcharError) -> ExitCode:
    match error:
        case InvalidArgumentError() | NotFoundError() | UnauthenticatedError() | PermissionDeniedError():
            return ExitCode.WRONG_REQUEST
        case UnavailableError() | ResourceExhaustedError():
            return ExitCode.UNAVAILABLE
        case DeadlineExceededError():
            return ExitCode.DEADLINE_EXCEEDED
    return ExitCode.FAILED
