"""``nextchar health``: whether a server takes calls, as an exit code too."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import utf8

from ..endpoint import DEFAULT_ENDPOINT
from ..results import Health
from . import CommandError, ExitCode, calling
from .access import Access, options_of
from .arguments import Endpoint, Json, Timeout
from .output import write, write_json


def health(
    *,
    service: Annotated[str, Parameter(converter=utf8, metavar="NAME", show_default="the whole server")] = "",
    json: Json = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = None,
    access: Access = None,
) -> ExitCode:
    """Ask whether the server takes calls.

    Parameters
    ----------
    service:
        Ask for one service.
    """
    from ..client import Client

    try:
        with calling(endpoint), Client(endpoint, timeout=timeout, **options_of(access)) as client:
            state = client.health(service)
    except CommandError as failure:
        raise CommandError(str(failure), ExitCode.UNHEALTHY) from None
    if json:
        write_json({"health": state})
    else:
        write(f"{state.name}\n")
    return ExitCode.DONE if state is Health.SERVING else ExitCode.UNHEALTHY
