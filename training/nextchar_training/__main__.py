"""``python -m nextchar_training``: the command ``nextchar-train``."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
