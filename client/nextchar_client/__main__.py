"""``python -m nextchar_client`` is the command ``nextchar``."""

from .commands import main

if __name__ == "__main__":
    raise SystemExit(main())
