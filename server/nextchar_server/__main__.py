"""The start of ``nextchar-server`` and ``python -m nextchar_server``: before the imports that need the server extra."""

import sys


def main() -> None:
    """Runs the command. If the server extra isn't installed, says so in one line."""
    try:
        from . import cli
    except ModuleNotFoundError as error:
        print(f"nextchar-server: error: {error.name} is not installed: pip install 'nextchar[server]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
