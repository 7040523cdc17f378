"""The start of ``nextchar-server`` and ``python -m nextchar_server``: before the imports that need the server extra."""

import os
import sys

from nextchar_cli.streams import prepare

from . import signals
from .workers import VARIABLE


def main() -> None:
    """Runs the command. If the server extra isn't installed, says so in one line."""
    link = os.environ.pop(VARIABLE, "")  # of a worker to its supervisor
    signals.install(are_heard=not link)
    prepare()  # before anything is opened that could take the place of a closed stream
    if os.environ.get("GRPC_VERBOSITY", "").lower() not in ("debug", "info", "error"):
        os.environ["GRPC_VERBOSITY"] = "NONE"  # gRPC's C++ would write plain text between the lines of the log
    try:
        if link:
            from .workers import worker

            code = worker.main(int(link))
        else:
            from . import cli

            code = cli.main()
    except ModuleNotFoundError as error:
        print(f"nextchar-server: error: {error.name} is not installed: pip install 'nextchar[server]'", file=sys.stderr)
        sys.exit(2)
    os._exit(code)  # at once: the libraries' own ends can hang, when no thread of ours can watch any more


if __name__ == "__main__":
    main()
