"""Session of a terminal, for the README: `python docs/pictures/session.py` writes session.svg beside this file.

The commands run as shown, against a server with the packaged model that starts for them; their output is as it came.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.server_process import started

PICTURE = Path(__file__).with_suffix(".svg")
COMMANDS = (
    'nextchar generate "ROMEO:" --seed 7 --max-characters 180',
    'nextchar score "To be, or not to be"',
    'nextchar complete "To be, or not to b"',
    'nextchar generate --regex "[A-Z][a-z]{4,8}(ton|ford)" --seed 2 --samples 3 --max-characters 16',
)
WIDTH = 96


def output(command: str, port: int) -> str:
    """Returns the output of ``command``."""
    environment = {
        **os.environ,
        "NEXTCHAR_ENDPOINT": f"127.0.0.1:{port}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": str(WIDTH),
    }
    done = subprocess.run(  # noqa: S602 - the commands above, as a reader would type them
        command, shell=True, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def main() -> None:
    """Records the session."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with started() as server:
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text(output(command, server.grpc_port).rstrip("\n") + "\n"))
    picture = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title="nextchar"), flags=re.DOTALL
    )  # of another host
    PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
