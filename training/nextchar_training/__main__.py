"""``python -m nextchar_training``: the command ``nextchar-train``."""

from nextchar_training.entry import main

main()
