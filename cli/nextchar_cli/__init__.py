"""The style of the three commands: one parser, one form of help and one form of error.

``command_line`` makes and runs an application; ``wording`` says why a value is invalid, and loads no parser. Imports
nothing else of nextchar, so every package can use it.
"""
