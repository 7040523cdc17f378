"""The lecture behind nextchar: a network that reads "hell" and says "ello", and the reach of its memory.

``networks`` is the lesson, to be read from top to bottom; ``learning`` teaches it, ``gap`` is the task that tells the
two cells apart, ``terminal`` prints what they do. ``python -m nextchar_training.lecture`` shows it all in seconds, and
docs/lecture.md tells it with equations and pictures.

Invariant: NumPy only, and nothing else of nextchar imports it.
"""
