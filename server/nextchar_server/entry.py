"""Where the command ``nextchar-server`` begins: before its imports, of which the base install lacks some."""

import sys


def main() -> None:
    """Runs the command, or says in one line which extra brings what is missing."""
    try:
        from . import cli
    except ModuleNotFoundError as error:
        remedy = "pip install 'nextchar[server]' brings it"
        print(f"nextchar-server: error: {error.name} is not installed; {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(cli.main())
