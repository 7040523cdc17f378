"""Writes docs/cli.md, the options of all three commands: ``python -m docs.generate_cli``."""

from __future__ import annotations

import re
from pathlib import Path

from cyclopts import App
from cyclopts.docs.markdown import generate_markdown_docs

from nextchar_client.commands import app as client
from nextchar_server.cli import app as server
from nextchar_training.commands import app as training

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """\
# Command line

The options of `nextchar`, `nextchar-server` and `nextchar-train`, as their `--help` shows them.
`python -m docs.generate_cli` writes this page: change the help of the commands, not the page.
"""


def generated() -> str:
    """Returns the page."""
    return "\n".join([_HEAD, *map(_section, (client, server, training))])


def _section(app: App) -> str:
    text = generate_markdown_docs(app, heading_level=2, generate_toc=False)
    text = text.replace("```console", "```text")  # a form, not a command that runs
    text = re.sub(r"^\* (`-.*?`|`.*?`)", r"- \1", text, flags=re.MULTILINE).replace("\n* [", "\n- [")
    text = re.sub(r"^\*\*(.*)\*\*:$", r"\1:", text, flags=re.MULTILINE)
    return f"{text.strip()}\n\n{app.help_epilogue}\n"


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
