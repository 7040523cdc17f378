"""The style of the three commands: one parser, one form of help and one form of error.

Imports nothing else of nextchar, so every package can use it.
"""

from .command_line import UsageError, make_app, run
from .wording import explain

__all__ = ["UsageError", "explain", "make_app", "run"]
