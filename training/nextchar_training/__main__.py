"""``python -m nextchar_training``: the command ``nextchar-train``."""

from .commands.entry import main

main()
