"""Where the command ``nextchar-train`` begins: before its imports, of which the base install lacks some."""

import sys


def main() -> None:
    """Runs the command, or says in one line which extra brings what is missing."""
    try:
        from nextchar_training import command
    except ModuleNotFoundError as error:
        remedy = "pip install 'nextchar[training]' brings it"
        print(f"nextchar-train: error: {error.name} is not installed; {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(command.main())
